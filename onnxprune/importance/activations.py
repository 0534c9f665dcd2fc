"""Criteria that look at the values of a channel on the calibration data, as the layers that read it see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxprune.importance.evidence import Evidence, Importance, Need, Scored
from onnxprune.node import Array
from onnxprune.readers import Reader

__all__ = ["Apoz", "Correlation", "Variance"]


@dataclass(frozen=True)
class Apoz(Scored):
    """1 − the share of zeros among the values of a channel (Hu et al., Network Trimming, 2016); made for ReLU.

    Where all have as many, as where no ReLU makes any, it is the variance that counts.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"data", "relu"})

    def scores(self, evidence: Evidence) -> Array:
        """The share of values that are not 0."""
        return _over(evidence, lambda reader: 1 - reader.zeros)

    def order(self, evidence: Evidence) -> Array:
        """By score, then by variance."""
        return np.lexsort([Variance().scores(evidence), self.scores(evidence)])


@dataclass(frozen=True)
class Variance(Scored):
    """How much the values of a channel vary: a constant one can go into the bias of what reads it."""

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})

    def scores(self, evidence: Evidence) -> Array:
        """The share of each atom in the variance of all."""
        return _over(evidence, lambda reader: np.diag(reader.spread))


@dataclass(frozen=True)
class Correlation(Importance):
    """The channel that is most like another goes first, |r| being the largest correlation with one that is left.

    Of the pair goes the one that varies less (Sun et al., Sparsifying Neural Network Connections, 2016, for channels).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})

    def order(self, evidence: Evidence) -> Array:
        """Pair after pair."""
        covariance = np.sum(
            [_blocks(evidence, reader, reader.spread) / reader.signal for reader in evidence.readers], axis=0
        )
        variance = np.diag(covariance).copy()
        scale = np.sqrt(np.maximum(variance, np.finfo(float).tiny))
        alike = np.abs(covariance / np.outer(scale, scale))
        alike[variance <= 0] = 1.0  # a constant is like any other
        np.fill_diagonal(alike, -1.0)
        order: list[int] = []
        while len(order) < len(variance) - 1:
            one, other = divmod(int(np.argmax(alike)), len(variance))
            gone = one if variance[one] <= variance[other] else other
            order.append(gone)
            alike[gone], alike[:, gone] = -2.0, -2.0
        return np.array([*order, *np.setdiff1d(np.arange(len(variance)), order)], int)


def _over(evidence: Evidence, score: Callable[[Reader], Array]) -> Array:
    """The shares of a score of columns, summed up over all layers that read them."""
    return np.asarray(np.sum([evidence.shared(score(r), r.atoms) for r in evidence.readers], axis=0))


def _blocks(evidence: Evidence, reader: Reader, matrix: Array) -> Array:
    """A matrix over columns as one over the atoms that may go: the sums over pairs of columns at the same place.

    Every atom holds the same number of columns, in the same order.
    """
    places = [np.flatnonzero(reader.atoms == atom) for atom in evidence.atoms]
    width = max(map(len, places), default=0)
    total = np.zeros((len(places), len(places)))
    for place in range(width):
        held = [found[place] for found in places if place < len(found)]
        here = [index for index, found in enumerate(places) if place < len(found)]
        total[np.ix_(here, here)] += matrix[np.ix_(held, held)]
    return total
