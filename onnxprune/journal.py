"""Replacing several files as if at once: until the last is in place, what was there can be put back.

A rename replaces one file, never two. So the folder of a draft first gets a journal: links to the files that will be
replaced, and the names of what was not there. One rename puts the journal in force, one takes it out of force. Whoever
finds a journal in force, the run itself after an error or the next one after a kill, puts back what was there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["files_in", "replace_all", "restore", "within"]

HELD, IN_FORCE, DONE = "held", "undo", "done"
FILES, ABSENT = "files", "absent.json"


def replace_all(stage: Path, files: Sequence[Path], stale: Sequence[Path]) -> None:
    """Move the ``files`` (relative paths) of ``stage`` to the folder of its draft; the ``stale`` ones go from there."""
    draft = stage.parent
    folder = draft.parent
    places = [*dict.fromkeys(above for file in files for above in reversed(file.parents[:-1])), *files]
    _keep(folder, [*files, *stale], draft / HELD)
    (draft / HELD / ABSENT).write_text(json.dumps([str(p) for p in places if not os.path.lexists(folder / p)]))
    for path in (*(stage / file for file in files), draft / HELD / ABSENT):
        _sync(path)
    try:
        os.rename(draft / HELD, draft / IN_FORCE)
        for file in files:
            (folder / file).parent.mkdir(exist_ok=True, parents=True)
            os.replace(stage / file, folder / file)
        for file in stale:
            (folder / file).unlink(missing_ok=True)
        os.rename(draft / IN_FORCE, draft / DONE)
    except BaseException:
        restore(draft)
        raise


def restore(draft: Path) -> None:
    """Put back what was there, where a journal is in force; it can be broken off and begun again."""
    journal, folder = draft / IN_FORCE, draft.parent
    if not journal.is_dir():
        return
    for file in files_in(journal / FILES):
        if within(folder, file):
            (folder / file).parent.mkdir(exist_ok=True, parents=True)
            os.replace(journal / FILES / file, folder / file)
    for name in reversed(_absent(journal)):
        if within(folder, name):
            _remove(folder / name)
    os.rename(journal, draft / DONE)


def within(folder: Path, file: str | Path) -> bool:
    """Whether a relative path leads to a place in the folder: a journal may be anybody's who packed the folder."""
    return Path(os.path.realpath((folder / file).parent)).is_relative_to(os.path.realpath(folder))


def _absent(journal: Path) -> list[str]:
    try:
        names = json.loads((journal / ABSENT).read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def files_in(folder: Path) -> list[Path]:
    """All files below a folder; what others speak of comes before them: libraries and data, model, report."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(found, key=lambda file: (-len(file.parts), file.suffix != ".data", file))


def _keep(folder: Path, files: Sequence[Path], held: Path) -> None:
    for file in files:
        if os.path.lexists(folder / file):
            copy = held / FILES / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(folder / file, copy, follow_symlinks=False)
            except OSError:  # not every file system has links
                shutil.copy2(folder / file, copy, follow_symlinks=False)
    held.mkdir(exist_ok=True)


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        return path.unlink(missing_ok=True)
    with suppress(OSError):  # somebody else put something there
        path.rmdir()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
