"""Reshape and Flatten: runs of axes are merged or split; row-major order is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from onnxprune.axes.facts import Either, Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.movement import MOST, Moved
from onnxprune.axes.rules import refit, rule
from onnxprune.axes.sizes import put_constant, put_shape, shape_left
from onnxprune.model import Model
from onnxprune.node import Axis, Node, Shape, Tensor

Segment: TypeAlias = tuple[list[int], list[int]]
Sizes: TypeAlias = list[tuple[int, int | str | None]]
Option: TypeAlias = tuple[Tie, tuple[Axis, ...]]


@rule("Flatten", "Reshape")
def reshape(node: Node) -> Facts:
    """Runs of axes are merged into one axis, or one is split into several, or both at once."""
    x, y = node.x(), node.y()
    why = f"kept whole by {node.op} '{node.name}'"
    segments, unknown = _segments(x.shape or (), y.shape or ())
    for tensor, dims in zip((x, y), unknown, strict=True):
        yield from (Pin(at(tensor, d), f"{why}: it merges or splits sizes known at run time only") for d in dims)
    for inward, outward in segments:
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


def _segments(before: Shape, after: Shape) -> tuple[list[Segment], Segment]:
    """The runs of dimensions (size 1 left out) on either side that hold the same elements, and what is left over.

    They are found from the front and from the back, as far as sizes are numbers or have the same name. A single
    dynamic size on each side is the same one, when the fixed sizes agree.
    """
    sides = [[(d, size) for d, size in enumerate(shape) if size != 1] for shape in (before, after)]
    if _marked(sides[0]) == _marked(sides[1]) and _marked(sides[0])[0] == 1:
        sides = [[(d, size if isinstance(size, int) else "the same") for d, size in side] for side in sides]
    runs = []
    while (run := _run(*sides)) is not None:
        runs.append(([d for d, _ in sides[0][: run[0]]], [d for d, _ in sides[1][: run[1]]]))
        sides = [side[length:] for side, length in zip(sides, run, strict=True)]
    while (run := _run(*(side[::-1] for side in sides))) is not None:
        lengths = [len(side) - length for side, length in zip(sides, run, strict=True)]
        runs.append(([d for d, _ in sides[0][lengths[0] :]], [d for d, _ in sides[1][lengths[1] :]]))
        sides = [side[:length] for side, length in zip(sides, lengths, strict=True)]
    return runs, ([d for d, _ in sides[0]], [d for d, _ in sides[1]])


def _run(left: Sizes, right: Sizes) -> tuple[int, int] | None:
    """How many dimensions from the front hold as many elements on either side; None where their sizes do not tell."""
    i = j = 1
    while i <= len(left) and j <= len(right):
        a, b = left[0][1] if i == 1 else _count(left[:i]), right[0][1] if j == 1 else _count(right[:j])
        if a == b is not None:
            return i, j
        if not (isinstance(a, int) and isinstance(b, int)):
            return None
        i, j = (i + 1, j) if a < b else (i, j + 1)
    return None


def _count(side: Sizes) -> int | None:
    sizes = [size for _, size in side if isinstance(size, int)]
    return math.prod(sizes) if len(sizes) == len(side) else None


def _marked(side: Sizes) -> tuple[int, int]:
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
