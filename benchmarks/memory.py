"""How much memory pruning takes, against the number of samples: it does not grow with them.

Each run of ``onnxprune NET --passes prune:macs=… --calib DATA`` has a process of its own, and keeps nothing for others.
The samples are those beside the network, again and again, each time with other noise: a hundredth of their deviation,
seeded. ``peak MB`` is the resident memory at its height, ``base MB`` what it was after such a run on ``digits_cnn``.
``bound MB`` is four times the activations of a batch that are alive at once, three times the weights and the
largest matrix of sums of a layer. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import onnxprune as op
from benchmarks.data import MODELS, beside
from benchmarks.machine import peak
from benchmarks.scaling import context
from onnxprune.analyses.cost import Stats
from onnxprune.axes.linear import linear
from onnxprune.calibrate import Calibration
from onnxprune.cli import main as command
from onnxprune.moments import width
from onnxprune.options import Amount

__all__ = ["ON_REQUEST", "arguments", "cycled", "draw", "main", "row"]

ON_REQUEST = "for a large network it takes an hour"
COUNTS = (32, 64, 128, 256, 512, 1024)
NOISE = 0.01  # of the deviation of the samples


def arguments(group: argparse._ArgumentGroup) -> None:
    """The options of this benchmark."""
    told = "how many (default: 32 64 128 … 1024)"
    group.add_argument("--samples", type=int, nargs="+", default=COUNTS, metavar="N", help=told)
    group.add_argument("--picture", type=Path, metavar="FILE", help="for memory over samples, as SVG")


def main(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each network of one input with data beside it, and number of samples."""
    rows = list[dict[str, Any]]()
    for path in args.models:
        if (data := beside(path, "calib")) is not None:
            for count in args.samples:
                rows.append(row(path, data, count, Amount.parse(args.macs)))
                yield rows[-1]
    if args.picture is not None and rows:
        args.picture.write_text(draw(rows), encoding="utf-8")


def row(path: Path, data: Path, count: int, left: Amount) -> dict[str, Any]:
    """The figures of one network and number of samples."""
    with tempfile.TemporaryDirectory(prefix="onnxprune-memory-") as folder:
        samples = Path(folder, "samples.npy")
        cycled(data, samples, count)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", path, samples, f"prune:macs={left}", folder],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "XDG_CACHE_HOME": folder},
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, float] = json.loads(done.stdout)
        return {"network": path.stem, "samples": count, **found, "bound MB": bound(path, samples) / 1e6}


def cycled(source: Path, target: Path, count: int) -> None:
    """Write so many samples of an .npz into an .npy, one by one."""
    with np.load(source) as arrays:
        names = [name for name in arrays.files if name != "labels"]
        held = arrays[names[0]]
    if len(names) > 1:
        raise SystemExit(f"{source} holds several inputs: {', '.join(names)}")
    rng, scale = np.random.default_rng(0), NOISE * held.std()
    out = np.lib.format.open_memmap(target, "w+", held.dtype, (count, *held.shape[1:]))
    for number in range(count):
        out[number] = held[number % len(held)] + scale * rng.standard_normal(held.shape[1:])


def bound(path: Path, samples: Path) -> int:
    """Bytes that pruning is to stay within, what Python itself takes left out."""
    model = op.Model.load(path)
    data = Calibration.load(samples, model)
    stats = model.get(Stats(), context(model))
    views = [view for node in model.nodes if (view := linear(node)) is not None]
    sums = max((8 * view.groups * (width(view) + 1) ** 2 for view in views), default=0)
    alive = stats.peak_activation_bytes * (1 if data.batch else data.at_once)
    return 4 * alive + 3 * stats.bytes + sums


def draw(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of an SVG file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    from onnxprune.sweeps.chart import STYLE

    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for network in dict.fromkeys(each["network"] for each in rows):
            own = [each for each in rows if each["network"] == network]
            axes.plot([each["samples"] for each in own], [each["peak MB"] for each in own], "o-", label=network)
        axes.set(xlabel="samples", ylabel="resident memory at its height, MB", xscale="log", ylim=(0, None))
        axes.set_xticks(sorted({each["samples"] for each in rows}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="y", color="#eaeef2", lw=0.8)
        axes.legend(frameon=False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def measure(path: str, samples: str, passes: str, folder: str) -> dict[str, float]:
    """Run the command in this process, on a small network first: what that takes is not the network's."""
    _run(MODELS / "digits_cnn.onnx", MODELS / "digits.calib.npz", "prune:macs=50%", folder)
    base, start = peak(), time.process_time()
    _run(Path(path), Path(samples), passes, folder)
    return {"base MB": base, "peak MB": peak(), "seconds": time.process_time() - start}


def _run(path: Path, data: Path, passes: str, folder: str) -> None:
    words = [path, "--passes", passes, "--calib", data, "-o", Path(folder, path.stem), "--quiet"]
    if code := command(list(map(str, words))):
        raise SystemExit(code)


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
