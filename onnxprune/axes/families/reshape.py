"""Reshape and Flatten: runs of axes are merged or split; row-major order is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from onnxprune.axes.facts import Either, Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.movement import Moved
from onnxprune.axes.rules import refit, rule
from onnxprune.axes.sizes import put_constant, put_shape, shape_left
from onnxprune.model import Model
from onnxprune.node import Axis, Node, Shape, Tensor

Segment: TypeAlias = tuple[list[int], list[int]]
Option: TypeAlias = tuple[Tie, tuple[Axis, ...]]

MOST = 2**22  # elements of a run of axes that is followed one by one


@rule("Flatten", "Reshape")
def reshape(node: Node) -> Facts:
    """Runs of axes are merged into one axis, or one is split into several, or both at once."""
    x, y = node.x(), node.y()
    why = f"kept whole by {node.op} '{node.name}'"
    for inward, outward in _segments(x.shape or (), y.shape or ()):
        if len(inward) == len(outward) == 1:
            yield Tie(at(x, inward[0]), at(y, outward[0]))
        elif len(outward) == 1:
            yield Either(tuple(_factors(x, inward, at(y, outward[0]))), why)
        elif len(inward) == 1:
            yield Either(tuple(_factors(y, outward, at(x, inward[0]))), why)
        elif options := tuple(_regrouped(x, inward, y, outward)):
            yield Either(options, why)
        else:
            yield from (Pin(at(x, d), f"regrouped by {node.op} '{node.name}'") for d in inward)
            yield from (Pin(at(y, d), f"regrouped by {node.op} '{node.name}'") for d in outward)


def _factors(tensor: Tensor, dims: list[int], product: Axis) -> Iterator[Option]:
    """One axis is the product of several: cut along one of them, and the others stay whole."""
    sizes = [tensor.size(d) or 1 for d in dims]
    for k, dim in enumerate(dims):
        tie = Tie(at(tensor, dim), product, repeat=math.prod(sizes[k + 1 :]), modulo=sizes[k])
        yield tie, tuple(at(tensor, d) for d in dims if d != dim)


def _regrouped(x: Tensor, inward: list[int], y: Tensor, outward: list[int]) -> Iterator[Option]:
    """Several axes become several others: one of each that follow one another may be cut, and the rest stay whole.

    Which do is read off an index tensor of the run alone.
    """
    before, after = [x.size(d) or 0 for d in inward], [y.size(d) or 0 for d in outward]
    if math.prod(before) > MOST:
        return
    moved = Moved(np.arange(math.prod(before)).reshape(after), tuple(before))
    sides = [at(x, d) for d in inward], [at(y, d) for d in outward]
    for i, source in enumerate(sides[0]):
        for j, target in enumerate(sides[1]):
            if (tie := moved.function(i, source, j, target)) is not None:
                yield tie, tuple(axis for side in sides for axis in side if axis not in (source, target))


def _segments(before: Shape, after: Shape) -> list[Segment]:
    """The runs of dimensions (size 1 left out) on either side that hold the same elements.

    One dimension may be dynamic on each side, when the fixed sizes agree: it is then the same dimension.
    """
    left = [(d, size) for d, size in enumerate(before) if size != 1]
    right = [(d, size) for d, size in enumerate(after) if size != 1]
    marked = [_marked(side) for side in (left, right)]
    if marked[0] != marked[1]:
        raise ValueError(f"cannot follow {list(before)} → {list(after)}: sizes are known at run time only")
    segments: list[Segment] = []
    while left and right:
        (a, size_a), (b, size_b) = left.pop(0), right.pop(0)
        inward, outward = [a], [b]
        if not (isinstance(size_a, int) and isinstance(size_b, int)):
            if isinstance(size_a, int) or isinstance(size_b, int):
                raise ValueError(f"cannot follow {list(before)} → {list(after)}: a dynamic size is merged or split")
            segments.append((inward, outward))
            continue
        while size_a != size_b:
            dims, side = (inward, left) if size_a < size_b else (outward, right)
            dim, size = side.pop(0) if side else (0, None)
            if not isinstance(size, int):
                raise ValueError(f"cannot follow {list(before)} → {list(after)}: a dynamic size is merged or split")
            dims.append(dim)
            size_a, size_b = (size_a * size, size_b) if side is left else (size_a, size_b * size)
        segments.append((inward, outward))
    return segments


def _marked(side: list[tuple[int, int | str | None]]) -> tuple[int, int]:
    """How many dynamic sizes there are, and the product of the fixed ones."""
    fixed = [size for _, size in side if isinstance(size, int)]
    return len(side) - len(fixed), math.prod(fixed)


@refit("Reshape")
def reshape_target(model: Model, node: Node, left: Left) -> None:
    """Write the new sizes into the target; −1 and 0 stay where they still say the right thing."""
    sizes = shape_left(node.y(), left)
    if not node.x(1).constant:
        if sizes.count(None) == 1 and 0 not in sizes:
            return put_constant(model, node, 1, [-1 if size is None else size for size in sizes])
        return put_shape(model, node, 1, sizes)
    target = [int(t) for t in node.x(1).value()]
    new = [_said(node, dim, wanted, sizes[dim], left) for dim, wanted in enumerate(target)]
    if new != target:
        put_constant(model, node, 1, new)
    return None


def _said(node: Node, dim: int, wanted: int, size: int | None, left: Left) -> int:
    """What a constant target says of one dimension after a cut."""
    if size is None or wanted == -1:
        return wanted
    return 0 if wanted == 0 and left.size(Axis(node.x().name, dim)) == size else size
