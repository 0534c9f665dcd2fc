"""Applying a cut to a graph, and its mirror image: silencing the same channels without removing them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxprune.axes.linear import OPERATORS, linear
from onnxprune.axes.rules import refitted
from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.node import Array, Axis

__all__ = ["Spec", "cut", "removed", "silenced"]

Spec = Mapping[str, Mapping[int, list[int]]]


def cut(model: Model, doomed: Mapping[Axis, Array]) -> None:
    """Remove slots from every axis named, repair the sizes held elsewhere, and let provenance follow.

    ``doomed`` must be closed under the model's ties (``Group.slots`` is). Raises PassError when an axis would vanish.
    """
    sizes = {axis: model.tensor(axis.tensor).size(axis.dim) or 0 for axis in doomed}
    left = {axis: np.setdiff1d(np.arange(sizes[axis]), slots) for axis, slots in doomed.items()}
    if empty := [axis for axis, kept in left.items() if not len(kept)]:
        raise PassError(f"cutting would leave nothing of {empty[0]}: keep at least one slot")
    touched = [n for n in model.nodes if any(a in left for t in n.tensors() for a in t.axes())]
    shapes = {t.name: t.shape or () for n in touched for t in n.tensors()}

    def size(axis: Axis) -> int:
        return len(left[axis]) if axis in left else int(shapes[axis.tensor][axis.dim] or 0)

    tensors = [model.tensor(name) for name in dict.fromkeys(axis.tensor for axis in left)]
    for tensor in (t for t in tensors if t.constant):
        value = tensor.value()
        for axis in (a for a in tensor.axes() if a in left):
            value = np.take(value, left[axis], axis.dim)
        model.put(tensor.name, value)
    for axis, kept in left.items():
        model.provenance.keep(axis, sizes[axis], kept)
    for node in touched:
        refitted(model, node, size)


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
    result = model.copy()
    for node in result.nodes:
        if node.op not in OPERATORS or node.domain or (weight := node.input(1)) is None:
            continue
        view = linear(node)
        for name in _constants_behind(result, weight.name) & spec.keys():
            dims = [d for d in spec[name] if view is None or int(d) == view.columns]
            value = np.array(result.tensor(name).value())
            for dim in dims:
                value[(slice(None),) * int(dim) + (spec[name][dim],)] = 0
            result.put(name, value)
    return result


def _constants_behind(model: Model, name: str) -> set[str]:
    """The constants from which a tensor is computed, if it is computed from constants alone (else none)."""
    if model.tensor(name).constant:
        return {name}
    node = model.producer(name)
    if node is None or not node.inputs:
        return set()
    found = [_constants_behind(model, t.name) for t in node.inputs if t is not None]
    return set().union(*found) if all(found) else set()
