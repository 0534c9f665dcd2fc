"""Rounding column by column, with the error of each fed forward into those that are still to come.

With H = R·Rᵀ, R upper triangular, and e = w − q the cost of an output's errors is

    e·H·eᵀ = Σₖ (eₖ·Rₖₖ + Σⱼ₍ⱼ₌₀…ₖ₋₁₎ eⱼ·Rⱼₖ)²

and qₖ, when its turn comes, is the number nearest to wₖ + Σⱼ eⱼ·Rⱼₖ / Rₖₖ: what the columns before it did wrong is made
up for (GPTQ, Frantar et al. 2023; Babai's nearest plane, without the inverse of H). Columns of much energy go first,
while there are still others to make up for them.
"""

from __future__ import annotations

import numpy as np

from onnxprune.node import Array
from onnxprune.quantization.grids import Grid
from onnxprune.quantization.quadratic import damped, root

__all__ = ["gptq"]

DAMP = 1e-2  # of the mean diagonal of H
BLOCK = 128  # columns whose errors reach those behind them at once


def gptq(weight: Array, h: Array, grid: Grid) -> Array:
    """The whole numbers [groups, outputs, columns] for weights of that shape and H [groups, columns, columns]."""
    columns = np.arange(weight.shape[2])
    order = np.argsort(-h[:, columns, columns].sum(axis=0), kind="stable")
    upper = root(damped(h[:, order][:, :, order], DAMP))
    passed = upper / upper[:, columns, columns][:, None, :]
    weight, grid = weight[:, :, order], grid.taken(order)
    codes, error = np.zeros(weight.shape, grid.format.dtype), np.zeros(weight.shape)
    for start in range(0, len(columns), BLOCK):
        block = slice(start, start + BLOCK)
        wanted = weight[:, :, block] + error[:, :, :start] @ passed[:, :start, block]
        for k in columns[block]:
            now = wanted[:, :, k - start] + (error[:, :, start:k] @ passed[:, start:k, k : k + 1])[:, :, 0]
            one = grid.taken(slice(k, k + 1))
            codes[:, :, k : k + 1] = one.quantized(now[:, :, None])
            error[:, :, k : k + 1] = weight[:, :, k : k + 1] - one.restored(codes[:, :, k : k + 1])
    return codes[:, :, np.argsort(order)]
