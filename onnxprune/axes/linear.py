"""The operators that sum over channels with fixed weights, seen in one way.

Conv, ConvTranspose, Gemm, MatMul, and Einsum over one index. Which dimension of which operand makes channels and which
reads them is all that sets them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxprune.axes.einsum import Terms
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node, Tensor

__all__ = ["OPERATORS", "Linear", "bias_of", "linear", "own_bias", "per_channel", "put_bias", "reads"]

PLAIN = ("Conv", "Gemm", "MatMul")
OPERATORS = (*PLAIN, "ConvTranspose", "Einsum")


@dataclass(frozen=True, eq=False)
class Linear:
    """``y = weight · x + bias``: ``rows`` is the weight's dimension of outputs, ``columns`` that of inputs.

    Channels are dimension ``x_channel`` of x and ``y_channel`` of y, counted from the end when negative. With
    ``groups`` > 1, each group of outputs reads its own consecutive channels of x.
    """

    node: Node
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    y: Tensor
    rows: int
    columns: int
    x_channel: int
    y_channel: int
    groups: int = 1

    @property
    def made(self) -> Axis:
        """The weight's axis whose slots make output channels."""
        return Axis(self.weight.name, self.rows)

    @property
    def read(self) -> Axis:
        """The weight's axis whose slots read input channels: a zero slot silences what it reads."""
        return Axis(self.weight.name, self.columns)

    @property
    def plain(self) -> bool:
        """Whether a row of a constant weight and one bias make a channel of y from all of one axis of x.

        That is what folding and least squares can rewrite.
        """
        channel = 1 if self.node.op == "Conv" else -1
        forward = (self.x_channel, self.y_channel) == (channel, channel)
        return self.node.op in PLAIN and self.weight.constant and forward


def linear(node: Node) -> Linear | None:
    """The node as a linear operator with a weight that is the same for all inputs; None when it is not one."""
    if node.domain or node.op not in OPERATORS or len(node.inputs) < 2:
        return None
    a, b, bias = node.input(0), node.input(1), node.input(2)
    if a is None or b is None or a.fixed == b.fixed:
        return None
    first = a.fixed  # the weight stands on the left
    x, weight = (b, a) if first else (a, b)
    if (weight.rank or 0) < 2:
        return None
    if node.op == "Einsum":
        return _einsum(node, x, weight, first)
    if node.op in ("Conv", "ConvTranspose"):
        return None if first else _conv(node, x, weight, bias)
    return _matmul(node, x, weight, bias, first)


def _matmul(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None, first: bool) -> Linear:
    """x·W, or W·x where the weight stands first; Gemm may read either transposed, MatMul may read a vector."""
    order = ("transA", "transB") if first else ("transB", "transA")
    turned, x_turned = (node.op == "Gemm" and bool(node.attrs.get(name, 0)) for name in order)
    inner, outer = (weight.rank or 2) - 2, (weight.rank or 2) - 1
    rows, columns = (inner, outer) if first != turned else (outer, inner)
    reads_at = -2 if first != x_turned and x.rank != 1 else -1
    makes_at = -2 if first and x.rank != 1 else -1
    return Linear(node, x, weight, bias if node.op == "Gemm" else None, node.y(), rows, columns, reads_at, makes_at)


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None) -> Linear:
    """Kernels are [outputs, inputs of the group, …], transposed ones [inputs, outputs of the group, …].

    Where a group has one input and a transposed kernel one output, the first dimension holds them both.
    """
    groups = int(node.attrs.get("group", 1))
    upright = node.op == "Conv" or (groups > 1 and weight.size(0) == groups)
    rows, columns = (0, 1) if upright else (1, 0)
    return Linear(node, x, weight, bias, node.y(), rows, columns, 1, 1, groups)


def _einsum(node: Node, x: Tensor, weight: Tensor, first: bool) -> Linear | None:
    """One index makes channels, one reads them, neither stretched nor on a diagonal; any others are of positions."""
    terms = Terms.of(node)
    if terms is None or len(terms.inputs) != 2:
        return None
    own, theirs = terms.inputs[1 - first], terms.inputs[int(first)]
    made = [index for index in own if index in terms.output and index not in theirs]
    read = [index for index in own if index not in terms.output and index in theirs]
    if len(made) != 1 or len(read) != 1 or theirs.count(read[0]) != 1:
        return None
    places = own.index(made[0]), own.index(read[0]), theirs.index(read[0]), terms.output.index(made[0])
    sizes = weight.size(places[1]), x.size(places[2])
    if 1 in sizes and sizes[0] != sizes[1]:
        return None
    return Linear(node, x, weight, None, node.y(), *places)


def reads(model: Model, name: str) -> list[str]:
    """Who reads a tensor, place by place: a node that reads it twice is there twice, a graph output counts as well."""
    read = [n.name for n in model.consumers(name) for t in (*n.inputs, *n.captures) if t is not None and t.name == name]
    return [*read, *(t.name for t in model.outputs if t.name == name)]


def per_channel(view: Linear, constant: Tensor) -> Array | None:
    """A constant that y is combined with, as one float64 per channel; None when it varies otherwise, or widens y."""
    if not constant.constant:
        return None
    value, rows, rank = constant.value(), view.weight.size(view.rows) or 0, view.y.rank or 0
    if value.dtype.kind != "f" or value.ndim > rank:
        return None
    padded = value.reshape((1,) * (rank - value.ndim) + value.shape)
    if value.size != 1 and (padded.shape[view.y_channel] != rows or value.size != rows):
        return None
    return np.broadcast_to(value.astype(np.float64).ravel(), rows)


def bias_of(view: Linear) -> Array | None:
    """What the operator adds per channel, as float64: 0 without a bias; None when it is no constant of that kind."""
    if view.bias is None:
        return np.zeros(view.weight.size(view.rows) or 0)
    if view.node.op == "Conv":
        return view.bias.value().astype(np.float64) if view.bias.constant else None
    added = per_channel(view, view.bias)
    return None if added is None else added * view.node.attrs.get("beta", 1.0)


def own_bias(model: Model, view: Linear) -> str | None:
    """The name of the bias where it is a constant vector, one value per row, that only this operator reads."""
    bias = view.bias
    own = bias is not None and bias.constant and bias.shape == (view.weight.size(view.rows),)
    return bias.name if bias is not None and own and len(reads(model, bias.name)) == 1 else None


def put_bias(model: Model, view: Linear, name: str | None, value: Array) -> str:
    """Store a bias vector under the name ``own_bias`` gave, or a fresh one; the operator is not rewired."""
    if name is None:
        name = model.fresh_name(f"{view.node.name}_bias")
        model.provenance.record(Axis(name, 0), ())
    model.put(name, value)
    return name
