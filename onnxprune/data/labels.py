"""Labels for files: from the names of sub-folders, or from a CSV file of file names and labels."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from onnxprune.errors import UsageError

__all__ = ["NO_LABELS", "labels_for"]

NO_LABELS = "off"  # in place of a file: sub-folders are no classes

log = logging.getLogger(__name__)

Label = int | float


def labels_for(folder: Path, files: Sequence[str], given: str | Path | None) -> list[Label] | None:
    """A label for each file (a path below ``folder``): from the CSV file ``given``, else from sub-folders, else None.

    Names count in their sorted order; where all of them are numbers, they are the labels.
    """
    if given is not None and str(given) != NO_LABELS:
        return _from_csv(Path(given), files)
    return None if given is not None else _from_folders(folder, files)


def _from_folders(folder: Path, files: Sequence[str]) -> list[Label] | None:
    """Two sub-folders or more are classes, those without a file included."""
    tops = [PurePosixPath(file).parts[0] if "/" in file else None for file in files]
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if len(names) < 2 or not any(tops):
        return None
    if None in tops:
        stray = files[tops.index(None)]
        way_out = f"move it into one, or say --labels {NO_LABELS}"
        raise UsageError(f"'{folder}': '{stray}' lies beside the sub-folders that name the classes; {way_out}")
    numbers = _numbered(names)
    return [numbers[top] for top in tops if top is not None]


def _numbered(names: Iterable[str]) -> dict[str, Label]:
    unique = sorted(set(names))
    for kind in (int, float):
        try:
            return {name: kind(name) for name in unique}
        except ValueError:
            continue
    log.info("classes: %s", ", ".join(f"{number} {name}" for number, name in enumerate(unique)))
    return {name: number for number, name in enumerate(unique)}


def _from_csv(path: Path, files: Sequence[str]) -> list[Label]:
    rows = _rows(path)
    keys = [next((key for key in _keys(file) if key in rows), None) for file in files]
    if None in keys:
        missing = files[keys.index(None)]
        raise UsageError(f"'{path}': no label for the file '{missing}'; add a row '{missing},LABEL'")
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise UsageError(f"'{path}': '{twice[0]}' fits several files; write paths below the folder")
    first = next(iter(rows))
    if first not in keys:  # a header, or a file of another folder
        rows = {key: label for key, label in rows.items() if key != first}
    numbers = _numbered(rows.values())
    return [numbers[rows[key]] for key in keys if key is not None]


def _keys(file: str) -> Iterable[str]:
    """What a row may call a file: its path below the folder, its name, or its name without suffix."""
    path = PurePosixPath(file)
    return file, path.name, path.stem


def _rows(path: Path) -> dict[str, str]:
    rows: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.reader(stream, strict=True), start=1):
                if not row:
                    continue
                if len(row) != 2 or not all(cell.strip() for cell in row):
                    raise UsageError(f"'{path}': line {number} is not 'FILE,LABEL'; write two columns")
                name, label = (cell.strip() for cell in row)
                if rows.setdefault(name.removeprefix("./"), label) != label:
                    raise UsageError(f"'{path}': line {number} gives '{name}' another label; give it one")
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"'{path}': cannot read the labels ({error}); write a CSV of lines 'FILE,LABEL'") from error
    if not rows:
        raise UsageError(f"'{path}': there are no labels in it; write lines 'FILE,LABEL'")
    return rows
