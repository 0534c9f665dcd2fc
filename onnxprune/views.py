"""The frozen views of a graph: what ``Model`` shows of its wiring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx

from onnxprune.node import RANDOM, Node, Tensor
from onnxprune.wiring import Wired, Wiring

__all__ = ["consumers", "dtype_of", "producers", "viewed"]


def viewed(wiring: Wiring, opset: int, tensor: Callable[[str], Tensor]) -> dict[str, Node]:
    """All nodes by name, in the order of the wiring; ``tensor`` gives what is known of one but where it comes from."""
    known: dict[str, Tensor] = {}

    def seen(name: str) -> Tensor | None:
        if name and name not in known:
            known[name] = tensor(name)
        return known.get(name)

    def view(wired: Wired) -> Node:
        held = wired.proto
        inputs = tuple(seen(name) for name in wired.inputs)
        captures = tuple(t for name in wired.captures if (t := seen(name)) is not None)
        attrs = MappingProxyType({a.name: _attribute(a) for a in held.attribute})
        if _derived(held, inputs):
            known.update({name: replace(tensor(name), derived=True) for name in wired.outputs if name})
        outputs = tuple(seen(name) for name in wired.outputs)
        return Node(held.name, held.op_type, held.domain, opset, inputs, outputs, attrs, captures)

    return {wired.proto.name: view(wired) for wired in wiring}


def _derived(node: onnx.NodeProto, inputs: Iterable[Tensor | None]) -> bool:
    """Whether a known operator computes from constants alone, the same at every run, and has no subgraph."""
    read = [t.fixed for t in inputs if t is not None]
    bodies = any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)
    known = node.domain in ("", "com.microsoft") and node.op_type not in RANDOM
    return known and bool(read) and all(read) and not bodies


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.STRING:
        return value.decode(errors="replace")
    return tuple(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value


def producers(nodes: Iterable[Node]) -> dict[str, Node]:
    """The node that computes each tensor."""
    return {t.name: node for node in nodes for t in node.outputs if t is not None}


def consumers(nodes: Iterable[Node]) -> dict[str, tuple[Node, ...]]:
    """The nodes that read each tensor, those whose subgraphs capture it included, each once."""
    found: dict[str, dict[str, Node]] = {}
    for node in nodes:
        for t in (*node.inputs, *node.captures):
            if t is not None:
                found.setdefault(t.name, {})[node.name] = node
    return {name: tuple(readers.values()) for name, readers in found.items()}


def dtype_of(info: onnx.ValueInfoProto) -> np.dtype[Any] | None:
    """The type of the elements; None where it is unknown, for a Cast may ask for anything."""
    kind = info.type.tensor_type.elem_type
    known = kind in onnx.TensorProto.DataType.values()
    return onnx.helper.tensor_dtype_to_np_dtype(kind) if kind and known else None
