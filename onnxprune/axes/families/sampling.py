"""Operators that read an image at other places: channels and images pass one by one, pixels stay whole."""

from __future__ import annotations

import math

from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.rules import refit, rule
from onnxprune.axes.sizes import put_shape
from onnxprune.model import Model
from onnxprune.node import Node

WHY = "spatial: read at other places"


@rule("Resize", "Upsample")
def resize(node: Node) -> Facts:
    """Axes that keep their size pass, the others are interpolated."""
    if node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise ValueError("it crops")
    x, y, kept = node.x(), node.y(), _kept(node)
    for a, b in zip(x.axes(), y.axes(), strict=True):
        if a.dim in kept:
            yield Tie(a, b)
        else:
            yield from (Pin(axis, f"interpolated by {node.op} '{node.name}'") for axis in (a, b))
    for tensor in node.inputs[1:]:
        yield from (Pin(axis, f"setting of {node.op}") for axis in (tensor.axes() if tensor else ()))


def _dims(node: Node) -> list[int]:
    """The dimensions that sizes or scales are given for."""
    rank = node.x().rank or 0
    return [int(d) % rank for d in node.attrs.get("axes", range(rank))]


def _kept(node: Node) -> set[int]:
    """The dimensions whose slots stay what they are: those of scale 1."""
    x, y, dims = node.x(), node.y(), _dims(node)
    kept = set(range(x.rank or 0)) - set(dims)
    if _sized(node):
        stretched = node.attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
        return kept | {d for d in dims if stretched and None is not x.size(d) == y.size(d)}
    scales = node.setting("scales", 1 if node.op == "Upsample" or node.opset < 11 else 2)
    return kept | {d for d, scale in zip(dims, () if scales is None else scales, strict=True) if scale == 1}


def _sized(node: Node) -> bool:
    """Whether it is told sizes, perhaps computed ones, and not scales."""
    sizes = node.input(3)
    return sizes is not None and sizes.shape != (0,)


@refit("Resize")
def resize_sizes(model: Model, node: Node, left: Left) -> None:
    """Tell it the new sizes of the axes that pass; the others stay as they were given."""
    axes = [at(node.y(), d) for d in _dims(node)]
    if _sized(node) and any(map(left.cuts, axes)):
        put_shape(model, node, 3, [left.size(axis) if left.cuts(axis) else None for axis in axes])


@rule("GridSample", "com.microsoft.GridSample")
def grid_sample(node: Node) -> Facts:
    """Each point of the grid is looked up in all channels of its image."""
    x, grid, y = node.x(), node.x(1), node.y()
    yield from (Tie(at(x, d), at(y, d)) for d in (0, 1))
    yield Tie(at(grid, 0), at(y, 0))
    yield from (Tie(at(grid, d - 1), at(y, d)) for d in range(2, y.rank or 0))
    yield from (Pin(axis, WHY) for axis in x.axes()[2:])
    yield Pin(at(grid, -1), "coordinates")


@rule("RoiAlign", "MaxRoiPool", "com.microsoft.CropAndResize")
def regions(node: Node) -> Facts:
    """Each region is read from all channels of the image that it names."""
    x, y = node.x(), node.y()
    yield Tie(at(x, 1), at(y, 1))
    for tensor in node.inputs[1 : 2 if node.op == "MaxRoiPool" else 3]:
        if tensor is not None:
            yield Tie(at(tensor, 0), at(y, 0))
    yield Pin(at(x, 0), "regions name their image by its number")


@rule("Col2Im")
def col2im(node: Node) -> Facts:
    """A channel of the image is made of as many consecutive rows as a block has pixels."""
    x, y, block = node.x(), node.y(), math.prod(map(int, node.x(2).value()))
    yield Tie(at(x, 0), at(y, 0))
    yield Tie(at(y, 1), at(x, 1), repeat=block)
