"""Operators that a compiler lacks, or misreads, written out in others: ONNX in, ONNX out, equal in onnxruntime."""

from onnxprune.backends.lowering.lowered import Lowered, Operator, lowered

__all__ = ["Lowered", "Operator", "lowered"]
