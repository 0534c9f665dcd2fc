"""Fold what is known before the first input comes.

1. A node whose inputs are all constant becomes its result; so does ``Shape`` where the sizes asked for are fixed.
2. ``Identity``, ``Dropout`` at inference, a ``Cast`` to the type at hand, a ``Reshape`` to the shape at hand and a
   ``Where`` that always takes the same side go.
3. y = s·(W∗x + b) + t, with s and t per output channel (BatchNormalization, or Mul, Div, Add, Sub by a constant),
   becomes y = (s·W)∗x + (s·b + t); for BatchNormalization s = γ/√(σ² + ε) and t = β − s·μ (Ioffe & Szegedy 2015).
   A MatMul of two matrices becomes a Gemm where it takes an offset.
4. Reshape, Transpose, Reshape and their like become one Gather where all they do is to permute one axis.
5. Nodes and constants whose results nobody reads go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from onnxprune.axes.linear import OPERATORS, Linear, bias_of, linear, own_bias, per_channel, put_bias, reads
from onnxprune.constants import constant_values, constants_behind
from onnxprune.model import Model
from onnxprune.node import Array, Node, Tensor
from onnxprune.passes import Analysis, Changed, Context, Outcome, Unchanged
from onnxprune.permutations import permutations
from onnxprune.weights import blocks

__all__ = ["Fold"]

AFFINE = ("Add", "BatchNormalization", "Div", "Mul", "Sub")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Compute what is constant, fold BatchNormalization and its like into the layer before, drop what has no effect."""

    name: ClassVar[str] = "fold"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Fold; there is nothing left to fold afterwards."""
        done: Counter[str] = Counter()
        for found in iter(lambda: _round(model), Counter()):
            done += found
        if not done:
            return Unchanged("nothing to fold")
        return Changed("folded " + ", ".join(f"{count} {what}" for what, count in done.items()))


def _round(model: Model) -> Counter[str]:
    """Every step once; what is dead is swept away first, for it would be in the way as a reader."""
    dead, done = model.sweep(), Counter[str]()
    for what, step in STEPS.items():
        done[what] = step(model)
        dead += model.sweep()
    done["dead nodes and constants"] = dead
    return done


def _fold_constants(model: Model) -> int:
    """Freeze the constant results that a node which stays reads; the nodes behind them die in the sweep.

    A weight that is computed from a shared one stays computed: frozen, it would be stored twice and be shared no more.
    """
    values = constant_values(model)
    staying = [n for n in model.nodes if any(t is not None and t.name not in values for t in n.outputs)]
    read = {t.name for n in staying for t in (*n.inputs, *n.captures) if t is not None}
    behind, matrices = constants_behind(model), {t.name for t in model.constants if (t.rank or 0) > 1}
    weights = [n.x(1).name for n in staying if n.op in OPERATORS and not n.domain and n.x(1).name in behind]
    uses = Counter(source for name in weights for source in behind[name] & matrices)
    shared = {name for name in weights if any(uses[source] > 1 for source in behind[name])}
    frozen = [name for name in values if name in read - shared and not model.is_output(name)]
    for name in frozen:
        model.freeze(name, values[name])
    return len(frozen)


def _drop_identities(model: Model) -> int:
    """Let readers read what is passed on; where the name of the output must stay, let the producer write that name."""
    renamed: dict[str, str] = {}
    for node, passed in [(n, t) for n in model.nodes if (t := _passed_on(n, model)) is not None]:
        x, y = passed.name, node.y().name
        while x in renamed:
            x = renamed[x]
        if not _fixed(model, y):
            model.drop(node)
            model.rewire(y, x)
            model.provenance.rename(x, y, node.y().shape or ())
            renamed[y] = x
        elif not _fixed(model, x) and (producer := model.producer(x)) is not None:
            index = next(i for i, t in enumerate(producer.outputs) if t is not None and t.name == x)
            model.drop(node)
            model.rewire(x, y)
            model.provenance.rename(y, x, node.y().shape or ())
            model.set_output(producer, index, y)
            renamed[x] = y
    return len(renamed)


def _fixed(model: Model, name: str) -> bool:
    return model.is_output(name) or model.captured(name)


def _passed_on(node: Node, model: Model) -> Tensor | None:
    """The input that a node passes on as it is, None where it does anything else."""
    if node.domain or any(t is not None and model.consumers(t.name) for t in node.outputs[1:]):
        return None
    same = node.op == "Identity"
    if node.op == "Dropout":
        mask = node.outputs[1] if len(node.outputs) > 1 else None
        training = node.input(2)
        off = training is None or (training.constant and not training.value().any())
        same = off and (mask is None or not model.is_output(mask.name))
    elif node.op == "Cast":
        same = None is not node.x().dtype == node.y().dtype
    elif node.op == "Where":
        return _taken(node)
    elif node.op in ("Flatten", "Reshape"):
        same = _counts_alike(node.x(), node.y())
    return node.x() if same else None


def _taken(node: Node) -> Tensor | None:
    """The side that a Where takes for every element, None where that depends, or it may be broadcast."""
    condition, y = node.x(), node.y()
    if not condition.constant or not all(isinstance(size, int) for size in y.shape or [None]):
        return None
    chosen = set(condition.value().ravel().tolist())
    taken = node.x(1 if True in chosen else 2)
    return taken if len(chosen) == 1 and taken.shape == y.shape else None


def _counts_alike(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors of as many elements have the same shape: all sizes but one are the same numbers."""
    if x.shape is None or y.shape is None or len(x.shape) != len(y.shape):
        return False
    pairs = zip(x.shape, y.shape, strict=True)
    return sum(not (isinstance(a, int) and a == b and a > 0) for a, b in pairs) <= 1


