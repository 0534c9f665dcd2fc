"""Whether two graphs compute the same, and how far apart they are; detectors too, which select what they go on with.

A selection (TopK, NonMaxSuppression, NonZero …) turns a difference in the last bit into other boxes. So every selection
that the one graph makes is given to the other: what is selected from is compared, and all that is computed thereof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["RTOL", "Comparison"]

RTOL = 1e-5
SELECTING = {"ArgMax", "ArgMin", "Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique"}
SINGLE, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
Feeds = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A graph to hold others against, on one feed; ``values`` are its outputs, then all selections and what they read.

    The others may have other weights and channel counts, but must select under the same tensor names.
    """

    names: tuple[str, ...]
    values: tuple[Array, ...]
    feeds: Feeds

    @classmethod
    def with_(cls, proto: onnx.ModelProto, feeds: Feeds) -> Comparison:
        """Run the graph that is in the right; raises ModelError where onnxruntime cannot."""
        made = [name for node in _selecting(proto) for name in node.output if name]
        read = [name for node in _selecting(proto) for name in _read(node)]
        names = tuple(dict.fromkeys([*(o.name for o in proto.graph.output), *made, *read]))
        values = Session(_showing(proto, names), threads=1, optimise=False)(feeds)
        return cls(names, tuple(values), feeds)

    def distance(self, proto: onnx.ModelProto) -> float:
        """max|Δ| / max|y| of the worst tensor, infinite where a shape is another."""
        feeds = {**self.feeds, **self._selections(proto)}
        return self._worst(Session(self._fed(proto), threads=1, optimise=False)(feeds), self.values)

    def exact(self, proto: onnx.ModelProto, reference: onnx.ModelProto) -> float:
        """The same in float64, both graphs run by the reference implementation of onnx."""
        feeds = {**self.feeds, **self._selections(proto)}
        double = {name: _double(value) for name, value in feeds.items()}
        return self._worst(*(_evaluated(_widened(self._fed(each)), double) for each in (proto, reference)))

    def _worst(self, found: Sequence[Array], expected: Sequence[Array]) -> float:
        return max((_relative(z, y) for z, y in zip(found, expected, strict=True)), default=0.0)

    def _selections(self, proto: onnx.ModelProto) -> dict[str, Array]:
        known = dict(zip(self.names, self.values, strict=True))
        return {name: known[name] for node in _selecting(proto) for name in node.output if name in known}

    def _fed(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """The graph that reads its selections as inputs; those that are outputs too pass through."""
        fed = _showing(proto, self.names)
        for node in _selecting(fed):
            fed.graph.node.remove(node)
        for name, value in self._selections(proto).items():
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            fed.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
        del fed.graph.value_info[:]
        return fed


def _selecting(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in proto.graph.node if node.op_type in SELECTING or any(map(_selects, node.attribute))]


def _selects(attribute: onnx.AttributeProto) -> bool:
    nodes = [node for graph in (attribute.g, *attribute.graphs) for node in graph.node]
    return any(node.op_type in SELECTING or any(map(_selects, node.attribute)) for node in nodes)


def _read(node: onnx.NodeProto) -> list[str]:
    """What is selected from."""
    return [name for name in node.input[: 2 if node.op_type == "NonMaxSuppression" else 1] if name]


def _showing(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return shown


def _relative(z: Array, y: Array) -> float:
    if z.shape != y.shape:
        return float("inf")
    scale = float(np.abs(y).max(initial=0))
    apart = float(np.abs(z.astype(np.float64) - y).max(initial=0)) / (scale or 1.0)
    return apart if np.isfinite(apart) else float("inf")


def _double(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _widened(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with float64 for float32."""
    for tensor in (*proto.graph.initializer, *(a.t for node in proto.graph.node for a in node.attribute)):
        if tensor.data_type == SINGLE:
            tensor.CopyFrom(numpy_helper.from_array(_double(numpy_helper.to_array(tensor)), tensor.name))
    for value in proto.graph.input:
        if value.type.tensor_type.elem_type == SINGLE:
            value.type.tensor_type.elem_type = DOUBLE
    for node in proto.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == SINGLE:
                attribute.i = DOUBLE
    return proto


def _evaluated(proto: onnx.ModelProto, feeds: Feeds) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(proto).run(None, dict(feeds)))
