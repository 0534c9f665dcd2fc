"""Reading intermediate tensors: the part of a graph that computes them, with them as its outputs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from onnxprune.model import Model
from onnxprune.runtime import Session

__all__ = ["tapped"]


def tapped(model: Model, names: Iterable[str], threads: int = 0) -> Session:
    """A session that computes the tensors ``names``, in that order, and nothing that they do not need."""
    wanted = list(dict.fromkeys(names))
    needed, kept = set(wanted), set()
    for node in reversed(model.nodes):
        if any(t is not None and t.name in needed for t in node.outputs):
            kept.add(node.name)
            needed.update(t.name for t in (*node.inputs, *node.captures) if t is not None)
    proto = model.lean()
    part = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    part.graph.name = "tapped"
    part.graph.node.extend(n for n in proto.graph.node if n.name in kept)
    part.graph.input.extend(i for i in proto.graph.input if i.name in needed)
    part.graph.initializer.extend(t for t in proto.graph.initializer if t.name in needed)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    return Session(part, threads=threads)
