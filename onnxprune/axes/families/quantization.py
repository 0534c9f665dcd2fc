"""Quantisation: scales and zero points are one number, one per slot of an axis, or one per block of slots."""

from __future__ import annotations

from dataclasses import replace

from onnxprune.axes.facts import Approximate, Facts, Tie, at
from onnxprune.axes.families.elementwise import broadcast, same
from onnxprune.axes.families.norm import softmax
from onnxprune.axes.rules import rule
from onnxprune.node import Node, Tensor


@rule("QuantizeLinear", "DequantizeLinear", "com.microsoft.QuantizeLinear", "com.microsoft.DequantizeLinear")
def linear_quantization(node: Node) -> Facts:
    """Slots go with their scales and zero points; of a blocked axis whole blocks go."""
    x, axis = node.x(), int(node.attrs.get("axis", 1))
    yield from same(x, node.y())
    for tensor in (node.x(1), node.input(2)):
        if tensor is not None:
            yield from _parameters(x, tensor, axis, int(node.attrs.get("block_size", 0)))


def _parameters(x: Tensor, scale: Tensor, axis: int, block: int) -> Facts:
    if block:
        at(x, axis)  # ValueError where there is no such axis
        for dim in range(x.rank or 0):
            yield Tie(at(scale, dim), at(x, dim), repeat=block if dim == axis % (x.rank or 1) else 1)
    elif scale.rank == 1 and scale.size(0) != 1:
        yield Tie(at(x, axis), at(scale, 0))


@rule("DynamicQuantizeLinear")
def dynamic_quantization(node: Node) -> Facts:
    """The scale spans all values of the input."""
    yield from same(node.x(), node.y())
    why = f"the scale of {node.op} '{node.name}' spans all values"
    yield from (Approximate(axis, why) for axis in node.x().axes())


@rule("com.microsoft.QLinearSigmoid", "com.microsoft.QLinearLeakyRelu")
def quantized_unary(node: Node) -> Facts:
    """One quantised input, one output of the same shape; scales are single numbers."""
    yield from same(node.x(), node.y())


@rule("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul", "com.microsoft.QLinearWhere")
def quantized_broadcasting(node: Node) -> Facts:
    """Every third input is data, broadcast to the output; QLinearWhere begins with its condition."""
    first = 1 if node.op == "QLinearWhere" else 0
    data = [node.x(first), node.x(first + 3), *([node.x(0)] if first else [])]
    for tensor in data:
        yield from broadcast(tensor, node.y())


@rule("com.microsoft.QLinearSoftmax")
def quantized_softmax(node: Node) -> Facts:
    """As the Softmax of the opset that an attribute names."""
    yield from softmax(replace(node, op="Softmax", opset=int(node.attrs["opset"])))


@rule("com.microsoft.QLinearGlobalAveragePool", "com.microsoft.QLinearAveragePool")
def quantized_pool(node: Node) -> Facts:
    """Batch and channels, first or last, pass; spatial axes are pooled."""
    x, y = node.x(), node.y()
    yield Tie(at(x, 0), at(y, 0))
    channel = -1 if node.attrs.get("channels_last", 0) else 1
    yield Tie(at(x, channel), at(y, channel))
