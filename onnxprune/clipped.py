"""Rows in front of an operator that clips, Relu or Clip: what is beyond the same limit on both sides is no error.

    Σ ‖r(y) − r(W·x)‖²        with        r(v) = min(max(v, low − o), high − o)

is what is left of the error behind it, where o is what another branch adds before. Least squares lowers it step by step
(Zhang et al. 2015, "Accelerating Very Deep Convolutional Networks for Classification and Detection", section 3.2, there
with a penalty): W ← W + (Σ (t − W·x)·xᵀ)·(H + λ·I)⁻¹ with t = W·x where both are beyond the same limit, else t = r(y).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from onnxprune.data.columns import Spool, Stored, Track
from onnxprune.node import Array
from onnxprune.patches import Rows

__all__ = ["Clipped", "Limits", "Recorder"]

ROOM = 64 << 20  # bytes of rows of a layer: more are not kept, as going over them takes too long


class Limits(NamedTuple):
    """What an operator clips to."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Clipped:
    """Rows on disk as float32: of every block x [groups, rows, columns + 1], y and o, both [groups, rows, outputs]."""

    limits: Limits
    blocks: Sequence[tuple[Stored, ...]] = field(repr=False)

    def __add__(self, other: Self) -> Clipped:
        """All rows of both."""
        return Clipped(self.limits, [*self.blocks, *other.blocks])

    def error(self, weights: Array) -> float:
        """Σ ‖r(y) − r(W·x)‖² as a share of Σ ‖r(y) + o‖², with W [groups, outputs, columns + 1]."""
        lost = energy = 0.0
        for x, y, low, high, other in self._rows():
            wanted = np.clip(y, low, high)
            lost += float(np.sum((wanted - np.clip(_made(weights, x), low, high)) ** 2, dtype=np.float64))
            energy += float(np.sum((wanted + other) ** 2, dtype=np.float64))
        return lost / (energy or 1.0)

    def missing(self, weights: Array) -> Array:
        """Σ (t − W·x)·xᵀ, [groups, outputs, columns + 1]."""
        total = np.zeros(weights.shape)
        for x, y, low, high, _ in self._rows():
            made = _made(weights, x)
            beyond = ((y <= low) & (made <= low)) | ((y >= high) & (made >= high))
            total += np.where(beyond, 0, np.clip(y, low, high) - made).swapaxes(1, 2) @ x
        return total

    def _rows(self) -> Iterator[tuple[Array, Array, Array, Array, Array]]:
        for block in self.blocks:
            x, y, *others = (part.whole() for part in block)
            other = others[0] if others else np.zeros((1, 1, 1), y.dtype)
            yield x, y, self.limits.low - other, self.limits.high - other, other


def _made(weights: Array, x: Array) -> Array:
    return np.asarray(x @ weights.swapaxes(1, 2).astype(x.dtype))


class Recorder:
    """Rows on their way to disk, as long as there is room for them."""

    def __init__(self, limits: Limits, spool: Spool) -> None:
        """Nothing yet; the ``spool`` may be closed after ``rows``."""
        self._limits, self._track, self._bytes, self._parts = limits, Track(spool), 0, 2

    def add(self, rows: Rows, other: Array | None) -> None:
        """Count some rows more, and what another branch adds to each, if there is one."""
        parts = [rows.augmented, rows.y] if other is None else [rows.augmented, rows.y, other]
        self._bytes += sum(4 * part.size for part in parts)
        self._parts = len(parts)
        if self._bytes <= ROOM:
            for part in parts:
                self._track.add(part.astype(np.float32))

    def rows(self) -> Clipped | None:
        """All that was counted; None where it was too much."""
        if not 0 < self._bytes <= ROOM:
            return None
        arrays = self._track.arrays()
        return Clipped(self._limits, list(zip(*(arrays[at :: self._parts] for at in range(self._parts)), strict=True)))
