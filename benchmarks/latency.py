"""Time asked for and time measured, the speed that a MACs budget brings, and accuracy at equal measured time.

Medians of interleaved runs beside the original. A budget in MACs is found by halving such that its network takes the
time of the one that was asked for a time; healing then decides which of the two is better.
"""

from __future__ import annotations

from argparse import Namespace, _ArgumentGroup
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxprune as op
from benchmarks.data import beside

__all__ = ["ON_REQUEST", "arguments", "main"]

ON_REQUEST = "it compresses every network about ten times"
HALVINGS = 5
Row = dict[str, Any]


def arguments(group: _ArgumentGroup) -> None:
    """What to ask for."""
    group.add_argument("--latency", default="50%", help="time that is left (default: %(default)s)")
    group.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="of onnxruntime (default: 1 2)")


def main(args: Namespace) -> Iterator[Row]:
    """For each network with data: a time by number of threads, a MACs budget of that time, and two MACs budgets."""
    for model in args.models:
        if beside(model, "calib") is not None and beside(model, "test") is not None:
            for threads in args.threads:
                timed = compressed(model, f"latency={args.latency}", threads)
                yield row(model, timed, "latency", args.latency, threads)
                yield equal(model, share(timed), threads)
            yield from (row(model, compressed(model, f"macs={m}", 1), "macs", m, 1) for m in ("50%", "30%"))


def compressed(model: Path, goal: str, threads: int) -> op.Result:
    """The network with a goal, all else as it is by default."""
    calib, test = (beside(model, kind) for kind in ("calib", "test"))
    return op.compress(model, f"fold,prune:{goal}", calib=calib, test=test, threads=threads)


def share(result: op.Result) -> float:
    """Of the original's time."""
    found = result.report.latency
    return found.after_ms / found.before_ms if found else 1.0


def equal(model: Path, wanted: float, threads: int) -> Row:
    """A MACs budget whose network takes as long as that of a time."""
    low, high = 0.02, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slow = share(compressed(model, f"macs={middle:.1%}:heal=none", threads)) > wanted
        low, high = (low, middle) if slow else (middle, high)
    return row(model, compressed(model, f"macs={low:.1%}", threads), "macs of equal time", f"{low:.1%}", threads)


def row(model: Path, result: op.Result, way: str, asked: str, threads: int) -> Row:
    """What came of one goal."""
    report = result.report
    accuracy, latency = report.accuracy, report.latency
    return {
        "network": model.stem,
        "threads": threads,
        "goal": way,
        "asked": asked,
        "time left": share(result),
        "MACs left": report.output.stats.macs / report.input.stats.macs,
        "times as fast": latency and latency.before_ms / latency.after_ms,
        "accuracy": accuracy and accuracy.before,
        "after": accuracy and accuracy.after,
        "remarks": "; ".join((*report.missed, *(each.note for each in report.passes if "undone" in each.note))),
    }
