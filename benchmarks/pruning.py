"""What pruning without training is worth: accuracy at equal MACs, ours in three settings and the peers.

Ours is the default, the same with ``align=1``, and L2 norms without healing. With ``--peers`` come onnxsim (Wanda
scores and L2 norms, both with ridge regression where it helps; they reach different layers) and, for the networks that
``accuracy/rebuilt.py`` has as modules, Torch-Pruning, in the environment of ``coverage.txt``; the ratio of each is
searched that leaves most nearly the wanted share of the MACs, by our count. All see the same calibration data, none the
test data. ``KL`` is the mean divergence of the class probabilities from the original's, in nats. What follows ± is the
deviation over the seeds. Seconds are told where nothing is kept between runs, which is not so with ``--curve``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.accuracy.arena import Arena, Entry, Score
from benchmarks.accuracy.contestants import OURS, Contestant, peers
from benchmarks.accuracy.page import write
from benchmarks.data import beside
from benchmarks.environment import interpreter
from onnxprune.cache import Cache
from onnxprune.errors import OnnxPruneError
from onnxprune.options import Amount

__all__ = ["ON_REQUEST", "arguments", "main"]

ON_REQUEST = "it takes an hour for the zoo, with the peers several"
MAIN = {"mobilenet_v2_1.0_224": 0.7, "kwt1": 0.8}  # the share asked of networks that have little to spare
CURVE = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def arguments(group: argparse._ArgumentGroup) -> None:
    """The options of this benchmark."""
    group.add_argument("--peers", action="store_true", help="Torch-Pruning and onnxsim as well")
    group.add_argument("--curve", action="store_true", help="at 90, 80 … 30%% of the MACs, and a picture with --page")
    earlier = "the JSON of earlier runs, of which --page is made instead of new ones"
    group.add_argument("--rows", type=Path, nargs="+", metavar="FILE", help=earlier)


def main(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each network with labelled test data, share of MACs and contestant."""
    rows = list[dict[str, Any]]()
    try:
        if args.rows:
            rows += told(args.rows)
            return
        for path in args.models:
            if beside(path, "calib") is not None and beside(path, "test") is not None:
                for row in _network(path, args):
                    rows.append(row)
                    yield row
    finally:
        if args.page is not None and rows:
            write(args.page, rows)


def told(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The rows of earlier runs; of two of the same network, share and contestant the first."""
    seen = set[tuple[object, ...]]()
    for row in (row for file in files for row in json.loads(file.read_text())["benchmarks"]["pruning"]["figures"]):
        if (key := (row["network"], row["wanted"], row["contestant"])) not in seen:
            seen.add(key)
            yield row


def _network(path: Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    main_point = MAIN.get(path.stem, Amount.parse(args.macs).of(1))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        cache = Cache(folder / "cache" if args.curve else None)  # of this run alone
        arenas = [Arena(path, seed, cache) for seed in range(args.seeds)]
        contestants = list[Contestant](OURS)
        if args.peers and (calib := beside(path, "calib")) is not None:
            contestants += stack.enter_context(peers(interpreter(args), path, calib, folder))
        for share in sorted({main_point, *(CURVE if args.curve else ())}, reverse=True):
            for row in _share(arenas, contestants, share):
                yield {"network": path.stem, "wanted": share, "main": share == main_point, **row}


def _share(arenas: Sequence[Arena], contestants: Sequence[Contestant], share: float) -> Iterator[dict[str, Any]]:
    """Every contestant at one share of the MACs; their networks are measured in turns."""
    entries = {who.name: list(_entries(arenas if who.random else arenas[:1], who, share)) for who in contestants}
    runs = [entry for found in entries.values() for entry in found if isinstance(entry, Entry)]
    scores = dict(zip(map(id, runs), arenas[0].scores([entry.model for entry in runs]), strict=True))
    for name, found in entries.items():
        remarks = dict.fromkeys(entry.remark if isinstance(entry, Entry) else entry for entry in found)
        good = [entry for entry in found if isinstance(entry, Entry)]
        row = {
            "contestant": name,
            **_figures(good, [scores[id(entry)] for entry in good]),
            "remarks": "; ".join(filter(None, remarks)),
        }
        yield row if arenas[0].cache.folder is None else {**row, "seconds": None}


def _entries(arenas: Sequence[Arena], who: Contestant, share: float) -> Iterator[Entry | str]:
    """What came of it under every seed; where nothing did, or what does not run, why."""
    for arena in arenas:
        try:
            entry = who.cut(arena, share)
            arena.try_out(entry.model)
            yield entry
        except OnnxPruneError as error:
            yield str(error)


def _figures(entries: Sequence[Entry], scores: Sequence[Score]) -> dict[str, float | None]:
    """Means over the seeds, and the deviation of the accuracy in points."""
    if not entries:
        return {}
    return {
        "MACs left": mean(score.left for score in scores),
        "original": scores[0].before,
        "top-1": mean(score.after for score in scores),
        "drop": 100 * mean(score.before - score.after for score in scores),
        "±": 100 * stdev(score.after for score in scores) if len(scores) > 1 else None,
        "KL": mean(score.divergence for score in scores),
        "times as fast": mean(score.faster for score in scores),
        "seconds": mean(entry.seconds for entry in entries),
    }
