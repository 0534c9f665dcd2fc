"""The calls of a run, each with its time: ours as the virtual machine makes them, onnxruntime's from its profile."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.native.runtimes import OURS, environment, onnxruntime_session
from benchmarks.native.turns import spoken
from benchmarks.native.worker import load_feeds
from onnxprune.errors import BackendError
from onnxprune.node import Array

__all__ = ["MACHINE", "Call", "traced"]

MACHINE = "vm.builtin."  # what the virtual machine does itself: storage, shapes, tuples
WARM_UP, LEAST, MOST, SECONDS = 2, 5, 300, 1.0


@dataclass(frozen=True)
class Call:
    """A kernel's name, the sizes of what it reads and writes (vectors left out), the shape of what it writes last.

    Seconds are without those of inner calls.
    """

    name: str
    sizes: tuple[int, ...]
    seconds: float
    shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, shapes: Sequence[Sequence[int]], seconds: float) -> Call:
        """From the shapes of all it reads and writes; a bias may be added by another call."""
        whole = [tuple(map(int, shape)) for shape in shapes]
        sizes = (math.prod(shape) for shape in whole if len(shape) > 1)
        return cls(name, tuple(sizes), seconds, whole[-1] if whole else ())


def traced(runtime: str, path: Path, feeds: Path, threads: int) -> list[Call]:
    """One run in a process of its own, each call with the mean of the middle half of its times over several runs."""
    words = [sys.executable, "-m", "benchmarks.native.traced", runtime, str(path), str(feeds), str(threads)]
    done = subprocess.run(words, cwd=ROOT, env=environment(threads), capture_output=True, text=True)
    if done.returncode:
        raise BackendError(spoken(runtime, done.returncode, done.stderr))
    told = json.loads(done.stdout.splitlines()[-1])
    return [Call(each["name"], tuple(each["sizes"]), each["seconds"], tuple(each["shape"])) for each in told]


def trace(runtime: str, path: Path, feeds: Sequence[Array], threads: int) -> list[Call]:
    """In the process itself; every run makes the same calls."""
    runs = list(_ours(path, feeds) if runtime == OURS else _onnxruntime(path, feeds, threads))
    return [replace(each[0], seconds=_middle([call.seconds for call in each])) for each in zip(*runs, strict=True)]


def _ours(path: Path, feeds: Sequence[Array]) -> Iterator[list[Call]]:
    """Being watched takes up to a microsecond a call; the number of threads comes from the environment."""
    from onnxprune.backends import tvm

    program = tvm.load(path)
    watch = _Watch()
    program.watch(watch)
    call = program.bound(feeds)
    for _ in _repeated(lambda: (watch.told(), call())):
        yield watch.told()


class _Watch:
    """Is told when calls start and end, inner ones before outer ones."""

    def __init__(self) -> None:
        self._done: list[Call] = []
        self._open: list[tuple[float, list[float]]] = []

    def __call__(self, name: str, before: bool, args: tuple[Any, ...]) -> None:
        if before:
            self._open.append((time.perf_counter(), []))
            return
        end = time.perf_counter()
        start, inner = self._open.pop()
        if self._open:
            self._open[-1][1].append(end - start)
        shapes = [] if name.startswith(MACHINE) else [arg.shape for arg in args if hasattr(arg, "shape")]
        self._done.append(Call.of(name, shapes, end - start - sum(inner)))

    def told(self) -> list[Call]:
        """The calls since it was asked last."""
        done, self._done = self._done, []
        return done


def _onnxruntime(path: Path, feeds: Sequence[Array], threads: int) -> Iterator[list[Call]]:
    with TemporaryDirectory() as folder:
        session = onnxruntime_session(path, threads, Path(folder, "profile"))
        given = dict(zip((value.name for value in session.get_inputs()), feeds, strict=True))
        runs = 1 + WARM_UP + sum(1 for _ in _repeated(lambda: session.run(None, given)))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    calls = [_event(each) for each in events if each["cat"] == "Node" and each["name"].endswith("_kernel_time")]
    length = len(calls) // runs
    for start in range((1 + WARM_UP) * length, len(calls), length):
        yield calls[start : start + length]


def _event(event: dict[str, Any]) -> Call:
    said, name = event["args"], event["name"].removesuffix("_kernel_time")
    shapes = [
        shape
        for kinds in (said["input_type_shape"], said["output_type_shape"])
        for kind in kinds
        for shape in kind.values()
    ]
    return Call.of(f"{said['op_name']} {name}", shapes, event["dur"] / 1e6)


def _repeated(call: Callable[[], object]) -> Iterator[None]:
    """Run after run; the first few do not count."""
    for _ in range(WARM_UP):
        call()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    for _ in range(min(max(LEAST, int(SECONDS / seconds)), MOST)):
        call()
        yield


def _middle(values: Sequence[float]) -> float:
    """The mean of the middle half: onnxruntime tells whole microseconds, and their median would be one."""
    held = np.sort(values)
    cut = len(held) // 4
    return float(held[cut : len(held) - cut].mean())


if __name__ == "__main__":
    given = load_feeds(Path(sys.argv[3]))
    print(json.dumps([asdict(each) for each in trace(sys.argv[1], Path(sys.argv[2]), given, int(sys.argv[4]))]))
