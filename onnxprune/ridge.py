"""The weights of one layer by least squares, kept near to what they were.

With H = Σ x·xᵀ and G = Σ y·xᵀ over rows (x, 1), the weights W (bias included) that minimise

    Σ ‖y − W·x‖² + λ·‖W − W₀‖²        are        W = W₀ + (G − W₀·H)·(H + λ·I)⁻¹
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import numpy as np

from onnxprune.axes.linear import Linear, bias_of
from onnxprune.errors import PassError
from onnxprune.moments import Moments
from onnxprune.node import Array
from onnxprune.solving import solved

__all__ = ["RIDGES", "Healed", "matrix", "refitted", "tensors"]

log = logging.getLogger(__name__)

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)  # λ as a share of the mean diagonal of H


@dataclass(frozen=True, eq=False)
class Healed:
    """One layer: its relative error on the check part before and after, and new weights where they are better."""

    before: float
    after: float
    weight: Array | None = field(default=None, repr=False)
    bias: Array | None = field(default=None, repr=False)


def refitted(view: Linear, fit: Moments, check: Moments) -> Healed:
    """The best on the check part of the present weights and those of every ridge."""
    start = matrix(view)
    if not (fit.finite and check.finite):
        return Healed(math.nan, math.nan)
    offers = [start, *(_ridge(start, fit, share, view.node.op != "MatMul") for share in RIDGES)]
    errors = [check.error(weights) for weights in offers]
    best = int(np.argmin(errors))
    weight, bias = tensors(view, offers[best])
    log.info("%s: relative error %.4f → %.4f", view.node.name, errors[0], errors[best])
    if not best or not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return Healed(errors[0], errors[0])
    return Healed(errors[0], errors[best], weight, None if view.node.op == "MatMul" else bias)


def _ridge(start: Array, fit: Moments, share: float, biased: bool) -> Array:
    """W₀ + (G − W₀·H)·(H + λ·I)⁻¹ for every group; an operator without bias keeps its last column 0."""
    size = start.shape[2] if biased else start.shape[2] - 1
    h, g = np.asarray(fit.h)[:, :size, :size], np.asarray(fit.g)[:, :, :size]
    ridge, result = share * np.trace(h, axis1=1, axis2=2) / size, start.copy()
    missing = (g - start[:, :, :size] @ h).swapaxes(1, 2)
    result[:, :, :size] += solved(h, missing, np.where(ridge == 0, 1.0, ridge)).swapaxes(1, 2)
    return result


def matrix(view: Linear) -> Array:
    """The weights as [groups, outputs, columns + 1] in float64, the bias as the last column."""
    weight, bias = np.moveaxis(view.weight.value().astype(np.float64), view.rows, 0), bias_of(view)
    if bias is None:
        raise PassError(f"the bias of '{view.node.name}' is no constant of one value per channel")
    flat = np.column_stack([view.node.attrs.get("alpha", 1.0) * weight.reshape(len(weight), -1), bias])
    return flat.reshape(view.groups, len(weight) // view.groups, -1)


def tensors(view: Linear, matrix: Array) -> tuple[Array, Array]:
    """The inverse of ``matrix``, in the weight's shape and dtype; the bias for beta = 1."""
    held = view.weight.value()
    flat = matrix.reshape(-1, matrix.shape[2])
    rows_first = np.moveaxis(held, view.rows, 0).shape
    weight = np.moveaxis(flat[:, :-1].reshape(rows_first), 0, view.rows) / view.node.attrs.get("alpha", 1.0)
    return weight.astype(held.dtype), flat[:, -1].astype(held.dtype)
