"""Channel shuffles: runs of Reshape and Transpose that in the end only put the slots of one axis into another order.

Exporters write a shuffle as Reshape, Transpose, Reshape (Zhang et al. 2018, ShuffleNet). In between, slots of the two
halves share an axis, so that they could only be cut in pairs; as one Gather each has its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnxprune.axes.movement import MOST
from onnxprune.model import Model
from onnxprune.node import Array, Node, Shape, Tensor

__all__ = ["Permutation", "permutations"]

RUN = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True, eq=False)
class Permutation:
    """Slot j of axis ``axis`` of what ``last`` writes is slot ``slots[j]`` of ``x``; all other axes are the same."""

    x: Tensor
    last: Node
    axis: int
    slots: Array


def permutations(model: Model) -> Iterator[Permutation]:
    """The longest runs of nodes, none read by anybody else, that permute one axis; each node is in one at most."""
    taken = set[str]()
    for last in reversed(model.nodes):
        if last.name in taken or last.op not in RUN or last.domain:
            continue
        run = _run(model, last)
        for start in range(len(run) - 1):
            nodes = run[start:]
            if any(n.op == "Transpose" for n in nodes) and (found := _permuted(nodes)) is not None:
                taken.update(node.name for node in nodes)
                yield Permutation(nodes[0].x(), last, *found)
                break


def _run(model: Model, last: Node) -> list[Node]:
    """The nodes that lead to ``last`` one after the other and are read by the next alone."""
    run = [last]
    while True:
        x = run[0].x()
        before = model.producer(x.name)
        alone = len(model.consumers(x.name)) == 1 and not model.is_output(x.name)
        if before is None or before.op not in RUN or before.domain or not alone:
            return run
        run.insert(0, before)


def _permuted(nodes: list[Node]) -> tuple[int, Array] | None:
    """The axis that the nodes permute and the order of its slots; None where they do anything else.

    The first axis may be of any size if every node leaves it as it is: then the others are followed without it.
    """
    x, y = nodes[0].x().shape, nodes[-1].y().shape
    shapes = [x, *(node.y().shape for node in nodes)]
    if x is None or x != y or any(s is None or not s or s[0] != x[0] or not _fixed(s[1:]) for s in shapes):
        return None
    inner, size = _sizes(x[1:]), math.prod(_sizes(x[1:]))
    if not 0 < size <= MOST or any(n.op == "Transpose" and _order(n)[:1] != (0,) for n in nodes):
        return None
    start = moved = np.arange(size).reshape(inner)
    for node in nodes:
        moved = moved.transpose([d - 1 for d in _order(node)[1:]]) if node.op == "Transpose" else moved
        moved = moved.reshape(_sizes((node.y().shape or ())[1:]))
    for axis, width in enumerate(inner):
        slots = np.moveaxis(moved, axis, 0).reshape(width, -1)[:, 0] // math.prod(inner[axis + 1 :]) % width
        if np.array_equal(np.take(start, slots, axis), moved) and not np.array_equal(slots, np.arange(width)):
            return axis + 1, slots
    return None


def _order(node: Node) -> tuple[int, ...]:
    return tuple(node.attrs.get("perm") or reversed(range(node.x().rank or 0)))


def _fixed(shape: Shape) -> bool:
    return all(isinstance(size, int) for size in shape)


def _sizes(shape: Shape) -> tuple[int, ...]:
    return tuple(size for size in shape if isinstance(size, int))
