"""The figures of one network: its forms compiled, checked, and run in turns with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.native.alone import compiled, memory
from benchmarks.native.runtimes import ONNXRUNTIME, OURS
from benchmarks.native.suite import ALIGNED, ODD, Network
from benchmarks.native.turns import Turn, Worker, rounds
from onnxprune.node import Array

__all__ = ["Built", "built", "error", "figures", "measure"]

Row = dict[str, Any]
Turns = Sequence[Turn]
MB = 1e6
EQUAL = 0.05  # so much may the MACs of what is compared differ


@dataclass(frozen=True)
class Built:
    """A network with its library, the inputs it is run on, and what is known before anything is timed."""

    network: Network
    library: Path
    feeds: Path
    figures: Row

    def worker(self, runtime: str, threads: int) -> Worker:
        """A process that runs it."""
        path = self.library if runtime == OURS else self.network.path
        return Worker(runtime, path, self.feeds, threads)


def built(network: Network, folder: Path) -> Built:
    """Compile a network; raises BackendError where that cannot be done."""
    stem = f"{network.name}-{network.form.replace(' ', '-')}"
    library, feeds = folder / f"{stem}.so", network.feeds(folder / f"{stem}.npz")
    told = compiled(network.path, library, dict(network.shapes))
    planned = network.costs.bytes + network.costs.peak_activation_bytes
    taken, theirs = (memory(*each, feeds)["run"] for each in ((OURS, library), (ONNXRUNTIME, network.path)))
    figures = {
        "compile s": told["seconds"],
        "CPU s": told["used"],
        "planned MB": planned / MB,
        "memory MB": taken / MB,
        "over planned": taken / planned,
        "onnxruntime MB": theirs / MB,
    }
    return Built(network, library, feeds, figures)


def measure(all_built: Sequence[Built], threads: int, count: int, seconds: float) -> Iterator[Row]:
    """One row for each form of a network, all run in turns; ``count`` rounds of ``seconds`` for each process."""
    with ExitStack() as stack:
        workers = {
            (each.network.form, runtime): stack.enter_context(each.worker(runtime, threads))
            for each in all_built
            for runtime in (OURS, ONNXRUNTIME)
        }
        errors = {each.network.form: _compared(each, workers) for each in all_built}
        found = rounds(workers, count, seconds)
    for each in all_built:
        form = each.network.form
        times = figures(found[form, OURS], found[form, ONNXRUNTIME])
        if form == ALIGNED and (odd := _of_equal_cost(each, all_built)) is not None:
            times["over odd"] = ratio(found[odd, OURS], found[form, OURS])[0]
        yield {**head(each.network, threads), **times, "error": errors[form], **each.figures}


def _of_equal_cost(aligned: Built, all_built: Sequence[Built]) -> str | None:
    """The form whose channels are not aligned, where it has about as many MACs: in whole blocks not every share is."""
    odd = next((each.network for each in all_built if each.network.form == ODD), None)
    return ODD if odd and abs(aligned.network.costs.macs / odd.costs.macs - 1) < EQUAL else None


def head(network: Network, threads: int) -> Row:
    """What a row begins with."""
    return {"network": network.name, "form": network.form, "threads": threads, "M MACs": network.costs.macs / 1e6}


def figures(ours: Turns, theirs: Turns) -> Row:
    """Medians and spreads of two runtimes' samples, their ratio, and how many cores others used meanwhile."""
    times = Row()
    for name, turns in ((OURS, ours), (ONNXRUNTIME, theirs)):
        times[f"{name} ms"], times[f"{name} ms ±"] = _middle([1e3 * x for turn in turns for x in turn.samples])
    times["ratio"], times["ratio ±"] = ratio(theirs, ours)
    times["of medians"] = times[f"{ONNXRUNTIME} ms"] / times[f"{OURS} ms"]
    times["of fastest"] = _fast(theirs) / _fast(ours)
    return {**times, "others": fmean(turn.others for turn in (*ours, *theirs))}


def ratio(above: Turns, below: Turns) -> tuple[float, float]:
    """The median and the spread of the rounds' ratios: what slows a round slows both."""
    return _middle([median(a.samples) / median(b.samples) for a, b in zip(above, below, strict=True)])


def _fast(turns: Turns) -> float:
    """What the fastest tenth of the samples stay below: other programs make none of them faster."""
    return float(np.percentile([x for turn in turns for x in turn.samples], 10))


def error(got: Sequence[Array], want: Sequence[Array]) -> float:
    """The largest max|Δ| / max|y| of any output; infinite where a shape or what is finite differs."""
    return max(map(_error, got, want), default=0.0) if len(got) == len(want) else np.inf


def _error(got: Array, want: Array) -> float:
    if got.shape != want.shape or not np.array_equal(np.isfinite(got), known := np.isfinite(want)):
        return np.inf
    x, y = (each[known].astype(np.float64) for each in (got, want))
    return float(np.abs(x - y).max(initial=0) / (np.abs(y).max(initial=0) or 1.0))


def _compared(each: Built, workers: Mapping[tuple[str, str], Worker]) -> float:
    got, want = (
        workers[each.network.form, runtime].outputs(each.feeds.with_suffix(f".{runtime}.npz"))
        for runtime in (OURS, ONNXRUNTIME)
    )
    return error(got, want)


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the distance between the quartiles."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float(middle), float(high - low)
