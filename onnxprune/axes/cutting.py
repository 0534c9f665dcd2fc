"""Applying a cut to a graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxprune.axes.left import Left
from onnxprune.axes.rules import refitted
from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.node import Array, Axis

__all__ = ["cut"]


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
