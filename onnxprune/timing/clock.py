"""Who takes the time: onnxruntime on this machine now, a target's own code or a remote device by the same protocol."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import onnx

from onnxprune.backends.targets import load_target
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["Clock", "Feeds", "Onnxruntime", "Run", "interleaved"]

Feeds: TypeAlias = Mapping[str, Array]
Run: TypeAlias = tuple[onnx.ModelProto, Feeds]

WARM_UP, LEAST, MOST = 3, 10, 300
QUIET = 20  # percentile: what other processes add is never negative
NARROWEST = 8  # channels in a block of onnxruntime's convolutions, 16 where registers are that wide


class Clock(Protocol):
    """Takes the time of runs in some place; ``fingerprint`` identifies that place, ``block`` its grain of channels."""

    @property
    def block(self) -> int:
        """Channels that are computed together: a layer takes no less time with a part of a block."""

    def fingerprint(self) -> str:
        """All that times depend on besides what is run: the machine, its software, the number of threads."""

    def milliseconds(self, runs: Sequence[Run], seconds: float = 1.0) -> list[float]:
        """How long each takes when little else goes on, measured in turns for about ``seconds`` in all."""


@dataclass(frozen=True)
class Onnxruntime:
    """The clock of this machine, for onnxruntime with so many ``threads``.

    One thread is timed by the processor time that it takes, which is the time on the wall but for what others take.
    """

    threads: int = 1

    @property
    def block(self) -> int:
        """As wide as the registers are, in float32."""
        return max(NARROWEST, load_target("host").align)

    def fingerprint(self) -> str:
        """Processor, version and threads."""
        return f"{_processor()}, {os.cpu_count()} cores, onnxruntime {version('onnxruntime')}, {self.threads} threads"

    def milliseconds(self, runs: Sequence[Run], seconds: float = 1.0) -> list[float]:
        """A low percentile of interleaved runs; raises ModelError where onnxruntime refuses one."""
        programs = [partial(Session(proto, threads=self.threads), feeds) for proto, feeds in runs]
        now = time.thread_time if self.threads == 1 else time.perf_counter
        found: list[float] = np.percentile(interleaved(programs, seconds, now=now), QUIET, axis=1).tolist()
        return found


def interleaved(
    programs: Sequence[Callable[[], Any]],
    seconds: float,
    runs: int | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Array:
    """Milliseconds of every program [programs, runs], which take turns for about ``seconds`` in all."""
    warm = [sum(_milliseconds(program, now) for program in programs) for _ in range(WARM_UP)]
    runs = runs or min(max(int(1000 * seconds / min(warm)), LEAST), MOST)
    times = np.empty((len(programs), runs))
    for run in range(runs):
        for side in np.roll(range(len(programs)), run):  # who goes first finds another's data in the processor's cache
            times[side, run] = _milliseconds(programs[side], now)
    return times


def _milliseconds(program: Callable[[], Any], now: Callable[[], float]) -> float:
    start = now()
    program()
    return 1000 * (now() - start)


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
