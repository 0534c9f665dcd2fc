"""How many parameters a graph has, counted in its file, so that it means the same whoever wrote it."""

from __future__ import annotations

import math

import onnx

__all__ = ["parameters"]

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}


def parameters(proto: onnx.ModelProto) -> int:
    """Elements of floating-point tensors, initializers and Constant nodes alike."""
    held = [a.t for node in proto.graph.node if node.op_type == "Constant" for a in node.attribute]
    return sum(math.prod(t.dims) for t in (*proto.graph.initializer, *held) if t.data_type in FLOATS)
