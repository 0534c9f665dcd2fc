"""Operators that pick or place elements where a tensor of indices says: ScatterND, GatherElements and their kin."""

from __future__ import annotations

import numpy as np

from onnxprune.axes.facts import Facts, Pin, Tie, at, axes
from onnxprune.axes.left import Left
from onnxprune.axes.movement import followed
from onnxprune.axes.rules import refit, rule
from onnxprune.axes.sizes import put_constant, renumbered
from onnxprune.model import Model
from onnxprune.node import Node, Tensor

ALONG = ("GatherElements", "Scatter", "ScatterElements")  # one index for each element, along one axis


@rule(*ALONG, "GatherND", "ScatterND")
def by_index(node: Node) -> Facts:
    """Followed element by element where the indices are constant; what they do not address passes whole."""
    x, y = node.x(), node.y()
    if not node.x(1).fixed:
        yield from _unaddressed(node)
        return
    if node.attrs.get("reduction", "none") != "none":
        raise ValueError("it adds up what it places, which is not followed")
    scatters = node.op.startswith("Scatter")
    pairs = {2 if scatters else 0: _pairs(node)}
    moved = list(followed(node, [0, *pairs] if scatters else [0], pairs))
    yield from moved
    if scatters:  # the output is the data with other values in places
        yield from (Tie(axis, at(y, axis.dim)) for axis in x.axes())
        tied = {axis for fact in moved for axis in axes(fact)}
        loose = (axis for axis in y.axes() if axis not in tied)
        yield from (Pin(axis, f"{node.op} '{node.name}' places what is no function of its slots") for axis in loose)


def _pairs(node: Node) -> list[tuple[int, int]]:
    """The dimensions of what is moved that may be those of the output."""
    if node.op in ALONG:
        return [(d, d) for d in range(node.x().rank or 0)]
    addressed, lead = _addressed(node), (node.x(1).rank or 1) - 1
    pairs = [*_rest(node), *((axis, place) for axis in addressed for place in range(addressed.start, lead))]
    return [(b, a) for a, b in pairs] if node.op == "ScatterND" else pairs


def _unaddressed(node: Node) -> Facts:
    """Wherever indices of run time point to, they do so along the axes that they address, and all others pass."""
    x, index, y, moved = node.x(), node.x(1), node.y(), _moved(node)
    addressed, rest, lead = _addressed(node), _rest(node), (index.rank or 1) - (node.op not in ALONG)
    yield from (Tie(at(x, a), at(moved, b)) for a, b in rest)
    if moved == y:
        yield from (Tie(at(y, dim), at(index, dim)) for dim in range(lead))
        placed = [at(x, dim) for dim in addressed]
    else:  # what is placed hides what was there, were it nothing but zeros
        yield from (Tie(at(x, dim), at(y, dim)) for dim in range(x.rank or 0) if dim not in addressed)
        hides = addressed if node.op in ALONG else range(lead)
        placed = [at(t, dim) for t, dims in ((x, addressed), (y, addressed), (moved, hides)) for dim in dims]
        if node.op in ALONG:
            yield from (Tie(at(moved, dim), at(index, dim)) for dim, _ in rest)
    yield from (Pin(axis, f"indexed by {node.op} '{node.name}', by what is known at run time only") for axis in placed)


def _addressed(node: Node) -> range:
    """The axes of the data that indices address."""
    if node.op in ALONG:
        axis = int(node.attrs.get("axis", 0)) % (node.x().rank or 1)
        return range(axis, axis + 1)
    batch = int(node.attrs.get("batch_dims", 0))
    return range(batch, batch + (node.x(1).size(-1) or 0))


def _rest(node: Node) -> list[tuple[int, int]]:
    """The dimensions of the data that are not addressed, and of what is moved which those are."""
    addressed, rank = _addressed(node), node.x().rank or 0
    shift = 0 if node.op in ALONG else (node.x(1).rank or 1) - 1 - addressed.stop
    return [(d, d if d < addressed.start else d + shift) for d in range(rank) if d not in addressed]


def _moved(node: Node) -> Tensor:
    """What has the axes of the indices: the updates, or what is gathered."""
    return node.x(2) if node.op.startswith("Scatter") else node.y()


@refit(*ALONG, "GatherND", "ScatterND")
def indices_left(model: Model, node: Node, left: Left) -> None:
    """Take the indices of what is left, and renumber the slots that they address."""
    x, index = node.x(), node.x(1)
    if not index.fixed:
        return
    carrier, value = _moved(node), np.array(index.value())
    for dim in range((index.rank or 0) - (node.op not in ALONG)):
        if left.cuts(at(carrier, dim)):
            value = np.take(value, left.slots(at(carrier, dim)), dim)
    for place, dim in enumerate(_addressed(node)):
        if left.cuts(at(x, dim)):
            part = value if node.op in ALONG else value[..., place]
            part[...] = renumbered(part % (x.size(dim) or 1), left.slots(at(x, dim)))
    put_constant(model, node, 1, value)
