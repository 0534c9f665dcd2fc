"""Criteria that look at the weights which make a channel, and need no data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onnxprune.importance.evidence import Evidence, Scored
from onnxprune.node import Array

__all__ = ["Fpgm", "MeanVariance", "Norm", "Random"]


@dataclass(frozen=True)
class Norm(Scored):
    """Σ|w|, or Σw²: the share of a channel in its layer (Li et al., Pruning Filters for Efficient ConvNets, 2017)."""

    norm: Literal["l1", "l2"] = "l2"

    def scores(self, evidence: Evidence) -> Array:
        """The share of each atom, summed over the layers."""
        parts = [evidence.summed(maker.shares, maker.atoms) for maker in evidence.makers]
        return np.asarray(np.sum(parts, axis=0))


@dataclass(frozen=True)
class Fpgm(Scored):
    """Σⱼ‖Fᵢ − Fⱼ‖₂: how far a filter is from all others of its layer (He et al., FPGM, 2019)."""

    def scores(self, evidence: Evidence) -> Array:
        """Distances of each atom, summed over the layers."""
        return _over(evidence, lambda weights: _distances(weights).sum(axis=1))


@dataclass(frozen=True)
class MeanVariance(Scored):
    """|mean| and variance of a filter's weights, each divided by its spread over the layer (Gong et al. 2020)."""

    def scores(self, evidence: Evidence) -> Array:
        """Both, added up."""
        return _over(evidence, lambda weights: _scaled(np.abs(weights.mean(axis=1))) + _scaled(weights.var(axis=1)))


@dataclass(frozen=True)
class Random(Scored):
    """Drawn by lot, for comparison."""

    def scores(self, evidence: Evidence) -> Array:
        """Uniform numbers that depend on the seed and on which atoms there are."""
        return np.random.default_rng([evidence.seed, *evidence.atoms.tolist()]).random(len(evidence.atoms))


def _over(evidence: Evidence, score: Callable[[Array], Array]) -> Array:
    """The shares of a score of channels, summed up over all layers that make them."""
    with np.errstate(all="ignore"):  # what is not finite is looked for where channels are chosen
        parts = [evidence.shared(score(maker.load()), maker.atoms) for maker in evidence.makers]
    return np.asarray(np.sum(parts, axis=0))


def _distances(rows: Array) -> Array:
    squares = np.sum(rows**2, axis=1)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0.0)))


def _scaled(values: Array) -> Array:
    return values / (float(values.std()) or 1.0)
