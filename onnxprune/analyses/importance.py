"""How much of a layer each of its output channels is."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onnxprune.axes.linear import linear
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Analysis, Context
from onnxprune.taps import tapped
from onnxprune.weights import blocks

__all__ = ["Magnitude", "weights_of"]


@dataclass(frozen=True)
class Magnitude(Analysis[Mapping[Axis, Array]]):
    """The share of each output channel in its layer's weights, by the L1 norm (Li et al. 2017) or the squared L2 norm.

    For every axis that makes channels of a Conv, Gemm or MatMul: one float64 per slot, summing to 1, so that layers of
    different scale can be compared.
    """

    norm: Literal["l1", "l2"] = "l2"

    def compute(self, model: Model, ctx: Context | None = None) -> Mapping[Axis, Array]:
        """Norms of the slots, divided by their sum."""
        views = [view for node in model.nodes if (view := linear(node)) is not None]
        computed = _computed(model, {view.weight.name for view in views if not view.weight.constant})
        shares = {}
        for view in views:
            weight = computed[view.weight.name] if view.weight.name in computed else view.weight.value()
            shares[view.made] = self._shares(weight, view.rows)
        return shares

    def _shares(self, weight: Array, rows: int) -> Array:
        others = tuple(d for d in range(weight.ndim) if d != rows)
        norms = np.zeros(weight.shape[rows])
        with np.errstate(all="ignore"):  # what is not finite is looked for where channels are chosen
            for block in blocks(weight):
                magnitude = np.abs(weight[block].astype(np.float64))
                part = np.sum(magnitude if self.norm == "l1" else magnitude**2, axis=others)
                norms[block if rows == 0 else slice(None)] += part
            return norms / (norms.sum() or 1.0)


def weights_of(model: Model, axis: Axis) -> Array:
    """The weights that make the channels of an axis, [channels, weights of each], float64."""
    tensor = model.tensor(axis.tensor)
    value = tensor.value() if tensor.constant else _computed(model, {axis.tensor})[axis.tensor]
    return np.moveaxis(value.astype(np.float64), axis.dim, 0).reshape(value.shape[axis.dim], -1)


def _computed(model: Model, names: Set[str]) -> dict[str, Array]:
    """The weights that nodes compute from constants, such as those of a DequantizeLinear."""
    if not names:
        return {}
    wanted = sorted(names)
    return dict(zip(wanted, tapped(model, wanted)({}), strict=True))
