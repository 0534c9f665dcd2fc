"""The range of a tensor that its grid is to cover: from its histogram, by one of several rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from onnxprune.quantization.grids import Format, activation_grid
from onnxprune.quantization.histograms import Histogram

__all__ = ["RULES", "Range", "Rule"]

Range = tuple[float, float]
Rule = Callable[[Histogram, Format], Range]

PERCENTILE = 99.99  # of the values lie inside
PARTS = 512  # of the range, to compare distributions: finer ones differ by chance
STEPS = 64  # ranges that are tried
LEAST = 1 / STEPS  # of the whole range
ROUNDS = 2  # each end in turn


def minmax(seen: Histogram, _: Format) -> Range:
    """All that was seen."""
    return seen.low, seen.high


def average(seen: Histogram, _: Format) -> Range:
    """The means of what single samples reach."""
    return seen.mean_low, seen.mean_high


def percentile(seen: Histogram, _: Format) -> Range:
    """All but one value in ten thousand, half of those at either end; at one end alone where the other is 0."""
    share = np.cumsum(seen.counts) / max(seen.counts.sum(), 1)
    outside = 1 - PERCENTILE / 100
    two_sided = seen.low < 0 < seen.high
    edges = np.linspace(seen.low, seen.high, len(share) + 1)
    below = outside / 2 if two_sided else 0.0
    first = int(np.searchsorted(share, below, side="right"))
    last = int(np.searchsorted(share, 1 - outside + below))
    return float(edges[min(first, len(share) - 1)]), float(edges[min(last + 1, len(share))])


def mse(seen: Histogram, format: Format) -> Range:
    """The least Σ (x − Q(x))² over the histogram."""
    return _least(seen, format, _noise)


def entropy(seen: Histogram, format: Format) -> Range:
    """The least KL(p‖q) of the distribution p from that on the grid (S. Migacz, TensorRT, GTC 2017)."""
    return _least(seen, format, _divergence)


def _least(seen: Histogram, format: Format, cost: Callable[[Histogram, Format, Range], float]) -> Range:
    """The ends that cost least, found one after the other from the whole range."""
    best = (min(seen.low, 0.0), max(seen.high, 0.0))
    whole = best
    for _ in range(ROUNDS):
        for end in (0, 1):
            if not whole[end]:
                continue
            tried = [_moved(best, end, whole[end] * share) for share in np.linspace(1, LEAST, STEPS)]
            best = min([best, *tried], key=lambda each: cost(seen, format, each))
    return best


def _moved(range: Range, end: int, value: float) -> Range:
    return (value, range[1]) if end == 0 else (range[0], value)


def _noise(seen: Histogram, format: Format, range: Range) -> float:
    x = seen.centres
    return float(seen.counts @ np.square(x - activation_grid(*range, format)(x)))


def _divergence(seen: Histogram, format: Format, range: Range) -> float:
    """What lies outside counts as the ends in p; q spreads what falls on one number evenly over where there is any.

    Zeros do not count: 0 is on every grid, and behind a Relu they would outweigh all the rest.
    """
    x, counts = seen.centres.reshape(PARTS, -1).mean(axis=1), seen.counts.reshape(PARTS, -1).sum(axis=1)
    counts[np.abs(x) <= (seen.high - seen.low) / PARTS] = 0
    inside = (x >= range[0]) & (x <= range[1])
    if not inside.any():
        return np.inf
    p = counts[inside].astype(np.float64)
    codes = activation_grid(*range, format).quantized(x[inside]).astype(np.int64)
    there = p > 0
    codes -= codes.min()
    mass = np.bincount(codes, p)
    width = np.bincount(codes, there)
    q = np.where(there, mass[codes] / np.maximum(width[codes], 1), 0)
    outside = counts[~inside]
    below = x[~inside] < range[0]
    p[0] += outside[below].sum()
    p[-1] += outside[~below].sum()
    if not p.sum():
        return 0.0
    q = np.maximum(q, EMPTY)
    p, q = p / p.sum(), q / q.sum()
    kept = p > 0
    return float(np.sum(p[kept] * np.log(p[kept] / q[kept])))


EMPTY = 1e-3  # of a count: what p has and q lacks

RULES: Mapping[str, Rule] = {
    "minmax": minmax,
    "average": average,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}
