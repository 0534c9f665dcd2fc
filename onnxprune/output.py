"""What is written into a folder: all of it, or nothing, and what was there before stays whole until then."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from onnxprune.drafts import PREFIX, alone, draft
from onnxprune.errors import PlaceError, UsageError
from onnxprune.journal import files_in, replace_all, within

__all__ = ["check_file", "check_folder", "scratch", "spare", "staged", "write_atomically"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_folder(folder: Path, files: Iterable[str] = ()) -> None:
    """Refuse, before long work, a folder in which the ``files`` (relative paths) cannot be written."""
    with _writing(folder):
        _check_places(folder, map(Path, files))
        with draft(_existing(folder)):
            pass


def check_file(path: Path) -> None:
    """Refuse, before long work, a file that cannot be written."""
    with _writing(path.parent):
        if not path.parent.is_dir():
            raise NotADirectoryError(0, f"there is no folder '{path.parent}'")
    check_folder(path.parent, [path.name])


def spare(inputs: Iterable[object], outputs: Iterable[Path]) -> None:
    """Refuse to write over a file that is read; whatever is no path among the ``inputs`` is passed over."""
    read = [Path(each) for each in inputs if isinstance(each, str | Path)]
    for path in outputs:
        if path.exists() and any(each.exists() and path.samefile(each) for each in read):
            raise UsageError(f"'{path}' is read and would be overwritten; write to another place")


@contextmanager
def staged(folder: Path, stale: Iterable[str] = ()) -> Iterator[Path]:
    """A temporary folder on the same file system: what was put there moves into ``folder`` at the end, or not at all.

    Files that are ``stale`` (relative paths) go at the same time, unless there are new ones. The temporary folder goes
    away in either case, and so does ``folder`` where it was not there. Raises PlaceError when that cannot be written.
    """
    with _writing(folder), _standing(folder), draft(folder) as place:
        stage = place / "new"
        stage.mkdir()
        yield stage
        files = files_in(stage)
        with alone(folder):
            _check_places(folder, files)
            replace_all(stage, files, [Path(name) for name in stale if Path(name) not in files])


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file into a folder that is there, whole or not at all; raises PlaceError when that cannot be done."""
    with _writing(path), draft(path.parent) as place:
        whole = place / path.name
        with whole.open("wb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            stream.flush()
            os.fsync(stream.fileno())
        whole.replace(path)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for large files; raises PlaceError when it cannot be written."""
    folder = Path(tempfile.gettempdir())
    with _writing(folder, "set TMPDIR to another folder"), draft(folder) as place:
        yield place


@contextmanager
def _writing(place: Path, way_out: str = "name another folder") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        room = "make room, or " if error.errno in FULL else ""
        raise PlaceError(f"cannot write to '{_lasting(place)}': {error.strerror or error}; {room}{way_out}") from error


@contextmanager
def _standing(folder: Path) -> Iterator[None]:
    """See that the folder is there, and leave none that was not when the block fails."""
    with ExitStack() as undo:
        for path in (*reversed(folder.absolute().parents), folder.absolute()):
            if not path.exists():
                path.mkdir(exist_ok=True)
                undo.callback(_remove_empty, path)
        yield
        undo.pop_all()


def _lasting(place: Path) -> Path:
    """The part of a path that stays: drafts are nothing to tell people of."""
    return Path(*takewhile(lambda part: not part.startswith(PREFIX), place.parts))


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))


def _check_places(folder: Path, files: Iterable[Path]) -> None:
    for file in files:
        path = folder / file
        if not within(folder, file):
            raise NotADirectoryError(0, f"'{path.parent}' leads to another place")
        if path.is_dir():
            raise IsADirectoryError(0, f"'{path}' is a folder, and a file of that name is to be written")
        if not (above := _existing(path.parent)).is_dir():
            raise NotADirectoryError(0, f"'{above}' is no folder, and one of that name is to be written")


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
