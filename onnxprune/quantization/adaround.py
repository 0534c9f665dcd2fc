"""Rounding up or down, learnt: which of its two neighbours each weight goes to (AdaRound, Nagel et al. 2020).

With h = clip(1.2·σ(v) − 0.1, 0, 1) of every weight, w̃ = scale · (⌊w / scale⌋ + h) minimises

    (w − w̃)·H·(w − w̃)ᵀ + λ·Σ (1 − |2·h − 1|^β)

by Adam over v, with β falling from 20 to 2, so that every h ends at 0 or 1. Of each output the first term counts as a
share of what rounding to nearest costs.
"""

from __future__ import annotations

import numpy as np

from onnxprune.node import Array
from onnxprune.quantization.grids import Grid
from onnxprune.quantization.quadratic import cost

__all__ = ["adaround"]

STEPS = 1000
RATE = 0.02
WARM = 0.2  # of the steps are without the second term
PULL = 20.0  # λ
BETAS = (20.0, 2.0)
STRETCH, SHIFT = 1.2, -0.1  # of the sigmoid
MOMENTS = (0.9, 0.999)  # of Adam
TINY = 1e-12


def adaround(weight: Array, h: Array, grid: Grid) -> Array:
    """The whole numbers [groups, outputs, columns] for weights of that shape and H [groups, columns, columns]."""
    at = weight / grid.scale + grid.zero.astype(np.float64)
    below = np.clip(np.floor(at), grid.format.low, grid.format.high - 1)
    share = np.clip(at - below, 0.0, 1.0)
    worst = cost(weight - grid(weight), h)[:, :, None]
    factor = weight.shape[2] / np.where(worst > 0, worst, 1.0) * np.square(grid.scale.astype(np.float64))
    up = _learnt(share.astype(np.float32), h.astype(np.float32), factor.astype(np.float32))
    return np.asarray((below + up).astype(grid.format.dtype))


def _learnt(share: Array, h: Array, factor: Array) -> Array:
    """Which of the weights, at these shares of the way up, go up."""
    v = -np.log(STRETCH / np.clip(share - SHIFT, TINY, None) - 1 + TINY)
    mean, square = np.zeros_like(v), np.zeros_like(v)
    for step in range(STEPS):
        sigmoid = 1 / (1 + np.exp(-v))
        soft = np.clip(STRETCH * sigmoid + SHIFT, 0, 1)
        slope = -2 * factor * ((share - soft) @ h) + _pull(soft, step)
        slope *= STRETCH * sigmoid * (1 - sigmoid) * ((soft > 0) & (soft < 1))
        mean = MOMENTS[0] * mean + (1 - MOMENTS[0]) * slope
        square = MOMENTS[1] * square + (1 - MOMENTS[1]) * np.square(slope)
        rate = RATE * np.sqrt(1 - MOMENTS[1] ** (step + 1)) / (1 - MOMENTS[0] ** (step + 1))
        v -= rate * mean / (np.sqrt(square) + TINY)
    return np.asarray(v >= 0)


def _pull(soft: Array, step: int) -> Array | float:
    """The slope of λ·Σ (1 − |2·h − 1|^β)."""
    done = (step / STEPS - WARM) / (1 - WARM)
    if done < 0:
        return 0.0
    beta = BETAS[1] + (BETAS[0] - BETAS[1]) * (1 + np.cos(done * np.pi)) / 2
    off = 2 * soft - 1
    return np.asarray(-2 * PULL * beta * np.sign(off) * np.abs(off) ** (beta - 1))
