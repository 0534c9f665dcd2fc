"""Folders: images, or .npy or .npz files, each a sample or a batch; one sub-folder per input, or one per class."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from onnxprune.data.arrays import DAMAGED
from onnxprune.data.columns import Column
from onnxprune.data.images import SUFFIXES, Canvas
from onnxprune.data.labels import labels_for
from onnxprune.data.pieces import Piece, Samples, gather
from onnxprune.data.preprocess import Preprocess
from onnxprune.errors import UsageError
from onnxprune.node import Array, Tensor

__all__ = ["IMAGES", "from_folder"]

log = logging.getLogger(__name__)

IMAGES, NPY, NPZ = "images", ".npy files", ".npz files"


@dataclass(frozen=True)
class _Files:
    """The files of a folder: paths below it of one kind, in sorted order, and those of no kind."""

    folder: Path
    kind: str
    names: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Reader:
    """How the files of one graph input become a column: each is loaded, and all together are finished."""

    load: Callable[[Path], Array]
    finish: Callable[[Column], Column]


def from_folder(
    folder: Path, inputs: Sequence[Tensor], how: Preprocess | None, labels: str | Path | None = None
) -> Samples:
    """The samples of a folder, in the order of their sorted names; raises UsageError for what does not fit."""
    where = f"'{folder}'"
    parts = {t.name: folder / t.name for t in inputs}
    if all(part.is_dir() and part.parent == folder for part in parts.values()):
        return _by_input(where, {name: _listed(part) for name, part in parts.items()}, inputs, how, labels)
    files = _listed(folder)
    if files.kind == NPZ:
        pieces = ((name, _archive(folder / name)) for name in files.names)
        return _gathered(where, files, pieces, inputs, labels)
    if len(inputs) != 1:
        names = ", ".join(f"'{t.name}'" for t in inputs)
        raise UsageError(f"{where}: {files.kind} hold one input, the graph reads {names}; make a sub-folder for each")
    return _by_input(where, {inputs[0].name: files}, inputs, how, labels)


def _by_input(
    where: str,
    files: Mapping[str, _Files],
    inputs: Sequence[Tensor],
    how: Preprocess | None,
    labels: str | Path | None,
) -> Samples:
    first, *others = files.values()
    for other in others:
        _check_partners(first, other)
    readers = {t.name: _reader(where, t, files[t.name].kind, how) for t in inputs}
    together = zip(*(each.names for each in files.values()), strict=True)
    pieces = (
        (names[0], {t: readers[t].load(files[t].folder / name) for t, name in zip(files, names, strict=True)})
        for names in together
    )
    samples = _gathered(where, first, pieces, inputs, labels)
    kind = IMAGES if any(each.kind == IMAGES for each in files.values()) else first.kind
    left_out = tuple(name for each in files.values() for name in each.left_out)
    columns = {name: readers[name].finish(column) for name, column in samples.columns.items()}
    return replace(samples, columns=columns, kind=kind, left_out=left_out)


def _gathered(
    where: str,
    files: _Files,
    pieces: Iterator[tuple[str, Mapping[str, Array]]],
    inputs: Sequence[Tensor],
    labels: str | Path | None,
) -> Samples:
    if files.left_out:
        log.info("%s: left out, being no samples: %s", where, ", ".join(files.left_out))
    marks: Sequence[object] = labels_for(files.folder, files.names, labels) or [None] * len(files.names)
    marked = (Piece(name, arrays, mark) for (name, arrays), mark in zip(pieces, marks, strict=True))
    return replace(gather(where, marked, inputs), kind=files.kind, left_out=files.left_out)


def _reader(where: str, tensor: Tensor, kind: str, how: Preprocess | None) -> _Reader:
    if kind == IMAGES:
        canvas = Canvas.of(where, tensor, how)
        return _Reader(canvas.pixels, canvas.numbers)
    if kind == NPZ:
        raise UsageError(f"{where}: .npz files hold all inputs at once; put them into one folder, without sub-folders")
    return _Reader(_array, lambda column: column)


def _listed(folder: Path) -> _Files:
    """The files of one kind in a folder and below; raises UsageError where there are none, or several kinds."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(_walk(folder)):
        suffix = PurePosixPath(name).suffix.lower()
        kind = IMAGES if suffix in SUFFIXES else {".npy": NPY, ".npz": NPZ}.get(suffix, "")
        kinds.setdefault(kind, []).append(name)
    left_out = tuple(kinds.pop("", []))
    if len(kinds) > 1:
        held = " and ".join(f"{kind} ('{names[0]}')" for kind, names in kinds.items())
        raise UsageError(f"'{folder}': there are {held} in it; keep one kind of samples in a folder")
    if not kinds:
        held = f" (there is '{left_out[0]}')" if left_out else ""
        way_out = f"it takes .npy, .npz or images ({', '.join(sorted(SUFFIXES))})"
        raise UsageError(f"'{folder}': there are no samples in it{held}; {way_out}")
    ((kind, names),) = kinds.items()
    return _Files(folder, kind, tuple(names), left_out)


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder, hidden ones left out; links are followed, each folder once."""
    seen = set()

    def fail(error: OSError) -> None:
        raise UsageError(f"'{error.filename}': cannot be read ({error.strerror}); allow it, or take it out") from error

    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        base = Path(place).relative_to(folder)
        yield from ((base / name).as_posix() for name in files if not name.startswith("."))


def _check_partners(first: _Files, other: _Files) -> None:
    """Refuse folders of two inputs whose files do not have the same names, suffixes aside."""
    mine, theirs = ({str(PurePosixPath(name).with_suffix("")): name for name in f.names} for f in (first, other))
    for here, there, names in ((first, other, mine.keys() - theirs), (other, first, theirs.keys() - mine)):
        if names:
            lone = sorted(names)[0]
            raise UsageError(f"'{here.folder}': '{lone}' has no partner in '{there.folder}'; name files alike in both")


def _array(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except DAMAGED as error:
        way_out = "write it again with numpy.save, from a plain array of numbers"
        raise UsageError(f"'{path}': cannot be read ({error}); {way_out}") from error


def _archive(path: Path) -> Mapping[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (*DAMAGED, AttributeError, TypeError) as error:  # an .npy or a pickle under that name
        way_out = "write it again with numpy.savez, from plain arrays of numbers"
        raise UsageError(f"'{path}': cannot be read ({error}); {way_out}") from error
