"""Which channels go first: accuracy for every criterion of importance, not healed and healed, with the same share cut.

Every layer loses the same share of its channels, so that the criteria alone differ. What follows ± is the deviation
over the seeds. ``python -m benchmarks criteria --zoo --only lenet5`` makes the table of the literature's benchmark.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.accuracy.arena import Arena
from benchmarks.data import beside
from onnxprune.errors import OnnxPruneError
from onnxprune.importance import CRITERIA

__all__ = ["ON_REQUEST", "arguments", "main"]

ON_REQUEST = "it prunes every network dozens of times"


def arguments(group: argparse._ArgumentGroup) -> None:
    """The options of this benchmark."""
    group.add_argument("--cut", default="85%", metavar="SHARE", help="of every layer's channels (default: 85%%)")


def main(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each network with labelled test data and criterion."""
    for path in args.models:
        if beside(path, "calib") is not None and beside(path, "test") is not None:
            arenas = [Arena(path, seed) for seed in range(args.seeds)]
            for criterion in CRITERIA:
                yield {"criterion": criterion, "network": path.stem, **row(arenas, criterion, args.cut)}


def row(arenas: Sequence[Arena], criterion: str, share: str) -> dict[str, Any]:
    """Means over the seeds, and the deviation in points."""
    found: dict[str, Any] = {}
    for label, heal in (("raw", "none"), ("healed", "ls")):
        passes = f"fold,prune:ratio={share}:align=1:importance={criterion}:heal={heal}"
        try:
            entries = [arena.passed(passes) for arena in arenas]
        except OnnxPruneError as error:
            return {**found, "remarks": str(error)}
        scores = arenas[0].scores([entry.model for entry in entries])
        found |= {"MACs left": mean(score.left for score in scores), "top-1": scores[0].before}
        found |= {label: mean(score.after for score in scores)}
        found |= {f"{label} ±": 100 * stdev(score.after for score in scores) if len(scores) > 1 else None}
        found |= {f"{label} s": mean(entry.seconds for entry in entries)}
    return found
