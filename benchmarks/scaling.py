"""How time and memory grow with the number of nodes, from file to pruned file; and ResNet-50.

``groups`` is the time to find the channel groups, ``prune`` that of ``prune:ratio=50%:heal=none`` with the checks
before and after it, ``total`` from the file read to the file written, without measuring the result: in seconds of the
processor, so that other programs do not count. ``peak MB`` is the resident memory of the process at its height, ``base
MB`` what it was when all was imported and no model read. Each network has a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx

import onnxprune as op
from benchmarks.graphs import mixed, resnet50
from benchmarks.machine import peak
from onnxprune.analyses.channels import ChannelGroups
from onnxprune.cache import Cache
from onnxprune.evaluate import Evaluator
from onnxprune.executor import Serial
from onnxprune.progress import Progress
from onnxprune.recipe import built, calls
from onnxprune.shapes import input_shapes

__all__ = ["ON_REQUEST", "SIZES", "context", "main", "row"]

ON_REQUEST = "it takes minutes"
SIZES = (100, 200, 500, 1000, 2000, 5000, 10000, 20000)
PASSES = "prune:ratio=50%:heal=none"


def main(args: Namespace) -> Iterator[dict[str, Any]]:
    """One row for each size, and one for ResNet-50."""
    for nodes in SIZES:
        yield row(f"mixed {nodes}", mixed(nodes))
    yield row("ResNet-50", resnet50())


def row(name: str, model: onnx.ModelProto) -> dict[str, Any]:
    """The figures of one network."""
    with tempfile.TemporaryDirectory(prefix="onnxprune-scaling-") as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, path)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scaling", path, Path(folder, "out.onnx")],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        size = path.stat().st_size / 1e6
    return {"network": name, "nodes": len(model.graph.node), **found, "file MB": size}


def measure(source: Path, target: Path) -> dict[str, float]:
    """Prune a file into another and tell how long each part took, in a process that has done nothing else."""
    base, times = peak(), [time.process_time()]
    original = op.Model.load(source)
    ctx = context(original)
    times.append(time.process_time())
    original.get(ChannelGroups(), ctx)
    times.append(time.process_time())
    model = original.copy()
    op.PassManager(built(calls(PASSES))).run(model, ctx)
    times.append(time.process_time())
    model.save(target)
    times.append(time.process_time())
    steps = zip(("load s", "groups s", "prune s", "save s"), pairwise(times), strict=True)
    seconds = {step: after - before for step, (before, after) in steps}
    return {**seconds, "total s": times[-1] - times[0], "base MB": base, "peak MB": peak()}


def context(model: op.Model) -> op.Context:
    """What passes are given, without data, target and cache."""
    return op.Context(
        original=model,
        calibration=None,
        evaluator=Evaluator(),
        target=None,
        executor=Serial(),
        cache=Cache(None),
        progress=Progress.silent(),
        shapes=input_shapes(model, {}),
    )


if __name__ == "__main__":
    print(json.dumps(measure(*map(Path, sys.argv[1:]))))
