"""How long one run of a model takes in onnxruntime, beside the original and others under the same conditions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["Latency", "latencies", "latency"]

WARM_UP, LEAST_RUNS, MOST_RUNS, SECONDS = 3, 10, 300, 1.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one run: medians and interquartile ranges over ``runs`` interleaved runs of each model."""

    threads: int
    runs: int
    before_ms: float
    after_ms: float
    before_iqr_ms: float
    after_iqr_ms: float


def latency(
    before: Model, after: Model, feeds: Mapping[str, Array], threads: int = 1, runs: int | None = None
) -> Latency:
    """Time both models in onnxruntime on the same feeds, in turns; ``runs`` of each, by default as a second allows."""
    return latencies(before, (after,), feeds, threads, runs)[0]


def latencies(
    before: Model, results: Sequence[Model], feeds: Mapping[str, Array], threads: int = 1, runs: int | None = None
) -> list[Latency]:
    """The same for several results: all models take turns, so that none has a quieter machine than another."""
    sessions = [Session(model.lean(), threads=threads) for model in (before, *results)]
    warm = [sum(_milliseconds(session, feeds) for session in sessions) for _ in range(WARM_UP)]
    allowed = 1000 * SECONDS / 2 * len(sessions)
    runs = runs or min(max(int(allowed / min(warm)), LEAST_RUNS), MOST_RUNS)
    times = np.empty((len(sessions), runs))
    for run in range(runs):
        for side in np.roll(range(len(sessions)), run):  # who goes first finds another's data in the processor's cache
            times[side, run] = _milliseconds(sessions[side], feeds)
    low, middle, high = np.percentile(times, (25, 50, 75), axis=1)
    first, *others = zip(middle.tolist(), (high - low).tolist(), strict=True)
    return [Latency(threads, runs, first[0], median, first[1], iqr) for median, iqr in others]


def _milliseconds(session: Session, feeds: Mapping[str, Array]) -> float:
    start = time.perf_counter()
    session(feeds)
    return 1000 * (time.perf_counter() - start)
