"""Columns: samples [samples, ...] of which only those that are asked for are in memory.

An array is a column. Whatever comes in pieces is written once, sample after sample, to an unnamed temporary file, and
read from there. Files are read with ``preadv`` and never mapped: what is cut off meanwhile is an error, not a crash.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from onnxprune.errors import UsageError
from onnxprune.node import Array

__all__ = ["Column", "File", "Indices", "Spool", "Stored", "Track", "chunks"]

Indices = npt.NDArray[np.int64]

MOST_SAMPLES, MOST_BYTES = 32, 16 << 20  # of a chunk


class Column(Protocol):
    """What a NumPy array [samples, ...] offers of itself, as far as samples are concerned."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of samples, and the shape of each."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of every element."""
        ...

    def __getitem__(self, samples: Indices, /) -> Array:
        """The chosen samples, in that order."""
        ...


def chunks(column: Column) -> Iterator[tuple[int, Array]]:
    """All samples in order, a bounded number at a time, each time with the number of the first."""
    count, *inner = column.shape
    size = min(MOST_SAMPLES, max(1, MOST_BYTES // (prod(inner) * column.dtype.itemsize or 1)))
    for start in range(0, count, size):
        yield start, column[np.arange(start, min(start + size, count))]


class File:
    """An open file; ``name`` is what it is called when its status is no longer ``stamp``.

    Another process that gets it by pickle opens it anew, through this one, which has to live as long.
    """

    def __init__(self, file: IO[Any], name: str | None = None) -> None:
        """Keep a second handle of ``file``, which may be closed."""
        self.handle = os.dup(file.fileno())
        self.name = name
        self.stamp = self._status()

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (f"/proc/{os.getpid()}/fd/{self.handle}", self.name)

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer; raises UsageError when the file is no longer what it was."""
        while len(buffer):
            got = os.preadv(self.handle, [buffer], offset)
            if not got or (self.name is not None and self._status() != self.stamp):
                raise UsageError(f"{self.name}: the file changed while it was read; run again when it stays as it is")
            buffer, offset = buffer[got:], offset + got

    def _status(self) -> tuple[int, int]:
        status = os.fstat(self.handle)
        return status.st_size, status.st_mtime_ns


def _opened(path: str, name: str | None) -> File:
    with open(path, "rb") as stream:
        return File(stream, name)


@dataclass(frozen=True, eq=False)
class Stored:
    """A column that lies in a file, from ``offset`` on, sample after sample."""

    file: File
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0

    def whole(self) -> Array:
        """A column of one sample: that sample."""
        return self[np.zeros(1, np.int64)][0, ...]

    def __getitem__(self, samples: Indices, /) -> Array:
        """The chosen samples, read from the file."""
        result = np.empty((len(samples), *self.shape[1:]), self.dtype)
        size = prod(self.shape[1:]) * self.dtype.itemsize
        rows = result.reshape(-1).view(np.uint8).reshape(len(samples), size)
        for row, sample in zip(rows, samples.tolist(), strict=True):
            self.file.read(row.data, self.offset + sample * size)
        return result


class Spool:
    """Takes the samples of a column one after the other, in a file that nobody else sees."""

    def __init__(self) -> None:
        """Open the file; raises UsageError where there is no place for one."""
        try:
            self._stream = tempfile.TemporaryFile(dir=_folder())  # noqa: SIM115
        except OSError as error:
            raise _no_room(error) from error

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written was told
            self._stream.close()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of samples; raises UsageError when the disk is full."""
        try:
            self._stream.write(data)
        except OSError as error:
            raise _no_room(error) from error

    def add(self, samples: Array) -> None:
        """Append samples."""
        self.write(np.ascontiguousarray(samples).reshape(-1).view(np.uint8).data)

    def column(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Stored:
        """What was written."""
        try:
            self._stream.flush()
        except OSError as error:
            raise _no_room(error) from error
        return Stored(File(self._stream), shape, dtype)


@dataclass(frozen=True, eq=False)
class Track:
    """Arrays on their way to a file, each of its own shape."""

    spool: Spool
    layouts: list[tuple[tuple[int, ...], np.dtype[Any]]] = field(default_factory=list)

    def add(self, array: Array) -> None:
        """Append an array."""
        self.layouts.append((array.shape, array.dtype))
        self.spool.add(array)

    def arrays(self) -> list[Stored]:
        """Every array as a column of one sample."""
        sizes = [prod(shape) * dtype.itemsize for shape, dtype in self.layouts]
        whole = self.spool.column((sum(sizes),), np.dtype(np.uint8))
        starts = np.cumsum([0, *sizes]).tolist()
        return [
            replace(whole, shape=(1, *shape), dtype=dtype, offset=start)
            for (shape, dtype), start in zip(self.layouts, starts, strict=False)
        ]


def _folder() -> str | None:
    """Where large temporary files go: /tmp is often memory (file-hierarchy(7)); TMPDIR overrides it."""
    return None if "TMPDIR" in os.environ or not os.access("/var/tmp", os.W_OK) else "/var/tmp"


def _no_room(error: OSError) -> UsageError:
    where = _folder() or tempfile.gettempdir()
    return UsageError(f"cannot keep samples in '{where}' ({error.strerror}); free some room, or set TMPDIR to a folder")
