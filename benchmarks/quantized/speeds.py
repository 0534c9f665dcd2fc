"""How many times as fast quantized networks are as the float one, in onnxruntime, all in turns."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.native.measured import ratio
from benchmarks.native.runtimes import ONNXRUNTIME
from benchmarks.native.turns import Worker, rounds
from benchmarks.native.worker import save_feeds
from benchmarks.quantized.networks import Network
from onnxprune.calibrate import Calibration
from onnxprune.errors import BackendError
from onnxprune.model import Model

__all__ = ["speeds"]

FLOAT = "float"


def speeds(
    network: Network, made: Mapping[str, Path], folder: Path, count: int, seconds: float
) -> dict[str, dict[str, float]]:
    """By the names of what was made; what onnxruntime cannot load is left out."""
    model = Model.load(network.path)
    feeds = next(iter(Calibration.load(network.calib, model).batches(1)))
    with ExitStack() as stack:
        workers = dict[str, Worker]()
        for name, path in {FLOAT: network.path, **made}.items():
            given = folder / f"{name.replace(' ', '-')}.npz"
            save_feeds(given, [feeds[tensor.name] for tensor in model.inputs])
            try:
                workers[name] = stack.enter_context(Worker(ONNXRUNTIME, path, given, 1))
            except BackendError:
                continue
        found = rounds(workers, count, seconds)
    result = dict[str, dict[str, float]]()
    for name in workers.keys() - {FLOAT}:
        faster, spread = ratio(found[FLOAT], found[name])
        taken = median(sample for turn in found[name] for sample in turn.samples)
        result[name] = {"times as fast": faster, "times as fast ±": spread, "ms": 1e3 * taken}
    return result
