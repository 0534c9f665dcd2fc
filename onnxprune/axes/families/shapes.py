"""Operators that read shapes, and those that make tensors of a shape: Shape, Expand, ConstantOfShape.

After a cut a Shape goes on saying the sizes of before, so that whatever is computed from them stays as it is, and every
operator that makes a tensor of a certain shape is told the new one.
"""

from __future__ import annotations

from onnxprune.axes.facts import Facts, Free
from onnxprune.axes.families.elementwise import broadcast
from onnxprune.axes.left import Left
from onnxprune.axes.rules import refit, rule
from onnxprune.axes.sizes import overwrite, put_shape, shape_left
from onnxprune.model import Model
from onnxprune.node import Node


@rule("Shape")
def shape(node: Node) -> Facts:
    """The values of a tensor do not matter to its shape, nor do its slots."""
    yield from (Free(axis) for axis in node.x().axes())


@refit("Shape")
def sizes_before(model: Model, node: Node, left: Left) -> None:
    """Go on saying the sizes of before the cut: those who read them compute other things too."""
    x, y = node.x(), node.y()
    part = slice(node.attrs.get("start", 0), node.attrs.get("end"))
    axes = x.axes()[part]
    if not any(map(left.cuts, axes)):
        return
    held = model.fresh_name(f"{node.name}_left")
    model.set_output(node, 0, held)
    overwrite(model, held, [x.size(axis.dim) if left.cuts(axis) else None for axis in axes], y.name)


@rule("Expand")
def expand(node: Node) -> Facts:
    """The axes of x are those of y, counted from the right; the slots that are made by stretching are all alike."""
    yield from (Free(axis) for axis in node.y().axes())
    yield from broadcast(node.x(), node.y())


@rule("ConstantOfShape")
def constant_of_shape(node: Node) -> Facts:
    """All slots are alike."""
    yield from (Free(axis) for axis in node.y().axes())


@refit("Expand", "ConstantOfShape")
def shape_made(model: Model, node: Node, left: Left) -> None:
    """Write the new shape, as far as it is fixed."""
    if any(map(left.cuts, node.y().axes())):
        put_shape(model, node, 1 if node.op == "Expand" else 0, shape_left(node.y(), left))
