"""Folders for what is not finished. Each goes away with the run that made it; those of killed runs go with the next.

A living run holds a lock on its folders, which the kernel lifts when the process ends, however it ends. Where a file
system has no locks, none is taken for dead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onnxprune.journal import restore

__all__ = ["PREFIX", "alone", "draft", "sweep"]

PREFIX = ".onnxprune-"
LOCK = f"{PREFIX}lock"


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """A new folder within ``folder``, on the same file system, until the end of the block."""
    sweep(folder)
    path, handle = _locked(folder)
    try:
        yield path
    finally:
        _discard(path)
        os.close(handle)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other run is in such a block for ``folder``; what killed runs began there is undone before."""
    path = folder / LOCK
    handle = _wait(path)
    try:
        sweep(folder)
        yield
    finally:
        with suppress(OSError):
            path.rmdir()
        os.close(handle)


def sweep(folder: Path) -> None:
    """Put back what killed runs were replacing in ``folder`` and remove their drafts; the living keep theirs."""
    for path in sorted(folder.glob(f"{PREFIX}*")):
        with _grasped(path) as dead:
            if dead:
                _discard(path)


def _discard(path: Path) -> None:
    restore(path)  # what cannot be restored now must stay
    shutil.rmtree(path, ignore_errors=True)


def _locked(folder: Path) -> tuple[Path, int]:
    """A new folder and its lock; another one where a sweep came in between."""
    while True:
        path = Path(tempfile.mkdtemp(dir=folder, prefix=PREFIX))
        with suppress(FileNotFoundError, BlockingIOError):
            return path, _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)[0]


def _wait(path: Path) -> int:
    while True:
        path.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            return _lock(path, fcntl.LOCK_EX)[0]


@contextmanager
def _grasped(path: Path) -> Iterator[bool]:
    """Whether a killed run of this user left the draft; while it is looked at, nobody else removes it."""
    try:
        handle, locked = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError, NotADirectoryError, PermissionError):  # gone, alive, or not ours
        yield False
        return
    try:
        yield locked and os.fstat(handle).st_uid == os.geteuid()
    finally:
        os.close(handle)


def _lock(path: Path, how: int) -> tuple[int, bool]:
    """A folder, opened, and whether it is locked: not every file system has locks."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        locked = _flock(handle, how)
        if not os.path.samestat(os.fstat(handle), path.stat()):
            raise FileNotFoundError(path)
    except BaseException:
        os.close(handle)
        raise
    return handle, locked


def _flock(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
