"""The weights of one layer by least squares, kept near to what they were.

With H = Σ x·xᵀ over rows (x, 1), the weights W (bias included) that minimise

    Σ ‖y − W·x‖² + λ·‖W − W₀‖²        are        W = W₀ + (Σ (y − W₀·x)·xᵀ)·(H + λ·D)⁻¹

with D = I but for the bias, which is free: what a channel that is constant adds goes into it, whatever λ. Where y goes
on to an operator that clips, such steps are repeated towards what is not clipped (``clipped``). λ is chosen on the
check part, with weights of the fit part; the weights that stay are then those of both.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import numpy as np

from onnxprune.axes.linear import Linear, bias_of
from onnxprune.errors import PassError
from onnxprune.moments import Moments, Sums
from onnxprune.node import Array
from onnxprune.sampled import Sampled

__all__ = ["RIDGES", "Healed", "matrix", "refitted", "tensors"]

log = logging.getLogger(__name__)

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)  # λ as a share of the mean diagonal of H
STEPS = 8  # after which the error hardly falls


@dataclass(frozen=True, eq=False)
class Healed:
    """One layer: its relative error on the check part before and after, and new weights where they are better.

    ``ridge`` is λ as a share of the mean diagonal of H, ``steps`` how many were taken towards what is not clipped,
    ``rows`` and ``unknowns`` (of one output) how many there were to fit to, and to find.
    """

    before: float
    after: float
    weight: Array | None = field(default=None, repr=False)
    bias: Array | None = field(default=None, repr=False)
    ridge: float = 0.0
    steps: int = 0
    rows: int = 0
    unknowns: int = 0

    @property
    def how(self) -> str:
        """How the weights were found."""
        towards = f", {self.steps} steps towards what is not clipped" if self.steps else ""
        return f"least squares on {self.rows} rows, λ = {self.ridge:g} of the mean diagonal{towards}"


def refitted(view: Linear, fit: Sums, check: Sums, matched: bool = False) -> Healed:
    """The best on the check part of the present weights and those of every ridge, then fitted to both parts.

    If they are to be ``matched``, what the layer makes then gets the mean and the variance that it is to have. ``fit``
    holds the sums over both parts afterwards.
    """
    start, biased = matrix(view), view.node.op != "MatMul"
    if not (fit.finite and check.finite):
        return Healed(math.nan, math.nan)
    before = check.error(start)
    after, ridge, steps = min((check.error(fit.nearest(start, share, biased)), share, 0) for share in RIDGES)
    if fit.rows is not None and (bent := check.error(fit.nearest(start, ridge, biased, STEPS))) < after:
        after, steps = bent, STEPS
    log.info("%s: relative error %.4f → %.4f", view.node.name, before, min(before, after))
    _join(fit, check)
    sizes = fit.count, start.shape[2] - (not biased)
    as_it_was = Healed(before, before, rows=sizes[0], unknowns=sizes[1])
    if not (after < before or matched):
        return as_it_was
    found = fit.nearest(start, ridge, biased, steps) if after < before else start
    found = fit.matched(found) if matched and biased else found
    weight, bias = tensors(view, found)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return as_it_was
    return Healed(before, min(before, after), weight, bias if biased else None, ridge, steps, *sizes)


def _join(fit: Sums, check: Sums) -> None:
    """Count the rows of both in one, where they are not the same."""
    match fit, check:
        case _ if fit is check:
            pass
        case Sampled(), Sampled():
            fit += check
        case Moments(), Moments():
            fit += check


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
