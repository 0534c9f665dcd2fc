"""Operators that pick, repeat or place slots along single axes: Slice, Gather, Pad and Tile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxprune.axes.facts import Either, Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.movement import MOST, Moved
from onnxprune.axes.rules import refit, rule
from onnxprune.axes.sizes import put_constant, put_setting, renumbered
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node

SETTINGS = ("starts", "ends", "axes", "steps")  # of a Slice, inputs 1 to 4
WHOLE = np.iinfo(np.int64).max
BEYOND = np.iinfo(np.int32).max  # ends from here on say "to the end"


@rule("Slice")
def slice_(node: Node) -> Facts:
    """Slot j of a sliced axis is slot start + step · j; what is not read may go."""
    x, y, sliced = node.x(), node.y(), _sliced(node)
    for dim in range(x.rank or 0):
        if dim not in sliced:
            yield Tie(at(x, dim), at(y, dim))
        elif (slots := sliced[dim]) is not None:
            yield Tie(at(x, dim), at(y, dim), table=_as_table(slots))
        else:
            why = f"sliced by Slice '{node.name}', with bounds or a size that are known at run time only"
            yield from (Pin(at(t, dim), why) for t in (x, y))


def _sliced(node: Node) -> dict[int, Array | None]:
    """The slots that are read of every axis that is not read whole; None where they are not fixed."""
    x = node.x()
    held = [node.input(index + 1) for index in range(4)]
    if any(t is not None and not t.constant for t in (held[0], held[1], held[3])):
        axes = node.setting("axes", 3)
        return dict.fromkeys(range(x.rank or 0) if axes is None else (axes % (x.rank or 1)).tolist())
    slots: dict[int, Array | None] = {}
    for dim, (start, end, step) in _bounds(node).items():
        size = x.size(dim)
        if (start, step) != (0, 1) or end < BEYOND:
            slots[dim] = None if size is None else np.arange(size)[slice(start, end, step)]
    return slots


def _bounds(node: Node) -> dict[int, tuple[int, int, int]]:
    """Start, end and step of every axis that is named."""
    starts, ends, axes, steps = (node.setting(name, index) for index, name in enumerate(SETTINGS, 1))
    if starts is None or ends is None:
        raise ValueError("it has no bounds")
    dims = np.arange(len(starts)) if axes is None else axes % (node.x().rank or 1)
    strides = np.ones(len(starts), np.int64) if steps is None else steps
    return dict(zip(dims.tolist(), zip(starts.tolist(), ends.tolist(), strides.tolist(), strict=True), strict=True))


@refit("Slice")
def slice_bounds(model: Model, node: Node, left: Left) -> None:
    """New bounds where what is left lies at equal distances, else a Gather of the slots before the Slice."""
    x, y = node.x(), node.y()
    touched = {dim: slots for dim, slots in _sliced(node).items() if left.cuts(at(x, dim)) or left.cuts(at(y, dim))}
    if not touched:
        return
    bounds, read = _bounds(node), x.name
    for dim, slots in touched.items():
        picked = renumbered(np.asarray(slots)[left.slots(at(y, dim))], left.slots(at(x, dim)))
        if (found := _progression(picked)) is None:
            read = _picked(model, node, read, dim, picked)
        bounds[dim] = found or (0, WHOLE, 1)
    model.set_input(node, 0, read)
    starts, ends, steps = zip(*bounds.values(), strict=True)
    put_setting(model, node, "starts", 1, starts)
    put_setting(model, node, "ends", 2, ends)
    put_setting(model, node, "axes", 3, tuple(bounds))
    if set(steps) != {1} or node.input(4) is not None:
        put_setting(model, node, "steps", 4, steps)


def _progression(slots: Array) -> tuple[int, int, int] | None:
    """Start, end and step that give these slots; None where no slice does."""
    steps = set(np.diff(slots).tolist()) or {1}
    if len(steps) > 1 or not len(slots):
        return None
    start, step = int(slots[0]), steps.pop()
    end = start + step * len(slots)
    return start, end if end >= 0 else -WHOLE, step


def _picked(model: Model, node: Node, name: str, dim: int, slots: Array) -> str:
    """The name of a new tensor that holds only some slots of an axis of ``name``, in that order."""
    index, picked = model.fresh_name(f"{node.name}_slots"), model.fresh_name(f"{node.name}_picked")
    model.put(index, slots)
    model.insert("Gather", [name, index], [picked], name=picked, axis=dim)
    return picked


@rule("Gather")
def gather(node: Node) -> Facts:
    """One axis is replaced by those of the indices; where these are constant, the slots each asks for are read off."""
    x, index, y = node.x(), node.x(1), node.y()
    axis, wide = int(node.attrs.get("axis", 0)) % (x.rank or 1), index.rank or 0
    for dim in (d for d in range(x.rank or 0) if d != axis):
        yield Tie(at(x, dim), at(y, dim if dim < axis else dim + wide - 1))
    made = [at(y, axis + dim) for dim in range(wide)]
    options = tuple(_gathered(node, axis, made))
    if len(made) == len(options) == 1:
        yield options[0][0]
    elif options:
        yield Either(options, f"gathered in a table by Gather '{node.name}', one axis of which may be cut")
    else:
        yield Pin(at(x, axis), f"indexed by Gather '{node.name}'")
        for dim, each in enumerate(made):
            yield Tie(at(index, dim), each) if not index.fixed else Pin(each, "fixed indices")


def _gathered(node: Node, axis: int, made: list[Axis]) -> Iterator[tuple[Tie, tuple[Axis, ...]]]:
    """For each axis that constant indices have, its tie to the one that they address, where there is one."""
    x, index = node.x(), node.x(1)
    if (size := x.size(axis)) is None or not index.constant:
        return
    read = index.value() % size
    if read.ndim == 1:
        yield Tie(at(x, axis), made[0], table=_as_table(read)), ()
    elif size * read.size <= MOST:
        moved = Moved(read, (size,))
        for dim, each in enumerate(made):
            if (tie := moved.function(0, at(x, axis), dim, each)) is not None:
                yield tie, tuple(other for other in made if other != each)


@refit("Gather")
def gather_indices(model: Model, node: Node, left: Left) -> None:
    """Take the constant indices of what is left, and renumber the slots that they ask for."""
    x, index, y = node.x(), node.x(1), node.y()
    axis = int(node.attrs.get("axis", 0)) % (x.rank or 1)
    replaced = [at(y, axis + dim) for dim in range(index.rank or 0)]
    if index.constant and any(map(left.cuts, [at(x, axis), *replaced])):
        read = index.value() % (x.size(axis) or 1)
        for dim, each in enumerate(replaced):
            read = np.take(read, left.slots(each), dim)
        put_constant(model, node, 1, renumbered(read, left.slots(at(x, axis))))


@rule("Tile")
def tile(node: Node) -> Facts:
    """Every copy of a slot goes with it."""
    x, y = node.x(), node.y()
    for dim in range(x.rank or 0):
        yield Tie(at(x, dim), at(y, dim), modulo=x.size(dim))


@rule("Pad")
def pad(node: Node) -> Facts:
    """Slots are moved by what stands before them; those of constants may go, those that repeat others may not."""
    x, y = node.x(), node.y()
    for dim, (before, _) in _padding(node).items():
        slots = np.arange(y.size(dim) or 0) - before
        inside = np.where((slots >= 0) & (slots < (x.size(dim) or 0)), slots, -1)
        if node.attrs.get("mode", "constant") != "constant":
            yield from (Pin(at(t, dim), f"padded by {node.attrs['mode']} in Pad '{node.name}'") for t in (x, y))
        elif x.size(dim) is None or y.size(dim) is None:
            yield from (Pin(at(t, dim), "padded, and its size is known at run time only") for t in (x, y))
        else:
            yield Tie(at(x, dim), at(y, dim), table=_as_table(inside))
    yield from (Tie(at(x, dim), at(y, dim)) for dim in range(x.rank or 0) if dim not in _padding(node))


def _padding(node: Node) -> dict[int, tuple[int, int]]:
    """The slots that are added before and after every axis that is padded; ValueError where they are not constant."""
    pads, axes, rank = node.setting("pads", 1), node.setting("axes", 3), node.x().rank or 0
    if pads is None:
        raise ValueError("it has no pads")
    dims = list(range(rank)) if axes is None else [int(a) % (rank or 1) for a in axes.ravel()]
    pairs = zip(dims, pads[: len(dims)].tolist(), pads[len(dims) :].tolist(), strict=True)
    return {dim: (before, after) for dim, before, after in pairs if before or after}


@refit("Pad")
def pad_sizes(model: Model, node: Node, left: Left) -> None:
    """As many slots are added, or taken away where the pads are negative, as are left of them."""
    x, y, padding = node.x(), node.y(), _padding(node)
    pads = {}
    for dim, (before, after) in padding.items():
        if not (left.cuts(at(x, dim)) or left.cuts(at(y, dim))):
            pads[dim] = (before, after)
            continue
        made, read = left.slots(at(y, dim)) - before, left.slots(at(x, dim))
        last = (y.size(dim) or 0) - before
        pads[dim] = (
            int(np.sum(made < 0)) - int(np.sum(read < -before)),
            int(np.sum(made >= (x.size(dim) or 0))) - int(np.sum(read >= last)),
        )
    rank = node.x().rank or 0
    axes = node.setting("axes", 3)
    dims = list(range(rank)) if axes is None else [int(a) % (rank or 1) for a in axes.ravel()]
    rows = [pads.get(dim, (0, 0)) for dim in dims]
    put_setting(model, node, "pads", 1, [before for before, _ in rows] + [after for _, after in rows])


def _as_table(slots: Array) -> tuple[int, ...]:
    return tuple(int(slot) for slot in slots)
