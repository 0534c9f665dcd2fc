"""Giving back the memory of a library's file once what it holds has been copied."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

__all__ = ["give_back"]

MAPS = Path("/proc/self/smaps")
DONTNEED = 4  # of madvise(2): drop the pages; what is read again comes from the file


def give_back(library: Path) -> None:
    """Drop the resident read-only pages of a loaded library.

    A Relax executable copies its weights out of the library when it is loaded; the pages they were copied from would
    stay, and double the memory of a run. Elsewhere than on Linux nothing is done.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for start, end in _read_only(library):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), DONTNEED)


def _read_only(library: Path) -> Iterator[tuple[int, int]]:
    """Where the parts of the file lie that have never been written: a relocated table is read-only too, but its own."""
    if not MAPS.exists():
        return
    mapping = None
    for line in MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        first, *rest = line.split(maxsplit=5)
        if not first.endswith(":"):
            ours = rest[0] == "r--p" and rest[-1].removesuffix(" (deleted)") == str(library)
            mapping = first.split("-") if ours else None
        elif mapping and (first, rest[0]) == ("Anonymous:", "0"):
            yield int(mapping[0], 16), int(mapping[1], 16)
