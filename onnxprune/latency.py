"""How long one run of a model takes in onnxruntime, beside the original under the same conditions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["Latency", "latency"]

WARM_UP, LEAST_RUNS, MOST_RUNS, SECONDS = 3, 10, 300, 2.0


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
    """Time both models in onnxruntime on the same feeds, in turns; ``runs`` of each, by default as 2 seconds allow."""
    sessions = [Session(model.lean(), threads=threads) for model in (before, after)]
    warm = [sum(_milliseconds(session, feeds) for session in sessions) for _ in range(WARM_UP)]
    runs = runs or min(max(int(1000 * SECONDS / min(warm)), LEAST_RUNS), MOST_RUNS)
    times = np.empty((2, runs))
    for run in range(runs):
        for side in (0, 1) if run % 2 else (1, 0):  # who goes first finds the other's data in the processor's cache
            times[side, run] = _milliseconds(sessions[side], feeds)
    low, middle, high = np.percentile(times, (25, 50, 75), axis=1).tolist()
    return Latency(threads, runs, middle[0], middle[1], high[0] - low[0], high[1] - low[1])


def _milliseconds(session: Session, feeds: Mapping[str, Array]) -> float:
    start = time.perf_counter()
    session(feeds)
    return 1000 * (time.perf_counter() - start)
