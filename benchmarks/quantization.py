"""8-bit networks of ours and of the peers: accuracy, divergence, size, speed, and what it takes to make them.

Ours is ``fold,quantize``, and ``plain`` its calibration alone; beside it stand onnxruntime's ``quantize_static`` after
``quant_pre_process`` (QDQ, u8 activations, s8 weights) in three calibrations, ``nncf.quantize`` and
``onnxsim.quantize_static``, all else by default, with one scale per channel of a weight and one per tensor. All see the
same calibration data, none the test data. ``KL`` is the mean divergence of the class probabilities from the float
network's, in nats, ``bytes`` those of the constants over those in float, ``on integers`` the share of the MACs, ``float
layers`` what onnxruntime's optimised graph still computes in float. ``times as fast`` is the float network's time over
the quantized one's in onnxruntime on one thread, the median of rounds in which all take turns. Seconds and memory are
those of a process of its own, a small network having gone first. ``rescaled`` is the same function, every channel times
e^U(−a, a) and its readers by the inverse; ``half the MACs`` is pruned first, and compared with the pruned network.
``memory`` cycles the samples of one network with seeded noise, as benchmarks/memory.py does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT, environment
from benchmarks.machine import versions
from benchmarks.memory import cycled
from benchmarks.native.kept import Kept
from benchmarks.quantized.networks import PRUNED, Network, networks
from benchmarks.quantized.page import write
from benchmarks.quantized.scores import Referee
from benchmarks.quantized.speeds import speeds
from benchmarks.quantized.summary import summaries
from benchmarks.quantized.ways import WAYS
from benchmarks.quantized.worker import FailedError, quantized
from onnxprune.errors import OnnxPruneError

__all__ = ["ON_REQUEST", "arguments", "main"]

ON_REQUEST = "it quantizes every network a dozen times, and takes hours"
FOLDER = ROOT / "build" / "quantization"
REQUIREMENTS = Path(__file__).with_name("quantization.txt")
FORMS = ("plain", "rescaled", "pruned", "memory")
SCALES = ("channel", "tensor")
OURS, PLAIN, RIVAL = "onnxprune", "onnxprune plain", "onnxruntime Entropy"
LARGE = "mobilenet_v2_1.0_224"  # whose memory is looked at
RIVALS_MOST = 256  # samples: it keeps all that the network computes
KEYS = ("network", "form", "weights", "way", "file", "samples")
Row = dict[str, Any]


def arguments(group: argparse._ArgumentGroup) -> None:
    """What to measure; ``--models``, ``--rounds``, ``--turn``, ``--quick`` and ``--resume`` are those of codegen."""
    group.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="of the networks (default: all)")
    group.add_argument("--scales", nargs="+", choices=SCALES, default=SCALES, help="of weights (default: all)")
    group.add_argument("--ways", nargs="+", default=["*"], metavar="PATTERN", help="of quantizing, by name")
    told = "of an environment with benchmarks/quantization.txt (default: one is made)"
    group.add_argument("--quantizers", type=Path, metavar="PYTHON", help=told)


def main(args: argparse.Namespace) -> Iterator[Row]:
    """One row for each network, scales of weights, and way; then memory over samples, and what all come to."""
    bench, found = _Bench(args), list[Row]()
    for network in networks(FOLDER, lambda name: any(fnmatch(name, each) for each in args.wanted), args.forms):
        for row in bench.rows(network):
            found.append(row)
            yield row
    for row in bench.memory() if "memory" in args.forms else ():
        found.append(row)
        yield row
    for row in summaries(found):
        found.append(row)
        yield row
    if args.page:
        write(args.page, found)


class _Bench:
    """What is kept, and where the peers are."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._turns = (5, 0.02) if args.quick else (args.rounds, args.turn)
        self._samples, self._scales = args.samples, args.scales
        self._ways = [way for way in WAYS if any(fnmatch(way, each) for each in args.ways)]
        timed = {"turns": list(self._turns), "onnxruntime": version("onnxruntime")}
        ours = Kept.of(args.resume, {**timed, "git": versions()["git"]}, KEYS)
        theirs = Kept.of(args.resume, {**timed, "peers": REQUIREMENTS.read_text(encoding="utf-8")}, KEYS)
        self._kept = {way: ours if way.startswith(OURS) else theirs for way in WAYS}
        self._given: Path | None = args.quantizers

    def rows(self, network: Network) -> Iterator[Row]:
        """All ways to quantize one network, in their order; those it has timed before are not taken again."""
        referee = Referee(network)
        for weights in self._scales[:1] if network.form == PRUNED else self._scales:
            found, fresh = dict[str, Row](), dict[str, Path]()
            for way in self._ways:
                head = self._head(network, weights, way)
                if (row := self._row(way, head)) is None:
                    fresh[way], row = self._made(referee, head)
                found[way] = row
            good = {way: path for way, path in fresh.items() if "remarks" not in found[way]}
            fast = speeds(network, good, FOLDER, *self._turns) if weights == "channel" and good else {}
            for way in fresh:
                found[way] |= fast.get(way, {})
                self._kept[way].add(found[way])
            yield from found.values()

    def memory(self) -> Iterator[Row]:
        """What calibrating one network takes, over the number of samples."""
        found = list(networks(FOLDER, lambda name: name == LARGE, ["plain"]))
        for way in (OURS, PLAIN, RIVAL):
            for count in self._samples if found else ():
                if way == RIVAL and count > RIVALS_MOST:
                    continue
                head = {**self._head(found[0], "channel", way), "form": "memory", "samples": count}
                row = self._row(way, head)
                if row is None:
                    samples = FOLDER / f"{LARGE}-{count}.npy"
                    cycled(found[0].calib, samples, count)
                    row = {**head, **self._took(way, "channel", found[0].path, samples, FOLDER / "out.onnx")}
                    samples.unlink()
                    self._kept[way].add(row)
                yield row

    def _head(self, network: Network, weights: str, way: str) -> Row:
        return {"way": way, "network": network.name, "form": network.form, "weights": weights, "file": network.digest}

    def _row(self, way: str, head: Row) -> Row | None:
        return self._kept[way].rows.get(self._kept[way].key(head))

    def _made(self, referee: Referee, head: Row) -> tuple[Path, Row]:
        """A network quantized, measured, and not yet timed."""
        network = referee.network
        path = FOLDER / f"{network.path.stem}-{head['weights']}-{head['way'].replace(' ', '-')}.onnx"
        row = {**head, "float": referee.before, "n": referee.data.count}
        took = self._took(head["way"], head["weights"], network.path, network.calib, path)
        if "remarks" in took:
            return path, {**row, **took}
        try:
            return path, {**row, **referee.score(path), **took}
        except OnnxPruneError as error:
            return path, {**row, "remarks": f"what it made cannot be used: {error}"}

    def _took(self, way: str, weights: str, model: Path, samples: Path, target: Path) -> Row:
        try:
            return quantized(self._python(way), way, weights, model, samples, target)
        except (FailedError, subprocess.CalledProcessError) as error:
            return {"remarks": str(error)}

    def _python(self, way: str) -> Path:
        """Our own, or that of the peers, which is made where it is missing."""
        if way.startswith(OURS):
            return Path(sys.executable)
        return self._given or environment(FOLDER / "venv", REQUIREMENTS)
