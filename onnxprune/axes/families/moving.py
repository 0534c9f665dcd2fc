"""Operators that arrange whole axes anew: Concat, Split, Transpose, Squeeze, DepthToSpace and their kin."""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.rules import refit, rule
from onnxprune.axes.sizes import put_setting
from onnxprune.model import Model
from onnxprune.node import Axis, Node, Tensor


@rule("Concat")
def concat(node: Node) -> Facts:
    """Each input is a range of slots of the output."""
    yield from _parts(node.y(), [t for t in node.inputs if t is not None], int(node.attrs["axis"]))


@rule("Split")
def split(node: Node) -> Facts:
    """Each output is a range of slots of the input."""
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
    put_setting(model, node, "split", 1, sizes)


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
        put_setting(model, node, "axes", 1, axes)


@rule("DepthToSpace")
def depth_to_space(node: Node) -> Facts:
    """The channels that make a block of one output channel: every C-th of them (DCR), or those in a row (CRD)."""
    x, y, blocks = node.x(), node.y(), int(node.attrs["blocksize"]) ** 2
    yield Tie(at(x, 0), at(y, 0))
    if node.attrs.get("mode", "DCR") == "CRD":
        yield Tie(at(y, 1), at(x, 1), repeat=blocks)
    else:
        yield Tie(at(y, 1), at(x, 1), modulo=y.size(1))


@rule("SpaceToDepth")
def space_to_depth(node: Node) -> Facts:
    """An input channel makes a channel for every place in a block."""
    x, y = node.x(), node.y()
    yield Tie(at(x, 0), at(y, 0))
    yield Tie(at(x, 1), at(y, 1), modulo=x.size(1))


@rule("Compress", "ReverseSequence", "Trilu")
def in_part(node: Node) -> Facts:
    """What is picked, turned or masked along some axes stays whole there; the other axes pass."""
    x, y = node.x(), node.y()
    if x.rank != y.rank:
        raise ValueError("it makes all axes one")
    rank = x.rank or 1
    along = {
        "Compress": (node.attrs.get("axis", 0),),
        "ReverseSequence": (node.attrs.get("batch_axis", 1), node.attrs.get("time_axis", 0)),
        "Trilu": (-2, -1),
    }[node.op]
    whole = {int(dim) % rank for dim in along}
    yield from (Tie(at(x, dim), at(y, dim)) for dim in range(rank) if dim not in whole)
