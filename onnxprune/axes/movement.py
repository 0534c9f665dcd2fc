"""Where every element of a tensor went: an index tensor is run through an operator, and the map of slots read off.

This is how operators are followed that no formula describes, and what the rules of the others are checked against.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxprune.axes.facts import Facts, Tie
from onnxprune.errors import ModelError
from onnxprune.node import Array, Axis, Node, Tensor
from onnxprune.runtime import Session

__all__ = ["MOST", "Moved", "followed"]

MOST = 2**22  # elements that are followed one by one


@dataclass(frozen=True, eq=False)
class Moved:
    """For every element of the output, the flat index of the element of the input that it is; −1 where none.

    ``shape`` is the input's.
    """

    source: Array
    shape: tuple[int, ...]

    def together(self, dim: int, onto: int) -> Array:
        """Whether slots of the input's axis ``dim`` and of the output's axis ``onto`` share elements; bool, 2-D."""
        hit = np.zeros((self.shape[dim], self.source.shape[onto]), bool)
        places = np.nonzero(self.source >= 0)
        hit[self.source[places] // math.prod(self.shape[dim + 1 :]) % self.shape[dim], places[onto]] = True
        return hit

    def function(self, dim: int, axis: Axis, onto: int, target: Axis) -> Tie | None:
        """The tie of two axes where every slot of one meets at most one of the other; None where it is not so."""
        hit = self.together(dim, onto)
        if not hit.any() or min(hit.shape) == 1 != max(hit.shape):
            return None
        if (hit.sum(axis=0) <= 1).all():
            return Tie(axis, target, table=_table(hit))
        return Tie(target, axis, table=_table(hit.T)) if (hit.sum(axis=1) <= 1).all() else None


def _table(hit: Array) -> tuple[int, ...]:
    """For every column the row that it meets, −1 for none."""
    return tuple(np.where(hit.any(axis=0), hit.argmax(axis=0), -1).tolist())


def followed(node: Node, data: Sequence[int], pairs: Mapping[int, Sequence[tuple[int, int]]]) -> Facts:
    """The ties between axes of the inputs ``data`` and of the output, as running the node shows them.

    ``pairs`` gives the pairs of dimensions to compare for each input. Every other input must be constant. A pair that
    is no function of slots is left out, and so are axes whose size is known at run time only. Raises ValueError where
    the node cannot be followed.
    """
    inputs = [(index, t) for index in data if (t := node.input(index)) is not None]
    result, y = _run(node, inputs), node.y()
    start = 1
    for index, tensor in inputs:
        shape = _stand_in(tensor)
        size = math.prod(shape)
        own = (result >= start) & (result < start + size)
        moved = Moved(np.where(own, result - start, -1), shape)
        start += size
        for dim, onto in pairs.get(index, ()):
            fixed = tensor.size(dim) is not None and y.size(onto) is not None
            tie = moved.function(dim, Axis(tensor.name, dim), onto, Axis(y.name, onto)) if fixed else None
            yield from [tie] if tie is not None else []


def _stand_in(tensor: Tensor) -> tuple[int, ...]:
    """The shape, with 1 for sizes that are known at run time only."""
    return tuple(d if isinstance(d, int) else 1 for d in tensor.shape or ())


def _run(node: Node, inputs: Sequence[tuple[int, Tensor]]) -> Array:
    """The output of the node on tensors that count their elements from 1 on, 0 standing for anything else; int64."""
    total = sum(math.prod(_stand_in(tensor)) for _, tensor in inputs)
    if total > MOST:
        raise ValueError(f"over {MOST} elements are too many to follow")
    names = [f"in{index}" if tensor is not None else "" for index, tensor in enumerate(node.inputs)]
    values = dict(_counted(inputs))
    for index, tensor in enumerate(node.inputs):
        if tensor is not None and index not in values:
            values[index] = tensor.value()
    graph = onnx.GraphProto(name="followed")
    graph.node.append(onnx.helper.make_node(node.op, names, ["out"], **node.attrs))
    graph.initializer.extend(onnx.numpy_helper.from_array(value, f"in{index}") for index, value in values.items())
    graph.output.append(onnx.ValueInfoProto(name="out"))
    opset = onnx.helper.make_opsetid("", node.opset)
    try:
        (result,) = Session(onnx.helper.make_model(graph, ir_version=10, opset_imports=[opset]), optimise=False)({})
    except ModelError as error:
        raise ValueError(f"it cannot be followed: {error}") from error
    return result.astype(np.int64)


def _counted(inputs: Sequence[tuple[int, Tensor]]) -> Iterator[tuple[int, Array]]:
    start = 1
    for index, tensor in inputs:
        shape = _stand_in(tensor)
        size = math.prod(shape)
        yield index, np.arange(start, start + size, dtype=np.float64).reshape(shape)
        start += size
