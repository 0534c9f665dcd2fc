"""One recipe at many values of one option: what each costs and is worth, and which of them nobody beats."""
