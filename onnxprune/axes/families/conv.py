"""Convolution: kernel rows make output channels, kernel columns read input channels."""

from __future__ import annotations

from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.axes.left import Left
from onnxprune.axes.linear import Linear, linear
from onnxprune.axes.rules import refit, rule
from onnxprune.model import Model
from onnxprune.node import Node


@rule("Conv")
def conv(node: Node) -> Facts:
    """Ungrouped, grouped and depthwise convolution of any rank."""
    view, (rows, width) = _kernels(node)
    x, w, y, groups = view.x, view.weight, view.y, view.groups
    if width == 1 and groups > 1:  # depthwise: a channel and its rows * 1/groups kernels are one
        yield Tie(at(x, 1), at(w, 0), repeat=rows // groups)
        yield Pin(at(w, 1), "depthwise kernels have one column")
    else:
        yield Tie(at(w, 1), at(x, 1), modulo=width)  # group g reads channels g*width … with all its columns
        if groups > 1:  # every group loses the same rows
            yield Tie(at(w, 0), at(w, 0), modulo=rows // groups)
    yield Tie(at(w, 0), at(y, 1))
    yield from _others(view)


@rule("ConvTranspose")
def conv_transpose(node: Node) -> Facts:
    """As a convolution, with the kernel's first two dimensions swapped: it is [inputs, outputs of the group, …]."""
    view, (rows, width) = _kernels(node)
    x, w, y, groups = view.x, view.weight, view.y, view.groups
    yield Tie(at(x, 1), at(w, 0))
    if rows == groups > 1:  # depthwise: a channel makes width others
        yield Tie(at(w, 0), at(y, 1), repeat=width)
        yield Pin(at(w, 1), "depthwise kernels make channels by the first dimension")
    else:
        yield Tie(at(w, 1), at(y, 1), modulo=width)
        if groups > 1:  # every group loses the same inputs
            yield Tie(at(w, 0), at(w, 0), modulo=rows // groups)
    yield from _others(view)


def _kernels(node: Node) -> tuple[Linear, tuple[int, int]]:
    """The operator and the first two sizes of its kernel; ValueError where they are not fixed or not fit its groups."""
    view, w = linear(node), node.x(1)
    rows, width = w.size(0), w.size(1)
    if rows is None or width is None:
        raise ValueError("the weight's shape is known at run time only")
    if view is None:
        raise ValueError("the weight is computed at run time")
    if view.groups < 1 or rows % view.groups:
        raise ValueError(f"{rows} kernels cannot be shared out among {view.groups} groups")
    return view, (rows, width)


def _others(view: Linear) -> Facts:
    """The bias goes with the channels made, the batch passes, and space is read and written by windows."""
    x, w, y = view.x, view.weight, view.y
    yield Tie(at(x, 0), at(y, 0))
    if view.bias is not None:
        yield Tie(at(view.bias, 0), at(y, 1))
    for dim in range(2, w.rank or 0):
        yield Pin(at(w, dim), "kernel window")
        yield Pin(at(x, dim), "spatial: read by a kernel window")
        yield Pin(at(y, dim), "spatial: written by a kernel window")


@refit("Conv", "ConvTranspose")
def conv_group(model: Model, node: Node, left: Left) -> None:
    """A depthwise convolution has as many groups as channels; any other keeps its groups, which all lose the same."""
    w, groups = node.x(1), int(node.attrs.get("group", 1))
    if groups > 1 and (w.size(1) == 1 if node.op == "Conv" else w.size(0) == groups):
        model.set_attribute(node, "group", groups * left.size(at(w, 0)) // (w.size(0) or 1))
