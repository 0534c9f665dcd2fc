"""Workers that are watched: whatever a seed does, crash and hang included, becomes an outcome.

Each worker is a fresh process with a limit on its address space. It is sent one seed at a time; one that takes too long
is killed, one that dies is replaced, and the seed it held tells why.
"""

from __future__ import annotations

import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TypeAlias

GIB = 2**30
TICK = 0.2  # seconds between two looks at the clocks

Check: TypeAlias = Callable[[int], str]  # a seed in, the kind of its outcome out; raises where it fails


@dataclass(frozen=True)
class Outcome:
    """What came of a seed: ``failed``, ``crashed``, ``hung``, or a kind that the check names."""

    seed: int
    kind: str
    note: str = ""
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        return self.kind in ("failed", "crashed", "hung")


@dataclass(frozen=True)
class Limits:
    """What a worker may use: seconds for one seed, bytes of address space; and how many seeds one worker serves."""

    seconds: float = 60
    memory: int = 6 * GIB
    seeds: int = 2000


class _Worker:
    def __init__(self, check: Check, limits: Limits) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, check, limits.memory), daemon=True)
        self.process.start()
        theirs.close()
        self.seed: int | None = None
        self.since, self.served = 0.0, 0

    def give(self, seed: int) -> None:
        self.seed, self.since = seed, time.monotonic()
        self.pipe.send(seed)

    def take(self) -> Outcome:
        """The outcome that is waiting in the pipe, or what the death of the process tells."""
        seed, spent = self.seed or 0, time.monotonic() - self.since
        self.seed, self.served = None, self.served + 1
        try:
            kind, note = self.pipe.recv()
        except EOFError:
            self.process.join()
            return Outcome(seed, "crashed", _cause(self.process.exitcode or 0), spent)
        return Outcome(seed, kind, note, spent)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def watched(check: Check, seeds: Iterable[int], jobs: int = 2, limits: Limits | None = None) -> Iterator[Outcome]:
    """The outcome of every seed, in the order in which they come about; the check must be a function of a module."""
    limits = limits or Limits()
    queue = iter(seeds)
    workers = [_Worker(check, limits) for _ in range(jobs)]
    try:
        for worker in workers:
            _feed(worker, queue)
        while busy := {worker.pipe: worker for worker in workers if worker.seed is not None}:
            ready = set(wait(list(busy), TICK))
            for worker in busy.values():
                outcome = _settle(worker, worker.pipe in ready, limits)
                if outcome is None:
                    continue
                if outcome.kind in ("crashed", "hung") or worker.served >= limits.seeds:
                    worker.stop()
                    workers.remove(worker)
                    workers.append(worker := _Worker(check, limits))
                _feed(worker, queue)
                yield outcome
    finally:
        for worker in workers:
            worker.stop()


def _feed(worker: _Worker, queue: Iterator[int]) -> None:
    if (seed := next(queue, None)) is not None:
        worker.give(seed)


def _settle(worker: _Worker, ready: bool, limits: Limits) -> Outcome | None:
    if ready:
        return worker.take()
    spent = time.monotonic() - worker.since
    return Outcome(worker.seed or 0, "hung", f"killed after {spent:.0f} s", spent) if spent > limits.seconds else None


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _serve(pipe: Connection, check: Check, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    while True:
        try:
            seed = pipe.recv()
        except EOFError:
            return
        try:
            answer = check(seed), ""
        except BaseException:
            answer = "failed", "".join(traceback.format_exc(limit=-6))[-4000:]
        pipe.send(answer)
