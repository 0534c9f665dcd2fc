"""Grids of integers: x ≈ scale · (q − zero point), with q whole and within the range of its type."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from onnxprune.node import Array

__all__ = ["UNLIMITED", "Format", "Grid", "activation_grid", "weight_grid"]

UNLIMITED = (-math.inf, math.inf)
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Format:
    """Whole numbers from ``low`` to ``high``, kept as ``dtype``, with the zero point where it is best or ``centred``.

    A centred zero point is 0, or the least number where there is nothing below zero, or anywhere if a clip wants that.
    """

    dtype: str
    low: int
    high: int
    centred: bool = False


@dataclass(frozen=True, eq=False)
class Grid:
    """Scale [channels] or [] (float32) and zero point (of the format's type); channels lie along ``axis``.

    With a ``block``, both have as many dimensions as what lies on the grid, and one slot of ``axis`` for so many of it.
    Without an axis they are broadcast.
    """

    format: Format
    scale: Array
    zero: Array
    axis: int | None = None
    block: int = 0

    def quantized(self, x: Array) -> Array:
        """The nearest whole numbers, ties to even, of the format's type."""
        scale, zero = self._along(x, self.scale), self._along(x, self.zero)
        q = np.rint(x / scale) + zero.astype(np.float32)
        clipped: Array = np.clip(q, self.format.low, self.format.high).astype(self.format.dtype)
        return clipped

    def restored(self, q: Array) -> Array:
        """What whole numbers stand for, float32."""
        scale, zero = self._along(q, self.scale), self._along(q, self.zero)
        return np.asarray((q.astype(np.float32) - zero.astype(np.float32)) * scale)

    def __call__(self, x: Array) -> Array:
        """What becomes of values: rounded to the grid, clipped to its ends."""
        return self.restored(self.quantized(x))

    def taken(self, columns: Array | slice) -> Grid:
        """The grid of some slots of the last dimension, where that has more than one; of a grid without an axis."""
        if self.scale.ndim == 0 or self.scale.shape[-1] == 1:
            return self
        return Grid(self.format, self.scale[..., columns], self.zero[..., columns])

    def _along(self, x: Array, values: Array) -> Array:
        if self.axis is None:
            return values
        if self.block:
            return np.repeat(values, self.block, self.axis).take(range(x.shape[self.axis]), self.axis)
        return values.reshape([-1 if dim == self.axis % x.ndim else 1 for dim in range(x.ndim)])


def activation_grid(low: float, high: float, format: Format, limits: tuple[float, float] = UNLIMITED) -> Grid:
    """The grid from ``low`` to ``high``, stretched so that 0 is on it; any for a tensor that is always 0.

    It ends within the ``limits``, on either side of 0: so an operator that clips there has nothing left to do.
    """
    low, high = max(min(low, 0.0), limits[0]), min(max(high, 0.0), limits[1])
    steps = format.high - format.low
    if not format.centred or -math.inf < limits[0] < 0:
        scale = (high - low) / steps
        zero = format.low - low / scale if scale > 0 else format.low
    elif low >= 0:
        scale, zero = high / steps, format.low
    else:
        scale, zero = max(low / format.low, high / format.high), 0
    if not TINY <= scale < math.inf:
        scale, zero = 1.0, format.low if low >= 0 else zero
    at = int(np.clip(np.rint(zero), format.low, format.high))
    ends = [(end, steps) for end, steps in ((limits[0], format.low - at), (limits[1], format.high - at)) if steps]
    return Grid(format, np.asarray(_within(scale, ends)), np.asarray(at, format.dtype))


def _within(scale: float, ends: Iterable[tuple[float, int]]) -> np.float32:
    """The largest scale up to this one that times so many steps, in float32, is not beyond any end."""
    found = np.float32(scale)
    for end, steps in ends:
        if abs(found * np.float32(steps)) > abs(end):
            found = np.float32(end / steps)
        while abs(found * np.float32(steps)) > abs(end):
            found = np.nextafter(found, np.float32(0))
    return found


def weight_grid(limits: Array, format: Format, axis: int | None = None) -> Grid:
    """The grid with zero point 0 that reaches ``limits`` [channels] or [], the largest magnitudes."""
    scale = np.asarray(limits, np.float64) / min(-format.low, format.high)
    scale = np.where(scale < TINY, 1.0, scale).astype(np.float32)
    return Grid(format, scale, np.zeros(scale.shape, format.dtype), axis)
