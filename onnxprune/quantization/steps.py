"""How large the steps of a weight's grid are: as far as its largest magnitude reaches, or where the errors cost least.

With few bits it is better to clip the largest weights than to have wide steps. The steps that are tried reach shares of
the largest magnitude; what they cost is that of rounding to nearest, in what the layer makes (``quadratic``). A range
that has one number more on one side than on the other is turned over, by its zero point, where that costs less.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxprune.node import Array
from onnxprune.quantization.grids import Format, Grid
from onnxprune.quantization.quadratic import cost

__all__ = ["blocked", "fitting"]

TINY = float(np.finfo(np.float32).tiny)
SHARES = np.linspace(1.0, 0.2, 33)


def fitting(weight: Array, h: Array | None, format: Format, *, per_channel: bool = True) -> Grid:
    """The grid for weights [groups, outputs, columns] whose errors cost least: scales are [groups, outputs, 1], or [].

    Without H [groups, columns, columns] every column counts alike.
    """
    limits = np.abs(weight).max(axis=2, keepdims=True) if per_channel else np.abs(weight).max()
    limits = np.where(limits > 0, limits, max(limits.max(initial=0), TINY))
    scale, zero, least = np.zeros(limits.shape), np.zeros(limits.shape), np.full(limits.shape, np.inf)
    for grid in _tried(limits, format):
        costs = cost(weight - grid(weight), h)
        costs = costs[:, :, None] if per_channel else costs.sum()
        better = costs < least
        least = np.where(better, costs, least)
        scale, zero = np.where(better, grid.scale, scale), np.where(better, grid.zero, zero)
    return Grid(format, scale.astype(np.float32), zero.astype(format.dtype))


def blocked(weight: Array, h: Array | None, format: Format, block: int) -> Grid:
    """The same with one scale for so many columns: [1, outputs, blocks]."""
    starts = range(0, weight.shape[2], block)
    parts = [slice(start, start + block) for start in starts]
    grids = [fitting(weight[:, :, at], None if h is None else h[:, at, at], format) for at in parts]
    scale, zero = (np.concatenate(each, axis=2) for each in zip(*((g.scale, g.zero) for g in grids), strict=True))
    return Grid(format, scale, zero)


def _tried(limits: Array, format: Format) -> Iterator[Grid]:
    """Grids that reach shares of the limits, with either end as the longer one."""
    reach = (format.high - format.low) / 2
    for zero in sorted({0, format.low + format.high}, reverse=True):
        for share in SHARES:
            scale = np.maximum(limits * share / reach, TINY).astype(np.float32)
            yield Grid(format, scale, np.full(limits.shape, zero, format.dtype))
