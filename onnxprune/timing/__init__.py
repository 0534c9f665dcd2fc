"""How long networks take: a clock, layer times by size, and networks that keep within a time."""
