"""A pass, an operator and a target for onnxprune."""
