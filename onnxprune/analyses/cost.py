"""What a network costs: parameters, multiply-accumulates (MACs), bytes, and the peak of its activations.

MACs, parameters and bytes are multilinear in the sizes of axes: Σ coefficient · Π size(axis). The MACs of a convolution
are (outputs · kernel) · rows · columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import numpy as np

from onnxprune.analyses.peak import peak, tensor_bytes
from onnxprune.axes.linear import linear
from onnxprune.costs import CostModel, Term
from onnxprune.model import Model
from onnxprune.node import Axis, Node, Tensor
from onnxprune.passes import Analysis, Context
from onnxprune.shapes import concrete
from onnxprune.sizes import stored_bits

__all__ = ["Cost", "Kind", "NodeCost", "NodeCosts", "Stats", "Totals"]

Kind: TypeAlias = Literal["macs", "params", "bytes"]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Cost(Analysis[CostModel]):
    """One kind of cost of the whole network, in MACs, parameters or bytes of weights."""

    kind: Kind
    uses = ("shapes",)

    def compute(self, model: Model, ctx: Context) -> CostModel:
        """Terms by node (MACs) or by constant (parameters, bytes)."""
        terms = _macs(model, ctx.shapes) if self.kind == "macs" else _weights(model, self.kind)
        tensors = {axis.tensor for t in terms for axis in t.factors if isinstance(axis, Axis)}
        sizes = {axis: size for name in tensors for axis, size in _sizes(model.tensor(name)).items()}
        return CostModel(terms, sizes)


def _sizes(tensor: Tensor) -> dict[Hashable, int]:
    return {axis: tensor.size(axis.dim) or 1 for axis in tensor.axes()}


def _weights(model: Model, kind: str) -> tuple[Term, ...]:
    counted = [t for t in model.constants if kind == "bytes" or _is_parameter(t)]
    return tuple(Term(t.name, _itemsize(t) if kind == "bytes" else 1, t.axes()) for t in counted)


def _is_parameter(tensor: Tensor) -> bool:
    """Weights, biases and statistics, but not indices, shapes, masks and text."""
    return tensor.dtype is not None and tensor.dtype.kind not in "ObUSM" and tensor.dtype != np.int64


def _itemsize(tensor: Tensor) -> float:
    return 0 if tensor.dtype is None or tensor.dtype.kind == "O" else stored_bits(tensor.dtype) / 8


def _macs(model: Model, inputs: Shapes) -> tuple[Term, ...]:
    shapes = concrete(model, inputs)
    return tuple(COUNTERS[n.kind](n, shapes) for n in model.nodes if _is_counted(n, shapes))


def _is_counted(node: Node, shapes: Shapes) -> bool:
    """An operator that multiplies; between tensors of unknown rank nobody can say how often."""
    return node.kind in COUNTERS and all(t.rank is not None or shapes[t.name] for t in node.tensors())


def _conv(node: Node, shapes: Shapes) -> Term:
    """Every output position applies the whole kernel; a transposed convolution does so at every input position."""
    places = node.y() if node.op == "Conv" else node.x()
    batch, fixed = _repeats(places, (0,), shapes)
    windows = batch * math.prod((*shapes[places.name][2:], *shapes[node.x(1).name][2:]))
    return Term(node.name, windows, (*fixed, *node.x(1).axes()[:2]))


def _matmul(node: Node, shapes: Shapes) -> Term:
    """Outputs times the length of the sum."""
    if (view := linear(node)) is not None:
        rank = len(shapes[view.y.name]) or 1
        rows, fixed = _repeats(view.y, [d for d in range(rank) if d != view.y_channel % rank], shapes)
        return Term(node.name, rows, (*fixed, view.made, view.read))
    x, y = shapes[node.x().name], shapes[node.y().name]
    return Term(node.name, math.prod(y) * (x[0] if node.op == "Gemm" and node.attrs.get("transA", 0) else x[-1]))


def _repeats(tensor: Tensor, dims: Iterable[int], shapes: Shapes) -> tuple[int, tuple[Axis, ...]]:
    """How often an operator is repeated along axes: those of fixed size are factors, for a pass may cut them."""
    fixed = tuple(Axis(tensor.name, d) for d in dims if tensor.size(d) is not None)
    return math.prod(shapes[tensor.name][d] for d in dims if tensor.size(d) is None), fixed


def _recurrent(node: Node, shapes: Shapes) -> Term:
    """Steps · batch · (gate rows · inputs + gate rows · hidden), for every direction."""
    length, batch, *_ = shapes[node.x().name]
    return Term(node.name, length * batch * (math.prod(shapes[node.x(1).name]) + math.prod(shapes[node.x(2).name])))


def _einsum(node: Node, shapes: Shapes) -> Term:
    """One multiply-accumulate for every combination of the indices, those behind an ellipsis included."""
    operands = str(node.attrs["equation"]).replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    unnamed = 1
    for index, operand in enumerate(operands):
        first, _, last = operand.partition("...")
        shape = shapes[node.x(index).name]
        sizes.update(zip(first, shape, strict=False))
        sizes.update(zip(reversed(last), reversed(shape), strict=False))
        unnamed = max(unnamed, math.prod(shape[len(first) : len(shape) - len(last)]))
    return Term(node.name, unnamed * math.prod(sizes.values()))


def _attention(node: Node, shapes: Shapes) -> Term:
    """Scores and their weighted sum: queries · keys · (query width + output width), over batch and heads."""
    query, key, y = (shapes[t.name] for t in (node.x(0), node.x(1), node.y()))
    past = node.input(4)
    keys = key[-2] + (shapes[past.name][-2] if past is not None else 0)
    return Term(node.name, math.prod(query[:-1]) * keys * (query[-1] + y[-1]))


COUNTERS: dict[str, Callable[[Node, Shapes], Term]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _conv),
    **dict.fromkeys(("Gemm", "MatMul"), _matmul),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Einsum": _einsum,
    "Attention": _attention,
}


@dataclass(frozen=True)
class NodeCost:
    """The cost of one node: its MACs, the parameters and bytes of the constants it reads, the bytes it writes."""

    node: str
    op: str
    macs: int
    params: int
    weight_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class NodeCosts(Analysis[tuple[NodeCost, ...]]):
    """The cost of every node, in the order of execution. A shared constant counts for each node that reads it."""

    uses = ("shapes",)

    def compute(self, model: Model, ctx: Context) -> tuple[NodeCost, ...]:
        """Count node by node."""
        shapes = concrete(model, ctx.shapes)
        return tuple(_node_cost(model, node, shapes) for node in model.nodes)


def _node_cost(model: Model, node: Node, shapes: Shapes) -> NodeCost:
    read = {t.name: t for t in node.inputs if t is not None and t.constant}.values()
    sizes = {axis: size for t in node.tensors() for axis, size in _sizes(t).items()}
    macs = CostModel((COUNTERS[node.kind](node, shapes),), sizes).total() if _is_counted(node, shapes) else 0
    return NodeCost(
        node.name,
        node.kind,
        round(macs),
        sum(t.elements() for t in read if _is_parameter(t)),
        round(sum(t.elements() * _itemsize(t) for t in read)),
        sum(tensor_bytes(t, shapes) for t in node.outputs if t is not None),
    )


@dataclass(frozen=True)
class Totals:
    """The cost of a network. ``bytes`` counts the weights; a dynamic size counts as in ``Context.shapes``."""

    params: int
    macs: int
    bytes: int
    nodes: int
    peak_activation_bytes: int

    def to_dict(self) -> dict[str, int]:
        """As it stands in the report."""
        return asdict(self)


@dataclass(frozen=True)
class Stats(Analysis[Totals]):
    """The cost of the whole network in a few numbers."""

    uses = ("shapes",)

    def compute(self, model: Model, ctx: Context) -> Totals:
        """Sum up the costs, and follow which activations are alive while each node runs."""
        macs, params, weights = (round(model.get(Cost(kind), ctx).total()) for kind in ("macs", "params", "bytes"))
        return Totals(params, macs, weights, len(model.nodes), peak(model, concrete(model, ctx.shapes)))
