"""Each network folded, pruned and healed: seconds, latency in onnxruntime, accuracy, and how exact the cut is.

``heal`` is the time of the pass with healing less that without. ``oracle`` is max|Δ| / max|y| between the pruned,
unhealed network and the original in which the removed channels are silenced: rounding is all it may be.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import onnxprune as op
from benchmarks.data import beside
from onnxprune.axes.silencing import removed, silenced
from onnxprune.cache import Cache
from onnxprune.feeds import made_up
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["main"]


def main(args: Namespace) -> Iterator[dict[str, Any]]:
    """One row for each network."""
    for model in args.models:
        try:
            yield row(model, args.macs)
        except op.OnnxPruneError as error:
            yield {"network": model.stem, "remarks": str(error)}


def row(model: Path, macs: str) -> dict[str, Any]:
    """All figures of one network. Nothing is kept between runs, so that all that is timed is done."""
    start = time.perf_counter()
    op.Model.load(model)
    loaded = time.perf_counter() - start
    raw = _compressed(model, f"fold,prune:macs={macs}:heal=none")
    result = raw if beside(model, "calib") is None else _compressed(model, f"fold,prune:macs={macs}")
    fold, prune = raw.report.passes
    healed = None if result is raw else result.report.passes[1].seconds - prune.seconds
    times = {"load s": loaded, "fold s": fold.seconds, "prune s": prune.seconds, "heal s": healed}
    remarks = [*result.report.missed, "" if prune.changed else prune.note]
    return {
        "network": model.stem,
        **times,
        **_left(result),
        **_latency(result),
        **_accuracy(raw, result),
        "oracle": _difference(raw, beside(model, "calib")),
        "remarks": "; ".join(filter(None, remarks)),
    }


def _compressed(model: Path, passes: str) -> op.Result:
    return op.compress(model, passes, calib=beside(model, "calib"), test=beside(model, "test"), cache=Cache(None))


def _left(result: op.Result) -> dict[str, float]:
    before, after = result.report.input.stats, result.report.output.stats
    return {"MACs left": after.macs / (before.macs or 1), "parameters left": after.params / (before.params or 1)}


def _latency(result: op.Result) -> dict[str, float | int]:
    if (found := result.report.latency) is None:
        return {}
    return {
        "before ms": found.before_ms,
        "before ± ms": found.before_iqr_ms,
        "after ms": found.after_ms,
        "after ± ms": found.after_iqr_ms,
        "times as fast": found.before_ms / found.after_ms,
        "runs of each": found.runs,
    }


def _accuracy(raw: op.Result, result: op.Result) -> dict[str, Any]:
    if (unhealed := raw.report.accuracy) is None or (final := result.report.accuracy) is None:
        return {}
    healed = None if result is raw else final.after
    metric = {"metric": unhealed.metric, "samples": unhealed.n}
    return {**metric, "accuracy": unhealed.before, "pruned": unhealed.after, "healed": healed}


def _difference(result: op.Result, calib: Path | None) -> float | None:
    """max|Δ| / max|y| between the pruned network and the original with the removed channels silenced."""
    original = result.context.original
    mirror = silenced(original, removed(result.model))
    feeds: dict[str, Array] = made_up(original, result.context.shapes, seed=0)
    if calib is not None:
        with np.load(calib) as data:
            feeds = {name: data[name][: len(feed)] for name, feed in feeds.items()}
    try:
        pairs = zip(*(Session(m.proto(), optimise=False)(feeds) for m in (result.model, mirror)), strict=True)
    except op.ModelError:  # some networks do not run on made-up inputs
        return None
    return max(float(np.abs(z - y).max(initial=0)) / (float(np.abs(y).max(initial=0)) or 1.0) for z, y in pairs)
