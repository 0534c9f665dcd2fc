"""What each operator of ONNX becomes: importing this package registers the rules."""

from onnxprune.codegen.rules import dense, elementwise, resizing, sliding, transposed

__all__ = ["dense", "elementwise", "resizing", "sliding", "transposed"]