@dataclass(frozen=True)
class _Chain:
    """A linear node and the affine operators behind it, which together are y = scale·(W∗x) + offset.

    ``bias`` is the name under which a new offset can be stored: that of a vector that only this node reads.
    """

    view: Linear
    bias: str | None
    scale: Array
    offset: Array
    last: Tensor
    folded: tuple[Node, ...] = ()

    def then(self, node: Node, scale: Array, offset: Array) -> _Chain:
        """With one more operator."""
        scale, offset = self.scale * scale, self.offset * scale + offset
        return _Chain(self.view, self.bias, scale, offset, node.y(), (*self.folded, node))


def _fold_affine(model: Model) -> int:
    """Follow chains through the graph as it is, then rewrite each once."""
    chains: dict[str, _Chain] = {}
    with np.errstate(all="ignore"):  # a chain that overflows is refused in the end
        for node in model.nodes:
            if (view := linear(node)) is not None and view.plain and (bias := bias_of(view)) is not None:
                chains[view.y.name] = _Chain(view, own_bias(model, view), np.ones_like(bias), bias, view.y)
            elif node.op in AFFINE and not node.domain:
                _extend(model, chains, node)
        return sum(_apply(model, chain) for chain in chains.values() if chain.folded)


def _extend(model: Model, chains: dict[str, _Chain], node: Node) -> None:
    """Put the operator at the end of the chain that it reads, where that leaves every other result as it is."""
    x = next((t for t in node.inputs if t is not None and t.name in chains), None)
    why = "its input is not made by a Conv, Gemm or MatMul of constant weights with one bias per channel"
    if x is not None:
        chain, affine = chains[x.name], _affine(node, x, chains[x.name].view)
        why = _obstacle(model, node, x, chain, affine) or ""
        if affine is not None and not why:
            chains[node.y().name] = chains.pop(x.name).then(node, *affine)
    if node.op == "BatchNormalization" and why:
        model.skip(node.name, f"not folded: {why}")


def _obstacle(model: Model, node: Node, x: Tensor, chain: _Chain, affine: tuple[Array, Array] | None) -> str | None:
    view = chain.view
    if affine is None:
        return "its parameters are computed at run time or vary within a channel, or it is in training mode"
    if len(reads(model, x.name)) > 1:
        return f"its input '{x.name}' is read elsewhere too"
    if len(reads(model, view.weight.name)) > 1:
        return f"weight '{view.weight.name}' of '{view.node.name}' is shared"
    if view.node.op == "MatMul" and affine[1].any() and (view.x.rank, view.weight.rank) != (2, 2):
        return f"MatMul '{view.node.name}' takes no bias"
    return None


def _affine(node: Node, x: Tensor, view: Linear) -> tuple[Array, Array] | None:
    """The scale and the offset per output channel (float64) that an operator applies to x, None if it does not."""
    rest = [t for t in node.inputs if t is not None and t is not x]
    if any(not t.constant for t in rest) or not rest:
        return None
    if node.op == "BatchNormalization":
        training = node.attrs.get("training_mode", 0) or any(node.outputs[1:])
        if training or (view.y_channel != 1 and x.rank != 2) or any(t.rank != 1 for t in rest):
            return None
        gamma, beta, mean, variance = (t.value().astype(np.float64) for t in rest)
        scale = gamma / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
        return scale, beta - scale * mean
    if (constant := per_channel(view, rest[0])) is None:
        return None
    one, zero, first = np.ones_like(constant), np.zeros_like(constant), node.inputs[0] is x
    match node.op:
        case "Add":
            return one, constant
        case "Sub":
            return (one, -constant) if first else (-one, constant)
        case "Mul":
            return constant, zero
        case "Div" if first and constant.all():
            return 1 / constant, zero
    return None


def _apply(model: Model, chain: _Chain) -> int:
    view, held = chain.view, chain.view.weight.value()
    column = [-1 if dim == view.rows else 1 for dim in range(held.ndim)]
    scale, weight = np.broadcast_to(chain.scale.reshape(column), held.shape), np.empty_like(held)
    for block in blocks(held):
        weight[block] = (held[block].astype(np.float64) * scale[block]).astype(held.dtype)
    offset = chain.offset.astype(held.dtype)
    if not (np.isfinite(weight).all() and np.isfinite(offset).all()):
        model.skip(view.node.name, f"not folded: the weights would overflow {held.dtype}")
        return 0
    for node in chain.folded:
        model.drop(node)
    model.put(view.weight.name, weight)
    if view.node.op == "MatMul" and offset.any():
        model.drop(view.node)
        bias_name = put_bias(model, view, chain.bias, offset)
        model.insert("Gemm", [view.x.name, view.weight.name, bias_name], [chain.last.name], name=view.node.name)
        return len(chain.folded)
    if view.bias is not None or offset.any():
        model.set_input(view.node, 2, put_bias(model, view, chain.bias, offset))
        model.set_attribute(view.node, "beta", None)
    model.set_output(view.node, 0, chain.last.name)
    return len(chain.folded)


def _gather_shuffles(model: Model) -> int:
    found = list(permutations(model))
    for each in found:
        slots = model.fresh_name(f"{each.last.name}_slots")
        model.put(slots, each.slots)
        model.drop(each.last)
        model.insert("Gather", [each.x.name, slots], [each.last.y().name], name=each.last.name, axis=each.axis)
    return len(found)


STEPS: dict[str, Callable[[Model], int]] = {
    "constants": _fold_constants,
    "identities": _drop_identities,
    "affine operators into the layer before": _fold_affine,
    "shuffles into one Gather": _gather_shuffles,
}
