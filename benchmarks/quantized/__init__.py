"""Networks quantized by us and by others: who, which networks, how good, how fast, how large."""
