"""Where independent pieces of work run: one seam, and results do not depend on what stands behind it."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import active_children, get_context, parent_process
from typing import Any, Protocol, TypeVar

from onnxprune.errors import PassError, UsageError

__all__ = ["Executor", "Processes", "Serial", "executor"]

T = TypeVar("T")
R = TypeVar("R")
Done = Callable[[], object]


def _nothing() -> None:
    """What is told of a piece of work to those who do not ask."""


class Executor(Protocol):
    """Maps a function over items."""

    def map(self, function: Callable[[T], R], items: Iterable[T], done: Done = _nothing) -> list[R]:
        """The results in the order of the items; raises what the function raises for the first item that fails.

        ``done`` is called here once for every result.
        """
        ...


@dataclass(frozen=True)
class Serial:
    """One item after the other, in this process."""

    def map(self, function: Callable[[T], R], items: Iterable[T], done: Done = _nothing) -> list[R]:
        """The results in the order of the items."""
        return _collected(map(function, items), done)


@dataclass(frozen=True)
class Processes:
    """Up to ``jobs`` items at once, each in a fresh process; raises UsageError for fewer than one job.

    Function, items and results travel by pickle, the function once for each process. Processes are spawned, since
    forking beside the threads of onnxruntime may hang; a script that asks for them needs its
    ``if __name__ == "__main__":``.
    """

    jobs: int

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"cannot work with {self.jobs} jobs; it takes at least 1")

    def __reduce__(self) -> tuple[type[Serial], tuple[()]]:
        """In a worker, where it would be one too many, one item after the other."""
        return Serial, ()

    def map(self, function: Callable[[T], R], items: Iterable[T], done: Done = _nothing) -> list[R]:
        """The results in the order of the items.

        Raises UsageError for what cannot be pickled, PassError when a process dies.
        """
        work = list(items)
        workers = min(self.jobs, len(work))
        if workers < 2:
            return Serial().map(function, work, done)
        sent, others = (_pickled(function),), active_children()
        with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=sent) as pool:
            try:
                return _collected(pool.map(_call, map(_pickled, work)), done)
            except BrokenExecutor as error:
                raise PassError("a worker process died, perhaps for want of memory; use fewer jobs") from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(active_children()).difference(others):
                    process.terminate()
                raise


def executor(jobs: int) -> Executor:
    """What runs ``jobs`` pieces of work at once."""
    return Serial() if jobs == 1 else Processes(jobs)


def _collected(results: Iterable[R], done: Done) -> list[R]:
    found = []
    for result in results:
        found.append(result)
        done()
    return found


def _pickled(value: object) -> bytes:
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"work cannot be sent to another process: {error}; define passes and metrics in a module, or use one job"
        ) from error


# -- in a worker -----------------------------------------------------------------------------------------------------

_sent: list[bytes] = []  # the function, for the life of a worker


def _begin(function: bytes) -> None:
    """Leave Ctrl-C to the parent, and go when it goes, however it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.append("")  # where metrics in the working directory are found
    _sent.append(function)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


@cache
def _function() -> Callable[[Any], Any]:
    """What was sent; it is unpickled where an error finds its way back: in the first call."""
    return pickle.loads(_sent[0])  # type: ignore[no-any-return]


def _call(item: bytes) -> Any:
    return _function()(pickle.loads(item))
