"""The networks of the coverage benchmark: which they are, how they become graphs, and what is asked of each."""
