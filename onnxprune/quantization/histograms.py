"""What values the tensors of a network take on data, in two runs over it: their limits, then how often which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Analysis, Context
from onnxprune.portions import MOST, room
from onnxprune.shapes import concrete
from onnxprune.taps import tapped

__all__ = ["BINS", "Histogram", "Histograms", "runs"]

BINS = 4096
DRAWN = 1 << 14  # values of a tensor that are counted per sample
TINY = 1e-30
ROOM = 1 << 26  # bytes that the tensors of one run may take, if more than one sample is run at once


@dataclass(frozen=True, eq=False)
class Histogram:
    """Of one tensor: its limits on all data, the means of every sample's limits, and counts [BINS] between the former.

    The counts are of evenly spaced elements where a tensor has many; the limits are of all.
    """

    low: float
    high: float
    mean_low: float
    mean_high: float
    counts: Array = field(repr=False)

    @property
    def centres(self) -> Array:
        """The middle of every bin [BINS], float64."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[:-1] + edges[1:]) / 2


@dataclass(frozen=True)
class Histograms(Analysis[Mapping[str, Histogram]]):
    """The histograms of tensors; those that take a value that is not finite are left out."""

    tensors: tuple[str, ...]
    uses = ("calibration",)

    def compute(self, model: Model, ctx: Context) -> Mapping[str, Histogram]:
        """Run twice; memory does not grow with the number of samples."""
        if not self.tensors:
            return {}
        with ctx.progress.task("calibrating", 2 * _data(ctx).count) as step:
            limits = _limits(runs(model, self.tensors, ctx, step))
            counts = _counts(runs(model, self.tensors, ctx, step), limits)
        finite = [name for name, each in limits.items() if np.isfinite(each).all()]
        return {name: _histogram(limits[name], counts[name]) for name in finite}

    def pack(self, result: Mapping[str, Histogram]) -> dict[str, Array]:
        """As named arrays, in the order of the tensors."""
        there = np.array([name in result for name in self.tensors])
        held = [result[name] for name in self.tensors if name in result]
        limits = np.array([(h.low, h.high, h.mean_low, h.mean_high) for h in held]).reshape(-1, 4)
        return {"there": there, "limits": limits, "counts": np.array([h.counts for h in held])}

    def unpack(self, arrays: Mapping[str, Array]) -> Mapping[str, Histogram]:
        """From named arrays."""
        names = [name for name, there in zip(self.tensors, arrays["there"], strict=True) if there]
        rows = zip(names, arrays["limits"], arrays["counts"], strict=True)
        return {name: _histogram(limits, counts) for name, limits, counts in rows}


def _histogram(limits: Array, counts: Array) -> Histogram:
    low, high, mean_low, mean_high = limits.tolist()
    return Histogram(low, high, mean_low, mean_high, counts)


def _data(ctx: Context) -> Calibration:
    if ctx.calibration is None:
        raise PassError("ranges are measured on calibration data: give --calib")
    return ctx.calibration


def runs(
    model: Model, names: Sequence[str], ctx: Context, step: Callable[[int], object]
) -> Iterator[tuple[int, dict[str, Array]]]:
    """The number of samples of every batch, and the values that the tensors take on it."""
    data = _data(ctx)
    size, left = data.batch or _at_once(model, names, ctx.shapes), data.count
    session = tapped(model, names)
    for feeds in data.batches(size):
        samples = min(size, left)
        yield samples, dict(zip(session.outputs, session(feeds), strict=True))
        left -= samples
        step(samples)


def _at_once(model: Model, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many samples are run at once: the tensors are all held until the run ends."""
    shapes = concrete(model, shapes)
    held = sum(room(model.tensor(name), shapes) for name in names)
    return min(max(ROOM // max(held, 1), 1), MOST)


def _limits(taken: Iterable[tuple[int, dict[str, Array]]]) -> dict[str, Array]:
    """Least, greatest, mean least and mean greatest value of every tensor [4], float64."""
    found: dict[str, Array] = {}
    total = 0
    for samples, values in taken:
        for name in tuple(values):
            new = _ends(values.pop(name), samples)  # and let it go before the next batch is run
            old = found.get(name, np.array([np.inf, -np.inf, 0, 0]))
            found[name] = np.array([min(old[0], new[0]), max(old[1], new[1]), *(old[2:] + new[2:])])
        total += samples
    return {name: each / [1, 1, total, total] for name, each in found.items()}


def _ends(x: Array, samples: int) -> Array:
    """Least and greatest value of a batch, and the sums of those of its samples [4], float64."""
    rows = x.reshape(samples, -1) if x.ndim and len(x) == samples else x.reshape(1, -1)
    lows, highs = rows.min(axis=1).astype(np.float64), rows.max(axis=1).astype(np.float64)
    return np.array([lows.min(), highs.max(), samples * lows.mean(), samples * highs.mean()])


def _counts(taken: Iterable[tuple[int, dict[str, Array]]], limits: Mapping[str, Array]) -> dict[str, Array]:
    """How many values lie in each of so many equal parts of the range."""
    found = {name: np.zeros(BINS, np.int64) for name in limits}
    for samples, values in taken:
        for name in tuple(values):
            low, high = limits[name][:2]
            if np.isfinite(high - low):
                found[name] += _counted(values.pop(name), samples, low, high)
        values.clear()
    return found


def _counted(x: Array, samples: int, low: float, high: float) -> Array:
    """The counts of one batch [BINS]."""
    drawn = x.reshape(-1)[:: x.size // (samples * DRAWN) | 1]
    scaled = (drawn - np.float32(low)) * np.float32(BINS / max(high - low, TINY))
    return np.bincount(np.clip(scaled, 0, BINS - 1).astype(np.intp), minlength=BINS)
