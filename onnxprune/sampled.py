"""Least squares for layers of very many columns, from a sample of the rows that they read instead of sums over all.

With X the rows that were kept and R = Y − X·W₀ᵀ, both less their means where there is a bias, the weights that minimise
Σ ‖R − X·Dᵀ‖² + λ·‖D‖² are, by the identity (XᵀX + λI)⁻¹Xᵀ = Xᵀ(XXᵀ + λI)⁻¹, those of a system as large as there are
rows, however many columns there are:

    W = W₀ + Rᵀ·(XXᵀ + λ·I)⁻¹·X
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

import numpy as np

from onnxprune.node import Array
from onnxprune.patches import Rows
from onnxprune.solving import solved

__all__ = ["WIDEST", "Sampled", "most_rows"]

WIDEST = 6000  # columns: a matrix of sums and its factor then take half a gigabyte
MOST_ROWS = 4096
ROOM = 256 << 20  # bytes of rows
BLOCK = 1024  # columns in float64 at once


def most_rows(columns: int) -> int:
    """How many rows are kept of a layer with so many columns."""
    return max(min(ROOM // (4 * columns), MOST_ROWS), 1)


class Sampled:
    """The first rows that come: which these are is chance, as the samples come in no order."""

    rows: ClassVar[None] = None  # in front of an operator that clips: of so many columns, none are kept

    def __init__(self, columns: int) -> None:
        """Nothing yet, of a layer with so many columns."""
        self._left = most_rows(columns)
        self._x: list[Array] = []  # [groups, rows, columns], float32
        self._y: list[Array] = []  # [groups, rows, outputs], float64

    def add(self, rows: Rows) -> None:
        """Take as many rows as there is room for."""
        if self._left:
            self._x.append(rows.x[:, : self._left].astype(np.float32))
            self._y.append(rows.y[:, : self._left])
            self._left -= self._x[-1].shape[1]

    def __iadd__(self, other: Sampled) -> Self:
        """Take the rows of the other too."""
        self._x += other._x
        self._y += other._y
        return self

    @property
    def count(self) -> int:
        """The number of rows."""
        return sum(each.shape[1] for each in self._x)

    @property
    def finite(self) -> bool:
        """Whether all rows were."""
        return all(bool(np.isfinite(each).all()) for each in (*self._x, *self._y))

    def error(self, weights: Array) -> float:
        """Σ ‖y − W·x‖² as a share of Σ ‖y‖², with W [groups, outputs, columns + 1]."""
        x, y = self._rows()
        energy = float(np.sum(y**2))
        return float(np.sum(_missing(weights, x, y) ** 2)) / (energy or 1.0)

    def nearest(self, start: Array, share: float, biased: bool, _steps: int = 0) -> Array:
        """W for λ = share · the mean square of a column; an operator without bias keeps its last column 0."""
        x, y = self._rows()
        mean = np.zeros((len(x), 1, x.shape[2])) + (x.mean(axis=1, keepdims=True, dtype=np.float64) if biased else 0)
        square = sum(np.einsum("grc,grc->g", part, part) for _, part in _parts(x))
        gram = np.asarray(sum(part @ part.swapaxes(1, 2) for part in (p - mean[:, :, at] for at, p in _parts(x))))
        ridge, missing = share * np.asarray(square) / x.shape[2], _missing(start, x, y)
        shift = missing.mean(axis=1, keepdims=True) * biased
        passed = solved(gram, missing - shift, np.where(ridge == 0, 1.0, ridge)).swapaxes(1, 2)
        result = start.copy()
        for at, part in _parts(x):
            result[:, :, at] += passed @ (part - mean[:, :, at])
        if biased:
            result[:, :, -1] += shift[:, 0] - ((result - start)[:, :, :-1] @ mean.swapaxes(1, 2))[:, :, 0]
        return result

    def matched(self, weights: Array) -> Array:
        """The weights as they are: of so many columns, no means and variances are taken."""
        return weights

    def _rows(self) -> tuple[Array, Array]:
        if len(self._x) > 1:
            self._x, self._y = [np.concatenate(self._x, axis=1)], [np.concatenate(self._y, axis=1)]
        return self._x[0], self._y[0]


def _missing(weights: Array, x: Array, y: Array) -> Array:
    """Y − (X, 1)·Wᵀ."""
    made = sum(part @ weights[:, :, columns].swapaxes(1, 2) for columns, part in _parts(x))
    return np.asarray(y - made - weights[:, None, :, -1])


def _parts(x: Array) -> Iterator[tuple[slice, Array]]:
    """Some columns after the other, in float64."""
    for start in range(0, x.shape[2], BLOCK):
        columns = slice(start, min(start + BLOCK, x.shape[2]))
        yield columns, x[:, :, columns].astype(np.float64)
