"""The operators that sum over channels with constant weights, seen in one way: Conv, Gemm, MatMul."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node, Tensor

__all__ = ["OPERATORS", "Linear", "bias_of", "linear", "own_bias", "per_channel", "put_bias", "reads"]

OPERATORS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, eq=False)
class Linear:
    """``y = weight · x + bias``: ``rows`` is the weight's dimension of outputs, ``columns`` that of inputs.

    With ``groups`` > 1 (Conv), each group of rows reads its own ``columns`` consecutive channels of x.
    """

    node: Node
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    y: Tensor
    rows: int
    columns: int
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
    def channels(self) -> int:
        """The dimension of x and y that holds channels."""
        return 1 if self.node.op == "Conv" else -1


def linear(node: Node) -> Linear | None:
    """The node as a linear operator with a constant weight; None when it is not one."""
    if node.domain or node.op not in OPERATORS or len(node.inputs) < 2:
        return None
    x, weight, bias = node.input(0), node.input(1), node.input(2)
    if x is None or weight is None or not weight.constant or x.constant or weight.rank is None or weight.rank < 2:
        return None
    if node.op == "Conv":
        return Linear(node, x, weight, bias, node.y(), 0, 1, int(node.attrs.get("group", 1)))
    if node.op == "Gemm":
        if node.attrs.get("transA", 0):
            return None
        rows = 0 if node.attrs.get("transB", 0) else 1
        return Linear(node, x, weight, bias, node.y(), rows, 1 - rows)
    return Linear(node, x, weight, None, node.y(), weight.rank - 1, weight.rank - 2)


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
    if value.size != 1 and (padded.shape[view.channels] != rows or value.size != rows):
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
