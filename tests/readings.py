"""Readers made from rows of numbers, each sum taken as it is defined; and least squares solved from the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxprune.importance import Evidence, Maker
from onnxprune.node import Array
from onnxprune.readers import RIDGE, Reader


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows x [rows, columns] of a layer with weights w [outputs, columns]; ``atoms`` says what the columns hold."""

    x: Array
    w: Array
    atoms: Array
    biased: bool = True

    @property
    def centred(self) -> Array:
        """x about its mean, or about 0 where there is no bias to take the mean up."""
        return self.x - self.x.mean(axis=0) if self.biased else self.x

    @property
    def ridge(self) -> float:
        """λ."""
        return RIDGE * float(np.mean(np.sum(self.centred**2, axis=0)))

    def reader(self) -> Reader:
        """The same as sums; the bias is 0.5 everywhere."""
        mean = self.x.mean(axis=0) if self.biased else np.zeros(self.x.shape[1])
        weights = np.column_stack([self.w, np.full(len(self.w), 0.5 * self.biased)])
        spread = self.centred.T @ self.centred
        return Reader("layer", self.atoms, weights, spread, mean, np.mean(self.x == 0, axis=0))

    def solved(self, gone: Array) -> tuple[Array, float]:
        """Weights [outputs, columns left] without the atoms ``gone`` and what they cost, by lstsq over the rows.

        λ·‖W − W₀‖² is what more rows, √λ times the unit vectors, cost.
        """
        kept = ~np.isin(self.atoms, gone)
        x = np.vstack([self.centred, np.sqrt(self.ridge) * np.eye(len(self.atoms))])
        y = x @ self.w.T
        left = np.linalg.lstsq(x[:, kept], y, rcond=None)[0]
        return left.T, float(np.sum((y - x[:, kept] @ left) ** 2) / np.sum((self.centred @ self.w.T) ** 2))


def rows(seed: int = 0, channels: int = 6, width: int = 1, outputs: int = 4, biased: bool = True) -> Rows:
    """Rows of channels that hang together; each atom has ``width`` columns that stand beside each other."""
    rng, size = np.random.default_rng(seed), channels * width
    x = np.maximum(rng.normal(size=(200, size)) @ rng.normal(size=(size, size)) + rng.normal(size=size), 0)
    return Rows(x, rng.normal(size=(outputs, size)), np.repeat(np.arange(channels), width), biased)


def evidence(*readers: Rows, atoms: Array | None = None, weights: Array | None = None) -> Evidence:
    """All that a criterion is given: these readers, and one layer that makes the channels from ``weights``."""
    found = np.unique(np.concatenate([each.atoms for each in readers])) if atoms is None else atoms
    rng = np.random.default_rng(5)
    made = rng.normal(size=(int(found.max()) + 1, 5)) if weights is None else weights
    squares = np.sum(made**2, axis=1)
    maker = Maker(np.arange(len(made)), squares / squares.sum(), lambda: made)
    return Evidence(found, [maker], [each.reader() for each in readers])
