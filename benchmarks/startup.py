"""How long it takes until work begins: processes from start to end, in turns."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["main"]

WORDS = {
    "python, nothing done": ["-c", "pass"],
    "import onnxprune": ["-c", "import onnxprune"],
    "import onnxprune, all names": ["-c", "from onnxprune import *"],
    "onnxprune --help": ["-m", "onnxprune", "--help"],
    "onnxprune --list-passes": ["-m", "onnxprune", "--list-passes"],
}


def main(args: Namespace) -> Iterator[dict[str, Any]]:
    """One row for each command: the median and the interquartile range of its times."""
    times = np.array([[_seconds(words) for words in WORDS.values()] for _ in range(args.runs)])
    low, middle, high = np.percentile(times, (25, 50, 75), axis=0)
    for command, seconds, spread in zip(WORDS, middle.tolist(), (high - low).tolist(), strict=True):
        yield {"command": command, "seconds": seconds, "± s": spread, "runs": args.runs}


def _seconds(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
