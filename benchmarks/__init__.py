"""What the networks in reach become, and how long it takes; ``python -m benchmarks --help``."""
