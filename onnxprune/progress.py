"""What a person sees while waiting: the one place from which the library writes to a stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["Progress", "Step"]

EVERY_SHARE, EVERY_SECONDS, AT_MOST_EVERY = 0.1, 5.0, 1.0  # of the total; seconds; seconds


class Step(Protocol):
    """Reports that ``count`` more items are done."""

    def __call__(self, count: int = 1) -> None: ...


@dataclass(eq=False)
class Progress:
    """Shows tasks on ``stream``: bars when it is a terminal, a few lines when it is not, nothing when it is None."""

    stream: TextIO | None
    clock: Callable[[], float] = time.monotonic
    _bars: Bars | None = field(default=None, init=False, repr=False)

    def __reduce__(self) -> tuple[type[Progress], tuple[None]]:
        """A stream stays in its process: in another one nobody sees the progress."""
        return Progress, (None,)

    @classmethod
    def stderr(cls) -> Progress:
        """Progress on the standard error stream."""
        return cls(sys.stderr)

    @classmethod
    def silent(cls) -> Progress:
        """Progress that nobody sees."""
        return cls(None)

    def task(self, name: str, total: int) -> AbstractContextManager[Step]:
        """``with progress.task("healing", total=12) as step: step()``. Tasks may stand inside tasks."""
        if self.stream is None:
            return _nothing()
        return self._bar(name, total) if self.stream.isatty() else _lines(self.stream, self.clock, name, total)

    @contextmanager
    def _bar(self, name: str, total: int) -> Iterator[Step]:
        with self._display() as bars:
            task = bars.add_task(name, total=total)
            try:
                yield lambda count=1: bars.advance(task, count)
            finally:
                bars.remove_task(task)

    @contextmanager
    def _display(self) -> Iterator[Bars]:
        """The bars on the terminal: one display, whatever the number of tasks."""
        if self._bars is not None:
            yield self._bars
            return
        from rich import progress
        from rich.console import Console

        columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
        with progress.Progress(
            *columns, progress.TimeRemainingColumn(), console=Console(file=self.stream), transient=True
        ) as self._bars:
            try:
                yield self._bars
            finally:
                self._bars = None


@contextmanager
def _nothing() -> Iterator[Step]:
    yield lambda count=1: None


@contextmanager
def _lines(stream: TextIO, clock: Callable[[], float], name: str, total: int) -> Iterator[Step]:
    start = said_at = clock()
    done = said = 0

    def step(count: int = 1) -> None:
        nonlocal done, said, said_at
        done += count
        waited = clock() - said_at
        due = waited >= EVERY_SECONDS or (waited >= AT_MOST_EVERY and done - said >= EVERY_SHARE * total)
        if due and done < total:
            _say(stream, f"{name}: {done}/{total}")
            said, said_at = done, clock()

    try:
        yield step
    except BaseException:
        _say(stream, f"{name}: stopped at {done}/{total}")
        raise
    _say(stream, f"{name}: {done}/{total} in {clock() - start:.1f} s")


def _say(stream: TextIO, line: str) -> None:
    with suppress(OSError, ValueError):  # a closed pipe must not stop the work
        print(line, file=stream, flush=True)
