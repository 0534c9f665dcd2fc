"""Integers for floats: which tensors, on which grid, and what makes up for what is lost."""
