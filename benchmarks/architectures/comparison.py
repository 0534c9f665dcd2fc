"""Whether two graphs compute the same, and how far apart they are; detectors too, which select what they go on with.

A selection (TopK, NonMaxSuppression, NonZero …) turns a difference in the last bit into other boxes. So every selection
that the one graph makes is given to the other: what is selected from is compared, and all that is computed thereof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["RTOL", "Comparison"]

RTOL = 1e-5
SELECTING = {"ArgMax", "ArgMin", "Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique"}
SINGLE, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
Feeds = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A graph to hold others against, on one feed: its outputs, its selections, and what lies before them.

    The others may have other weights and channel counts, but must select under the same tensor names. Of what lies
    before the selections that is compared which has the same shape.
    """

    outputs: Mapping[str, Array]
    selected: Mapping[str, Array]
    before: Mapping[str, Array]
    feeds: Feeds

    @classmethod
    def with_(cls, proto: onnx.ModelProto, feeds: Feeds) -> Comparison:
        """Run the graph that is in the right; raises ModelError where onnxruntime cannot."""
        made = [name for node in _selecting(proto) for name in node.output if name]
        names = [[o.name for o in proto.graph.output], made, _before(proto)]
        every = list(dict.fromkeys(chain(*names)))
        values = dict(zip(every, Session(_showing(proto, every), threads=1, optimise=False)(feeds), strict=True))
        outputs, selected, before = ({name: values[name] for name in part} for part in names)
        return cls(outputs, selected, before, feeds)

    def distance(self, proto: onnx.ModelProto) -> float:
        """max|Δ| / max|y| of the worst tensor, infinite where an output has another shape."""
        return max(self._distances(proto).values(), default=0.0)

    def exact(self, proto: onnx.ModelProto, reference: onnx.ModelProto) -> float:
        """The same in float64 of what float32 does not decide, run by the reference implementation of onnx."""
        feeds = {name: _double(value) for name, value in {**self.feeds, **self.selected}.items()}
        names = [name for name, apart in self._distances(proto).items() if apart > RTOL]
        pairs = zip(
            *(_evaluated(_widened(_needed(self._fed(each), names)), feeds) for each in (proto, reference)), strict=True
        )
        return max((_relative(z, y) for z, y in pairs), default=0.0)

    def _distances(self, proto: onnx.ModelProto) -> dict[str, float]:
        fed, expected = self._fed(proto), {**self.before, **self.outputs}
        values = Session(fed, threads=1, optimise=False)({**self.feeds, **self.selected})
        found = dict(zip((o.name for o in fed.graph.output), values, strict=True))
        same = [n for n, z in found.items() if n in self.outputs or z.shape == expected[n].shape]
        return {name: _relative(found[name], expected[name]) for name in same}

    def _fed(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """The graph that reads its selections as inputs; the outputs that these are need no comparison."""
        made = {name for node in proto.graph.node for name in node.output} - self.selected.keys()
        fed = _showing(proto, [n for n in dict.fromkeys((*self.outputs, *self.before)) if n in made])
        for node in [each for each in _selecting(fed) if self.selected.keys() & set(each.output)]:
            fed.graph.node.remove(node)
        for name, value in self.selected.items():
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            fed.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
        del fed.graph.value_info[:]
        return fed


def _selecting(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in proto.graph.node if node.op_type in SELECTING or any(map(_selects, node.attribute))]


def _selects(attribute: onnx.AttributeProto) -> bool:
    nodes = [node for graph in (attribute.g, *attribute.graphs) for node in graph.node]
    return any(node.op_type in SELECTING or any(map(_selects, node.attribute)) for node in nodes)


def _before(proto: onnx.ModelProto) -> list[str]:
    """The fractions that no selection is part of, and that a selection or what comes after one is made from."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    fractions = {v.name for v in proto.graph.value_info if v.type.tensor_type.elem_type == SINGLE}
    found, ahead = set[str](), _ahead(proto)
    while ahead:
        name = ahead.pop()
        if name in fractions:
            found.add(name)
        elif name in makers:  # a mask or a count: what it was made from
            ahead.update(makers.pop(name).input)
    return sorted(found & makers.keys())


def _ahead(proto: onnx.ModelProto) -> set[str]:
    """What selections, and all that comes after them, read and no selection is part of."""
    selected, ahead = {name for node in _selecting(proto) for name in node.output}, set[str]()
    for node in proto.graph.node:
        if selected.intersection((*node.input, *node.output)):
            ahead.update(node.input)
            selected.update(node.output)
    return ahead - selected


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


def _needed(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The part of a graph that some of its tensors are computed by."""
    part, needed = _showing(proto, names), set(names)
    for node in reversed(proto.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            needed.update(name for attribute in node.attribute for name in _captured(attribute))
    del part.graph.node[:]
    part.graph.node.extend(node for node in proto.graph.node if needed.intersection(node.output))
    return part


def _captured(attribute: onnx.AttributeProto) -> Iterator[str]:
    for node in (node for graph in (attribute.g, *attribute.graphs) for node in graph.node):
        yield from node.input
        for inner in node.attribute:
            yield from _captured(inner)


def _evaluated(proto: onnx.ModelProto, feeds: Feeds) -> list[Array]:
    return list(ReferenceEvaluator(proto).run(None, dict(feeds)))
