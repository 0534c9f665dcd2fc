"""Operators that move slots without changing values: Concat, Split, Transpose, Squeeze, Reshape and their kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from onnxprune.axes.facts import Either, Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.rules import refit, rule
from onnxprune.model import Model
from onnxprune.node import Axis, Node, Shape, Tensor

Segment: TypeAlias = tuple[list[int], list[int]]


@rule("Concat")
def concat(node: Node) -> Facts:
    """Each input is a range of slots of the output."""
    yield from _parts(node.y(), [t for t in node.inputs if t is not None], int(node.attrs["axis"]))


@rule("Split")
def split(node: Node) -> Facts:
    """Each output is a range of slots of the input."""
    node.setting("split", 1)  # sizes computed at run time cannot be rewritten
    if any(t is None for t in node.outputs):
        raise ValueError("an output is omitted")
    yield from _parts(node.x(), [t for t in node.outputs if t is not None], int(node.attrs.get("axis", 0)))


def _parts(whole: Tensor, parts: Sequence[Tensor], axis: int) -> Facts:
    start, axis = 0, axis % (whole.rank or 1)
    for part in parts:
        for dim in range(whole.rank or 0):
            yield Tie(at(whole, dim), at(part, dim), shift=start if dim == axis else 0)
        if (size := part.size(axis)) is None:
            raise ValueError(f"the size of '{part.name}' is known at run time only")
        start += size


@refit("Split")
def split_sizes(model: Model, node: Node, left: Left) -> None:
    """Write the sizes out, in the form the opset has for them."""
    axis = int(node.attrs.get("axis", 0)) % (node.x().rank or 1)
    sizes = [left.size(Axis(t.name, axis)) for t in node.outputs if t is not None]
    model.set_attribute(node, "num_outputs", None)
    _set(model, node, "split", sizes)


def _set(model: Model, node: Node, name: str, values: Sequence[int]) -> None:
    """Write a setting that is an attribute before opset 13, and constant input 1 since."""
    if node.opset < 13:
        model.set_attribute(node, name, values)
    else:
        _set_constant(model, node, 1, values)


def _set_constant(model: Model, node: Node, index: int, values: Sequence[int]) -> None:
    name = model.fresh_name(f"{node.name}_sizes")
    model.put(name, np.asarray(values, np.int64))
    model.set_input(node, index, name)


@rule("Transpose")
def transpose(node: Node) -> Facts:
    """Output axis d is input axis perm[d]."""
    x, y = node.x(), node.y()
    perm = node.attrs.get("perm") or tuple(reversed(range(x.rank or 0)))
    yield from (Tie(at(x, source), at(y, dim)) for dim, source in enumerate(perm))


@rule("Squeeze", "Unsqueeze")
def squeeze(node: Node) -> Facts:
    """Axes of size 1 come or go; the others keep their order."""
    wide, narrow = (node.x(), node.y()) if node.op == "Squeeze" else (node.y(), node.x())
    axes = node.setting("axes", 1)
    if axes is None:
        gone = {d for d in range(wide.rank or 0) if wide.size(d) == 1}
    else:
        gone = {int(a) % (wide.rank or 1) for a in axes.ravel()}
    left = [d for d in range(wide.rank or 0) if d not in gone]
    yield from (Tie(at(wide, source), at(narrow, dim)) for dim, source in enumerate(left))
    yield from (Pin(at(wide, d), f"kept for {node.op} '{node.name}'") for d in sorted(gone))


@refit("Squeeze")
def squeeze_axes(model: Model, node: Node, left: Left) -> None:
    """Write the axes out where they are all those of size 1: after a cut there may be more of them."""
    if node.setting("axes", 1) is None:
        axes = [d for d in range(node.x().rank or 0) if node.x().size(d) == 1]
        _set(model, node, "axes", axes)


@rule("Flatten", "Reshape")
def reshape(node: Node) -> Facts:
    """Runs of axes are merged into one axis, or one is split into several; row-major order is kept."""
    if node.op == "Reshape":
        node.x(1).value()  # a target computed at run time cannot be rewritten
    x, y = node.x(), node.y()
    why = f"kept whole by {node.op} '{node.name}'"
    for inward, outward in _segments(x.shape or (), y.shape or ()):
        if len(inward) == len(outward) == 1:
            yield Tie(at(x, inward[0]), at(y, outward[0]))
        elif len(outward) == 1:
            yield _factors(x, inward, at(y, outward[0]), why)
        elif len(inward) == 1:
            yield _factors(y, outward, at(x, inward[0]), why)
        else:
            yield from (Pin(at(x, d), f"regrouped by {node.op} '{node.name}'") for d in inward)
            yield from (Pin(at(y, d), f"regrouped by {node.op} '{node.name}'") for d in outward)


def _factors(tensor: Tensor, dims: list[int], product: Axis, why: str) -> Either:
    """One axis is the product of several: cut along one of them, and the others stay whole."""
    sizes = [tensor.size(d) or 1 for d in dims]
    options = []
    for k, dim in enumerate(dims):
        tie = Tie(at(tensor, dim), product, repeat=math.prod(sizes[k + 1 :]), modulo=sizes[k])
        options.append((tie, tuple(at(tensor, d) for d in dims if d != dim)))
    return Either(tuple(options), why)


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
    x, y, target = node.x(), node.y(), node.x(1).value()
    new = [int(t) for t in target]
    for dim, wanted in enumerate(new):
        if wanted == -1 or y.size(dim) is None:
            continue
        now = left.size(Axis(y.name, dim))
        if wanted != 0 or left.size(Axis(x.name, dim)) != now:
            new[dim] = now
    if new != list(target):
        _set_constant(model, node, 1, new)
