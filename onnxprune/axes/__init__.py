"""Which slots of which axes live or die together: rules state facts, groups of atoms fall out."""
