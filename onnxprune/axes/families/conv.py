"""Convolution: kernel rows make output channels, kernel columns read input channels."""

from __future__ import annotations

from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.rules import refit, rule
from onnxprune.model import Model
from onnxprune.node import Axis, Node


@rule("Conv")
def conv(node: Node) -> Facts:
    """Ungrouped, grouped and depthwise convolution of any rank."""
    x, w, y, bias = node.x(0), node.x(1), node.y(), node.input(2)
    groups, (rows, width) = int(node.attrs.get("group", 1)), (w.size(0), w.size(1))
    if rows is None or width is None:
        raise ValueError("the weight's shape is known at run time only")
    if groups < 1 or rows % groups:
        raise ValueError(f"{rows} kernels cannot be shared out among {groups} groups")
    if not w.constant:
        raise ValueError("the weight is computed at run time")
    yield Tie(at(x, 0), at(y, 0))
    if width == 1 and groups > 1:  # depthwise: a channel and its rows * 1/groups kernels are one
        yield Tie(at(x, 1), at(w, 0), repeat=rows // groups)
        yield Pin(at(w, 1), "depthwise kernels have one column")
    else:
        yield Tie(at(w, 1), at(x, 1), modulo=width)  # group g reads channels g*width … with all its columns
        if groups > 1:  # every group loses the same rows
            yield Tie(at(w, 0), at(w, 0), modulo=rows // groups)
    yield Tie(at(w, 0), at(y, 1))
    if bias is not None:
        yield Tie(at(w, 0), at(bias, 0))
    for dim in range(2, w.rank or 0):
        yield Pin(at(w, dim), "kernel window")
        yield Pin(at(x, dim), "spatial: read by a kernel window")
        yield Pin(at(y, dim), "spatial: written by a kernel window")


@refit("Conv")
def conv_group(model: Model, node: Node, left: Left) -> None:
    """A depthwise convolution has as many groups as channels; any other keeps its groups, which all lose the same."""
    rows, groups = node.x(1).size(0) or 1, int(node.attrs.get("group", 1))
    if groups > 1 and node.x(1).size(1) == 1:
        model.set_attribute(node, "group", groups * left.size(Axis(node.x(1).name, 0)) // rows)
