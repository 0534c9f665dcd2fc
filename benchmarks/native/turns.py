"""Processes that run in turns: each round every one of them, in alternating order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from benchmarks.environment import ROOT
from benchmarks.native.runtimes import environment
from benchmarks.native.worker import load_feeds
from onnxprune.errors import BackendError
from onnxprune.node import Array

__all__ = ["Turn", "Worker", "rounds", "spoken"]

CALM, MOST = 0.25, 3  # cores that others use; rounds for one that counts
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Turn:
    """The seconds of a call, sample by sample, and how many cores everything else used meanwhile."""

    samples: tuple[float, ...]
    others: float = 0.0


class Worker:
    """A process of ``worker.py``, ready to run; it ends with its context."""

    def __init__(self, runtime: str, path: Path, feeds: Path, threads: int) -> None:
        """Start it and wait until it has loaded the network; raises BackendError where it cannot."""
        words = [sys.executable, "-m", "benchmarks.native.worker", runtime, str(path), str(feeds), str(threads)]
        self.name = runtime
        self._log = feeds.with_suffix(f".{runtime}.log")
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                words,
                cwd=ROOT,
                env=environment(threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.loaded = self._answer()
        self.calls: int = self.loaded["calls"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, seconds: float) -> Turn:
        """One turn of so many seconds."""
        answer = self._told(calls=self.calls, seconds=seconds)
        return Turn(tuple(answer["seconds"]), answer["others"])

    def outputs(self, path: Path) -> list[Array]:
        """What the network computes; ``path`` is where the arrays go through."""
        self._told(outputs=str(path))
        return load_feeds(path)

    def _told(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            code = self._process.returncode
            raise BackendError(spoken(self.name, code, self._log.read_text(encoding="utf-8", errors="replace")))
        answer: dict[str, Any] = json.loads(line)
        return answer


def spoken(name: str, code: int, said: str) -> str:
    """Why a process ended: the last line it wrote."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"{name} ended with {code}: {lines[-1][:300] if lines else 'it said nothing'}"


def rounds(workers: Mapping[Key, Worker], count: int, seconds: float) -> dict[Key, list[Turn]]:
    """Everyone's turns, the order turned round each time, until so many rounds are calm.

    Where other programs do not let it come to that, the calmest of ``MOST`` times as many are taken.
    """
    taken = list[dict[Key, Turn]]()
    while sum(_others(each) < CALM for each in taken) < count and len(taken) < MOST * count:
        order = list(workers)[:: 1 if len(taken) % 2 == 0 else -1]
        taken.append({key: workers[key].run(seconds) for key in order})
    calmest = sorted(taken, key=_others)[:count]
    return {key: [each[key] for each in calmest] for key in workers}


def _others(turns: Mapping[Key, Turn]) -> float:
    return fmean(turn.others for turn in turns.values())
