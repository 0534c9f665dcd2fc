"""One way to quantize one network, in a process of its own: ``python -m benchmarks.quantized.worker WAY …``.

A small network goes first: what is imported for it, and the memory that takes, is not the network's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.data import MODELS
from benchmarks.machine import peak
from benchmarks.quantized.ways import WAYS

__all__ = ["FailedError", "quantized"]

ROOT = Path(__file__).parents[2]
LIMIT = 3600  # seconds
SMALL = MODELS / "digits_cnn.onnx", MODELS / "digits.calib.npz"


class FailedError(Exception):
    """What a way to quantize raised, in one line."""


def quantized(python: Path, way: str, weights: str, model: Path, samples: Path, target: Path) -> dict[str, Any]:
    """Write the quantized network to ``target``; seconds and memory. Raises FailedError with what it raised."""
    words = map(
        str, (python, "-W", "ignore", "-m", "benchmarks.quantized.worker", way, weights, model, samples, target)
    )
    try:
        done = subprocess.run([*words], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"took longer than {LIMIT} s") from error
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise FailedError(f"the process ended with {done.returncode}: {said[-1][:300]}")
    told: dict[str, Any] = json.loads(lines[-1])
    if "error" in told:
        raise FailedError(told["error"])
    return told


def main(way: str, weights: str, *paths: str) -> dict[str, Any]:
    """In the process itself."""
    model, samples, target = map(Path, paths)
    try:
        quantize = WAYS[way](weights)
        quantize(*SMALL, target)
        base, start, used = peak(), time.perf_counter(), _used()
        quantize(model, samples, target)
    except Exception as error:  # peers raise what they like
        said = str(error).strip() or "no message"
        return {"error": f"{type(error).__name__}: {said.splitlines()[0][:300]}"}
    took = {"seconds": time.perf_counter() - start, "CPU s": _used() - used}
    return {**took, "base MB": base, "peak MB": peak()}


def _used() -> float:
    return sum(os.times()[:4])


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
