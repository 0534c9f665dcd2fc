"""Where independent pieces of work run: one seam, and results do not depend on what stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol, TypeVar

from onnxprune.errors import PassError, UsageError

__all__ = ["Executor", "Processes", "Serial"]

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Maps a function over items."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The results in the order of the items; raises what the function raises for the first item that fails."""
        ...


@dataclass(frozen=True)
class Serial:
    """One item after the other, in this process."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The results in the order of the items."""
        return [function(item) for item in items]


@dataclass(frozen=True)
class Processes:
    """Up to ``jobs`` items at once, each in a fresh process; raises UsageError for fewer than one job.

    Function, items and results travel by pickle. Processes are spawned, since forking beside the threads of
    onnxruntime may hang; a script that asks for them needs its ``if __name__ == "__main__":``.
    """

    jobs: int

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"cannot work with {self.jobs} jobs; it takes at least 1")

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The results in the order of the items; raises PassError when a process dies."""
        work = list(items)
        workers = min(self.jobs, len(work))
        if workers < 2:
            return Serial().map(function, work)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            try:
                return list(pool.map(function, work))
            except BrokenExecutor as error:
                raise PassError("a worker process died, perhaps for want of memory; use fewer jobs") from error
