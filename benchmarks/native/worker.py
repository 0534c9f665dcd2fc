"""A process with one network in one runtime: it runs when told to over a pipe, and sleeps in between.

Both runtimes' threads spin for a while when their work is done. So that none takes the processor from the process
that runs next, a turn ends when the threads have stopped: when the processor's time of the process stands still.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.native.runtimes import RUNTIMES, Loaded
from onnxprune.node import Array

__all__ = ["Clocks", "load_feeds", "measured", "quiet", "save_feeds"]

SAMPLE = 1e-3  # seconds: so many calls are timed together that a sample takes no less
MOST = 100  # samples of a turn
STILL, PATIENCE = 0.005, 5.0  # seconds without work that end a turn, and how long they are waited for


def main(runtime: str, path: str, feeds: str, threads: str) -> None:
    """Load, say so, and obey: each line is a command, and is answered by one line."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as answers:
        os.dup2(2, 1)  # what a runtime prints is no answer
        start = time.perf_counter()
        loaded = RUNTIMES[runtime](Path(path), load_feeds(Path(feeds)), int(threads))
        seconds = time.perf_counter() - start
        loaded.call()
        _answer(answers, {"load s": seconds, "calls": _together(loaded.call)})
        for line in sys.stdin:
            _answer(answers, _obeyed(loaded, json.loads(line)))


def _obeyed(loaded: Loaded, command: dict[str, Any]) -> dict[str, Any]:
    if "outputs" in command:
        save_feeds(Path(command["outputs"]), loaded.outputs())
        return {"quiet s": quiet()}
    start = Clocks()
    seconds = measured(loaded.call, command["calls"], command["seconds"])
    return {"seconds": seconds, "others": start.others(), "quiet s": quiet()}


class Clocks:
    """What the machine and this process have done until now."""

    def __init__(self) -> None:
        self._wall, self._own, self._all = time.perf_counter(), time.process_time(), _busy()

    def others(self) -> float:
        """How many cores everything else has used since, in the mean; the system counts in hundredths of a second."""
        own, busy = time.process_time() - self._own, _busy() - self._all
        return (busy - own) / (time.perf_counter() - self._wall)


def _busy() -> float:
    """Seconds that cores were not idle; 0 where the system does not tell."""
    if not (path := Path("/proc/stat")).exists():
        return 0.0
    user, nice, system, _, _, *rest = map(int, path.read_text(encoding="utf-8").split("\n")[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def measured(call: Callable[[], object], calls: int, seconds: float) -> list[float]:
    """Seconds of a call, sample by sample, for so long; what comes first finds cold caches and sleeping threads."""
    _sample(call, calls)
    end, samples = time.perf_counter() + seconds, list[float]()
    while not samples or (time.perf_counter() < end and len(samples) < MOST):
        samples.append(_sample(call, calls))
    return samples


def quiet() -> float:
    """Seconds until no thread of this process works any more; raises TimeoutError where one goes on."""
    start = time.perf_counter()
    while time.perf_counter() < start + PATIENCE:
        before = time.process_time()
        time.sleep(STILL)
        if time.process_time() - before < STILL / 10:
            return time.perf_counter() - start - STILL
    raise TimeoutError(f"threads still work {PATIENCE:g} s after the last call")


def save_feeds(path: Path, arrays: list[Array]) -> None:
    """Keep arrays in order: their names may be any text."""
    with path.open("wb") as file:
        np.savez(file, *arrays)


def load_feeds(path: Path) -> list[Array]:
    """What ``save_feeds`` kept."""
    with np.load(path) as held:
        return [held[f"arr_{index}"] for index in range(len(held.files))]


def _sample(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _together(call: Callable[[], object]) -> int:
    """How many calls make a sample."""
    return max(1, round(SAMPLE / min(_sample(call, 1) for _ in range(3))))


def _answer(answers: TextIO, told: dict[str, Any]) -> None:
    answers.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
