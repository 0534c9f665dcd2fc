"""Two fuzzers: random graphs against the exact oracle, and damaged files against clean refusals.

``make fuzz`` runs both; ``PYTHONPATH=tests python -m fuzz graphs 1234`` runs one seed again and shrinks what fails.
"""
