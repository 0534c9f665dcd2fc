"""Applying a cut to a graph, and its mirror image: silencing the same channels without removing them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxprune.axes.left import Left
from onnxprune.axes.linear import OPERATORS, linear
from onnxprune.axes.rules import refitted
from onnxprune.constants import constants_behind
from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node

__all__ = ["Spec", "cut", "removed", "silenced"]

Spec = Mapping[str, Mapping[int, list[int]]]


def cut(model: Model, doomed: Mapping[Axis, Array]) -> None:
    """Remove slots from every axis named, repair the sizes held elsewhere, and let provenance follow.

    ``doomed`` must be closed under the model's ties (``Group.slots`` is). Raises PassError when an axis would vanish.
    """
    sizes = {axis: model.tensor(axis.tensor).size(axis.dim) or 0 for axis in doomed}
    kept = {axis: np.setdiff1d(np.arange(sizes[axis]), slots) for axis, slots in doomed.items()}
    if empty := [axis for axis, slots in kept.items() if not len(slots)]:
        raise PassError(f"cutting would leave nothing of {empty[0]}: keep at least one slot")
    touched = [n for n in model.nodes if any(a in kept for t in n.tensors() for a in t.axes())]
    left = Left(kept, {t.name: t.shape or () for n in touched for t in n.tensors()})
    tensors = [model.tensor(name) for name in dict.fromkeys(axis.tensor for axis in kept)]
    for tensor in (t for t in tensors if t.constant):
        value = tensor.value()
        for axis in filter(left.cuts, tensor.axes()):
            value = np.take(value, left.slots(axis), axis.dim)
        model.put(tensor.name, value)
    for axis, slots in kept.items():
        model.provenance.keep(axis, sizes[axis], slots)
    for node in touched:
        refitted(model, node, left)


def removed(model: Model) -> dict[str, dict[int, list[int]]]:
    """The prune spec: the removed slots of every axis of every constant, in names and slots of the input file."""
    return model.provenance.removed(
        {t.name: tuple(t.size(d) or 0 for d in range(t.rank or 0)) for t in model.constants}
    )


def silenced(model: Model, spec: Spec) -> Model:
    """A copy of the original in which the removed channels have no effect, nothing being removed.

    ``spec`` is the prune spec (``prune.json``). In every weight of a Conv, Gemm or MatMul the removed slots of the axis
    that reads channels become zero; in a weight that constant nodes compute, those of all axes.
    """
    result, behind = model.copy(), constants_behind(model)
    for node in [n for n in result.nodes if n.op in OPERATORS and not n.domain]:
        view = linear(node)
        weight = view.weight if view is not None else node.x(1)
        for name in behind.get(weight.name, frozenset()) & spec.keys():
            dims = [d for d in spec[name] if view is None or name != weight.name or int(d) == view.columns]
            value = np.array(result.tensor(name).value())
            value *= _mask(value.shape, {dim: spec[name][dim] for dim in dims}).astype(value.dtype)
            result.put(name, value)
        if not weight.constant and weight.name in spec:
            _mask_input(result, node, spec[weight.name])
    return result


def _mask(shape: tuple[int, ...], gone: Mapping[int, list[int]]) -> Array:
    mask = np.ones(shape, bool)
    for dim, slots in gone.items():
        mask[(slice(None),) * int(dim) + (slots,)] = False
    return mask


def _mask_input(model: Model, node: Node, gone: Mapping[int, list[int]]) -> None:
    weight = node.x(1)
    mask, masked = model.fresh_name(f"{weight.name}_mask"), model.fresh_name(f"{weight.name}_masked")
    shape = tuple(weight.size(d) or 0 for d in range(weight.rank or 0))
    model.put(mask, _mask(shape, gone).astype(weight.dtype))
    model.insert("Mul", [weight.name, mask], [masked], name=masked)
    model.set_input(node, 1, masked)
