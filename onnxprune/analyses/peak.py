"""Which activations are alive at once: the peak is the largest of sums, each a cost that a budget can bound."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from onnxprune.axes.linear import reads
from onnxprune.costs import CostModel, Term
from onnxprune.model import Model
from onnxprune.node import Axis, Tensor
from onnxprune.passes import Analysis, Context
from onnxprune.shapes import concrete

__all__ = ["Instants", "alive", "bytes_term", "fixed_sizes", "peak", "tensor_bytes"]

Shapes = Mapping[str, tuple[int, ...]]


def alive(model: Model) -> Iterator[tuple[Tensor, ...]]:
    """The activations held before the first node and while each node runs: each is freed after its last reader.

    What is computed from constants alone is no activation, and kernels on integers read and write nothing else.
    """
    codes, last = _codes(model), dict[str, int]()
    for index, node in enumerate(model.nodes):
        last.update((codes.get(t.name, t).name, index) for t in (*node.inputs, *node.captures) if t is not None)
    last.update((codes.get(t.name, t).name, len(model.nodes)) for t in model.outputs)
    held = {t.name: t for t in model.inputs}
    yield tuple(held.values())
    for index, node in enumerate(model.nodes):
        made = (codes.get(t.name, t) for t in node.outputs if t is not None and not t.fixed)
        held.update((t.name, t) for t in made)
        yield tuple(held.values())
        held = {name: t for name, t in held.items() if last.get(name, -1) > index}


def _codes(model: Model) -> dict[str, Tensor]:
    """The integers that are in memory in the place of a tensor: what it is restored from, or what becomes of it."""
    found = {n.y().name: n.x() for n in model.nodes if n.kind == "DequantizeLinear" and not n.y().fixed}
    for node in (n for n in model.nodes if n.kind == "QuantizeLinear"):
        between, maker = [node.x()], model.producer(node.x().name)
        while maker is not None and maker.kind in ("Relu", "Clip") and len(reads(model, between[-1].name)) == 1:
            between.append(maker.x())
            maker = model.producer(maker.x().name)
        computes = maker is not None and any(t is not None and t.name in found for t in maker.inputs)
        if computes and len(reads(model, between[-1].name)) == 1:
            found.update((t.name, node.y()) for t in between)
    return found


def peak(model: Model, shapes: Shapes) -> int:
    """The bytes of the most activations that are alive at once; ``shapes`` are those of all tensors."""
    return max(sum(tensor_bytes(t, shapes) for t in held if t.name in shapes) for held in alive(model))


def tensor_bytes(tensor: Tensor, shapes: Shapes) -> int:
    """The bytes of an activation of a known type."""
    return math.prod(shapes[tensor.name]) * _itemsize(tensor)


def _itemsize(tensor: Tensor) -> int:
    return tensor.dtype.itemsize if tensor.dtype is not None else 0


@dataclass(frozen=True)
class Instants(Analysis[tuple[CostModel, ...]]):
    """The bytes of activations at every instant as functions of sizes; their largest is the peak.

    An instant that holds no more than another one is left out.
    """

    uses = ("shapes",)

    def compute(self, model: Model, ctx: Context) -> tuple[CostModel, ...]:
        """One term for each activation that is alive."""
        shapes = concrete(model, ctx.shapes)
        instants = [{t.name: t for t in held if t.name in shapes} for held in alive(model)]
        beside = zip([{}, *instants], instants, [*instants[1:], {}], strict=False)
        return tuple(
            _model(tuple(now.values()), shapes)
            for before, now, after in beside
            if not (now.keys() < before.keys() or now.keys() <= after.keys())
        )


def _model(tensors: Iterable[Tensor], shapes: Shapes) -> CostModel:
    """Fixed sizes are factors, for a pass may cut them."""
    sizes = {axis: size for t in tensors for axis, size in fixed_sizes(t).items()}
    return CostModel(tuple(bytes_term(t, shapes) for t in tensors), sizes)


def fixed_sizes(tensor: Tensor) -> dict[Hashable, int]:
    """The axes of a fixed size, which a pass may cut, and their sizes."""
    return {axis: size for axis in tensor.axes() if (size := tensor.size(axis.dim))}


def bytes_term(tensor: Tensor, shapes: Shapes) -> Term:
    """The bytes of an activation as a function of its fixed sizes."""
    fixed = tuple(axis for axis in tensor.axes() if tensor.size(axis.dim))
    free = [size for dim, size in enumerate(shapes[tensor.name]) if Axis(tensor.name, dim) not in fixed]
    return Term(tensor.name, _itemsize(tensor) * math.prod(free), fixed)
