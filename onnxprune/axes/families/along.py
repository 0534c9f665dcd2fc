"""Operators that work along one axis, which stays whole, while all others pass: CumSum, TopK, ArgMax, DFT …"""

from __future__ import annotations

from collections.abc import Iterable

from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.axes.rules import rule
from onnxprune.node import Node, Tensor


def along(node: Node, x: Tensor, y: Tensor, dims: Iterable[int]) -> Facts:
    """The axes ``dims`` of x and y, which have the same rank, stay whole, and the others pass."""
    whole = {d % (x.rank or 1) for d in dims}
    for a, b in zip(x.axes(), y.axes(), strict=True):
        if a.dim in whole:
            yield from (Pin(axis, f"{node.op} '{node.name}' works along it") for axis in (a, b))
        else:
            yield Tie(a, b)


@rule("CumSum", "CumProd")
def cumulative(node: Node) -> Facts:
    """Every slot is combined with those before it."""
    yield from along(node, node.x(), node.y(), [int(node.x(1).value().item())])


@rule("TopK")
def top_k(node: Node) -> Facts:
    """The largest or smallest slots of one axis, and where they were."""
    for tensor in node.outputs:
        if tensor is not None:
            yield from along(node, node.x(), tensor, [int(node.attrs.get("axis", -1))])


@rule("DFT")
def dft(node: Node) -> Facts:
    """A Fourier transform along one axis; the last axis holds real and imaginary parts."""
    axis = node.setting("axis", 2)
    dim = (1 if node.opset < 20 else -2) if axis is None else int(axis.item())
    yield from along(node, node.x(), node.y(), [dim, -1])


@rule("ArgMax", "ArgMin")
def arg_max(node: Node) -> Facts:
    """The place of an extreme value along one axis, which goes or keeps size one."""
    x, y, dim = node.x(), node.y(), int(node.attrs.get("axis", 0)) % (node.x().rank or 1)
    yield Pin(at(x, dim), f"{node.op} '{node.name}' works along it")
    left = [d for d in range(x.rank or 0) if d != dim]
    yield from (Tie(at(x, d), at(y, d if node.attrs.get("keepdims", 1) else p)) for p, d in enumerate(left))


@rule("OneHot")
def one_hot(node: Node) -> Facts:
    """A new axis has a slot for every value that an index may have."""
    x, y = node.x(), node.y()
    new = int(node.attrs.get("axis", -1)) % (y.rank or 1)
    yield Pin(at(y, new), f"made by {node.op} '{node.name}'")
    left = [d for d in range(y.rank or 0) if d != new]
    yield from (Tie(at(x, place), at(y, d)) for place, d in enumerate(left))


@rule("CenterCropPad")
def center_crop_pad(node: Node) -> Facts:
    """The axes that are given sizes are cropped or padded."""
    x = node.x()
    yield from along(node, x, node.y(), map(int, node.attrs.get("axes", range(x.rank or 0))))


@rule("Det", "com.microsoft.Inverse")
def matrices(node: Node) -> Facts:
    """The last two axes are a matrix, all before them count matrices."""
    x, y = node.x(), node.y()
    yield from (Tie(at(x, d), at(y, d)) for d in range((x.rank or 2) - 2))
