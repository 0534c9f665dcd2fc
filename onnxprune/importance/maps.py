"""Criteria that look at feature maps: sums over samples of something that each map is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar

import numpy as np

from onnxprune.importance.evidence import Evidence, Importance, Need, Scored, Statistic, Watch
from onnxprune.node import Array

__all__ = ["Gain", "HRank", "Maxout", "spread_of"]


def _ranks(maps: Array) -> Array:
    """Rank and energy; of a volume, the ranks of its slices. σ counts above max(H, W)·ε·σ₁."""
    height, width = maps.shape[-2:] if maps.ndim > 3 else (1, math.prod(maps.shape[2:]))
    planes = maps.reshape(*maps.shape[:2], -1, height, width)
    found = np.linalg.matrix_rank(planes.astype(np.float32) if maps.dtype.itemsize < 4 else planes)
    return np.stack([found.sum(axis=(0, 2)), _energy(maps)])


def _wins(maps: Array) -> Array:
    """At how many places a channel is the largest, those that are alike sharing one, and energy."""
    largest = maps == maps.max(axis=1, keepdims=True)
    return np.stack([_total(largest / largest.sum(axis=1, keepdims=True)), _energy(maps)])


def _moments(maps: Array) -> Array:
    """How many values there are, their sum and the sum of their squares."""
    return np.stack([_total(np.ones(maps.shape)), _total(maps.astype(np.float64)), _energy(maps)])


def _energy(maps: Array) -> Array:
    return _total(maps.astype(np.float64) ** 2)


def _total(maps: Array) -> Array:
    return np.asarray(maps.sum(axis=(0, *range(2, maps.ndim))))


def spread_of(gain: Array) -> Array:
    """The sums of a tensor with these standard deviations, [channels], as one value of each channel would have them."""
    return np.stack([np.ones(len(gain)), np.zeros(len(gain)), gain**2])


@dataclass(frozen=True)
class Gain(Scored):
    """|γ| of the BatchNormalization behind a layer (Liu et al., Network Slimming, 2017).

    Where it was folded away, the standard deviation of what the layer makes on data, which γ then has become.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"gain"})
    watches: ClassVar[Watch | None] = Watch("made", _moments)

    def scores(self, evidence: Evidence) -> Array:
        """The share of each atom, summed up over the layers that make it."""
        return _over(evidence, _deviation)


def _deviation(sums: Array) -> Array:
    count, total, squares = sums
    return np.asarray(np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0)))


class _First(Importance):
    """What is least in the first figure goes first, and of equals what is least in the second."""

    def order(self, evidence: Evidence) -> Array:
        """By shares, summed up over the tensors that are read."""
        return np.lexsort([_over(evidence, itemgetter(row)) for row in (1, 0)])


@dataclass(frozen=True)
class HRank(_First):
    """The mean rank of a channel's feature map (Lin et al., HRank, 2020), and of equal ranks the energy.

    Maps are as the next layers read them, or as they were before they were flattened or pooled to one value.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})
    watches: ClassVar[Watch | None] = Watch("read", _ranks)


@dataclass(frozen=True)
class Maxout(_First):
    """How often a channel is the largest at its place (Moya Rueda et al., Neuron Pruning for Maxout, 2017)."""

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})
    watches: ClassVar[Watch | None] = Watch("read", _wins)


def _over(evidence: Evidence, score: Statistic) -> Array:
    """The shares of a score of channels, summed up over all tensors that were watched."""
    return np.asarray(np.sum([evidence.shared(score(seen.sums), seen.atoms) for seen in evidence.seen], axis=0))
