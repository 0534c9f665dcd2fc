"""Compiled libraries against onnxruntime: time, exactness, memory, and how long the compiler takes.

Each runtime has a process of its own for every network, and they run in turns. A turn begins with calls that do not
count and ends when no thread of its process works any more (both keep threads spinning for a while); samples are calls
of 1 ms together. Inputs are in place: onnxruntime's ``run`` is given NumPy's arrays, our ``main`` TVM's tensors, both
from Python. ``ratio`` is onnxruntime's time over ours, the median of the rounds, beside those ``of medians`` and ``of
fastest``, the time that a tenth of the samples stay below; ``±`` is the distance between quartiles. ``others`` says how
many cores all else on the machine used meanwhile: rounds are taken again where it is much, and the calmest count.
``error`` is max|Δ| / max|y|. ``memory`` is what a run takes at its height above a process that has only imported the
runtime, ``planned`` the weights and the activations alive at once. ``over odd`` is how many times as fast as the same
network with channel counts that are not aligned, where both have about as many MACs. ``CPU s`` are the compiler's
seconds of the processor, to which other programs add nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.machine import versions
from benchmarks.native.kept import Kept
from benchmarks.native.layers import layers
from benchmarks.native.measured import Built, built, head, measure
from benchmarks.native.page import write
from benchmarks.native.suite import FORMS, Network, forms, networks
from benchmarks.native.summary import summaries
from onnxprune.errors import OnnxPruneError

__all__ = ["ON_REQUEST", "arguments", "main"]

ON_REQUEST = "it compiles every network, and takes an hour"
FOLDER = ROOT / "build" / "codegen"
QUICK = (5, 0.02)
Row = dict[str, Any]


def arguments(group: argparse._ArgumentGroup) -> None:
    """What to measure; ``--threads`` is that of latency."""
    group.add_argument("--models", dest="wanted", nargs="+", default=["*"], metavar="PATTERN", help="networks by name")
    group.add_argument("--pruned", action="store_true", help="also with half the MACs, unaligned and aligned")
    group.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each (default: %(default)s)")
    group.add_argument("--turn", type=float, default=0.1, metavar="S", help="seconds of a turn (default: %(default)s)")
    group.add_argument("--quick", action="store_true", help=f"{QUICK[0]} turns of {QUICK[1]} s")
    group.add_argument("--resume", type=Path, metavar="FILE", help="rows are added to it, those it has not taken again")
    told = "what each kernel takes, beside onnxruntime's profile"
    group.add_argument("--by-layer", action="store_true", help=told)


def main(args: argparse.Namespace) -> Iterator[Row]:
    """One row for each network, form and number of threads, and their means; or their layers."""
    if args.by_layer:
        yield from _by_layer(args)
        return
    turns = QUICK if args.quick else (args.rounds, args.turn)
    kept, found = Kept.of(args.resume, {"git": versions()["git"], "turns": list(turns)}), list[Row]()
    wanted = FORMS if args.pruned else FORMS[:1]
    for network in networks(FOLDER, args.wanted):
        for row in kept.all(network.name, wanted, args.threads) or _measured(
            network, wanted, args.threads, turns, kept
        ):
            found.append(row)
            yield row
    summary = list(summaries(found))
    yield from summary
    if args.page:
        write(args.page, [*found, *summary])


def _by_layer(args: argparse.Namespace) -> Iterator[Row]:
    """The layers of each network, form and number of threads, behind the name of what they belong to."""
    for network in networks(FOLDER, args.wanted):
        for form in forms(network, FOLDER, FORMS if args.pruned else FORMS[:1]):
            for threads in args.threads:
                yield {"ours": f"{network.name}, {form.form}, threads: {threads}"}
                try:
                    yield from layers(built(form, FOLDER), threads)
                except OnnxPruneError as error:
                    yield {"ours": str(error)}


def _measured(
    network: Network, wanted: Sequence[str], threads: Sequence[int], turns: tuple[int, float], kept: Kept
) -> Iterator[Row]:
    """The rows of a network; of what fails, rows that say why."""
    ready = list[Built]()
    for form in forms(network, FOLDER, wanted):
        try:
            ready.append(built(form, FOLDER))
        except OnnxPruneError as error:
            yield from ({**head(form, number), "remarks": str(error)} for number in threads)
    for number in threads:
        try:
            for row in measure(ready, number, *turns):
                kept.add(row)
                yield row
        except OnnxPruneError as error:
            yield from ({**head(each.network, number), "remarks": str(error)} for each in ready)
