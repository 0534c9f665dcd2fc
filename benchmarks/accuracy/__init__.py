"""What pruning leaves of the accuracy without training: who takes part, how each comes to a budget, and the page."""
