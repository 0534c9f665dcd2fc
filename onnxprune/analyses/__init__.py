"""Questions about a model; the answers are remembered until the model changes."""
