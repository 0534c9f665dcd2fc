"""What a network loses as more and more of the channels of a family go: ``--sensitivity``."""
