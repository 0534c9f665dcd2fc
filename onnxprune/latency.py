"""How long one run of a model takes in onnxruntime, beside the original and others under the same conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.runtime import Session
from onnxprune.timing.clock import interleaved

__all__ = ["Latency", "latencies", "latency"]

SECONDS = 1.0


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
    programs = [partial(Session(model.lean(), threads=threads), feeds) for model in (before, *results)]
    times = interleaved(programs, SECONDS / 2 * len(programs), runs)
    low, middle, high = np.percentile(times, (25, 50, 75), axis=1)
    first, *others = zip(middle.tolist(), (high - low).tolist(), strict=True)
    return [Latency(threads, times.shape[1], first[0], median, first[1], iqr) for median, iqr in others]
