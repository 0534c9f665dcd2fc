"""What is written into a folder: all of it, or nothing, and what was there before stays whole until then."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from onnxprune.errors import UsageError

__all__ = ["check_file", "check_folder", "spare", "staged"]

PREFIX = ".onnxprune-"


def check_folder(folder: Path, files: Iterable[str] = ()) -> None:
    """Refuse, before long work, a folder in which the ``files`` (relative paths) cannot be written."""
    with _writing(folder):
        _check_places(folder, map(Path, files))
        with tempfile.TemporaryDirectory(dir=_existing(folder), prefix=PREFIX):
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

    It goes away in either case. Files that are ``stale`` (relative paths) go too, unless there are new ones.
    Raises UsageError when ``folder`` cannot be written.
    """
    with _writing(folder):
        draft = Path(tempfile.mkdtemp(dir=_existing(folder), prefix=PREFIX))
        try:
            stage = draft / "new"
            stage.mkdir()
            yield stage
            _publish(stage, folder, draft / "old", map(Path, stale))
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write to '{folder}': {error.strerror or error}; name another folder") from error


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _check_places(folder: Path, files: Iterable[Path]) -> None:
    for path in (folder / file for file in files):
        if path.is_dir():
            raise IsADirectoryError(0, f"'{path}' is a folder, and a file of that name is to be written")
        if not (above := _existing(path.parent)).is_dir():
            raise NotADirectoryError(0, f"'{above}' is a file, and a folder of that name is to be written")


def _publish(stage: Path, folder: Path, backup: Path, stale: Iterable[Path]) -> None:
    """Move every file of the stage into the folder; when one cannot be moved, put back what was there."""
    found = (path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
    files = sorted(found, key=lambda path: (path.suffix != ".data", path))  # what is read comes before who reads it
    _check_places(folder, files)
    with ExitStack() as undo:
        for file in files:
            target, held = folder / file, backup / file
            _make_folder(target.parent, undo)
            if target.exists():
                _keep(target, held)
                undo.callback(os.replace, held, target)
            else:
                undo.callback(target.unlink, missing_ok=True)
            os.replace(stage / file, target)
        for file in set(stale).difference(files):
            _keep(folder / file, backup / file)
            undo.callback(os.replace, backup / file, folder / file)
            (folder / file).unlink()
        undo.pop_all()


def _keep(target: Path, held: Path) -> None:
    """A second name for what is there, or a copy where the file system has no links."""
    held.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(target, held)
    except OSError:
        shutil.copy2(target, held)


def _make_folder(folder: Path, undo: ExitStack) -> None:
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir()
            undo.callback(_remove_empty, path)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
