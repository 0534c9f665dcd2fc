"""Sizes that inference leaves open though they can be counted: a Reshape has as many elements after it as before.

``x.view(x.size(0), -1)`` with a batch of any size is the common case: onnx does not divide by a symbol.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import onnx

from onnxprune.node import Dim, Shape

__all__ = ["counted", "shape_of"]


def shape_of(info: onnx.ValueInfoProto) -> Shape | None:
    """The shape in a value info, None where the rank is unknown or the value is no tensor."""
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        return None
    dims = info.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims)


def counted(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    """The outputs of Reshapes of which all sizes but one are known, with that size, where it is a fixed number."""
    infos = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    for node in (n for n in graph.node if n.op_type == "Reshape" and not n.domain):
        x, y = node.input[0], infos.get(node.output[0])
        before = shape_of(infos[x]) if x in infos else shapes.get(x)
        after = None if y is None else shape_of(y)
        if y is None or before is None or after is None or (found := _missing(before, after)) is None:
            continue
        info = onnx.ValueInfoProto()
        info.CopyFrom(y)
        info.type.tensor_type.shape.dim[found[0]].dim_value = found[1]
        yield info


def _missing(before: Shape, after: Shape) -> tuple[int, int] | None:
    """The one dimension of unknown size, and its size; None where there is not just one, or it is no number."""
    free = [dim for dim, size in enumerate(after) if not isinstance(size, int) and size not in before]
    rest = [size for dim, size in enumerate(after) if dim not in free]
    if len(free) != 1 or None in before or _symbols(before) != _symbols(rest):
        return None
    total, known = (math.prod(size for size in sizes if isinstance(size, int)) for sizes in (before, rest))
    return (free[0], total // known) if known and total % known == 0 else None


def _symbols(sizes: Shape | list[Dim]) -> Counter[Dim]:
    return Counter(size for size in sizes if not isinstance(size, int))
