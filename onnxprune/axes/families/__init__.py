"""The rules of the operators, a family a file: every file in this folder is read."""
