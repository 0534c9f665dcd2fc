"""Where samples come from: a source in, one plain read-only array per name out. A new kind of source goes here."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onnxprune.errors import UsageError, unknown
from onnxprune.node import Array

__all__ = ["LABELS", "Source", "read"]

Source: TypeAlias = str | Path | Mapping[str, npt.ArrayLike]

LABELS = "labels"
DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def read(source: Source, inputs: Sequence[str]) -> tuple[str, dict[str, Array]]:
    """What to call the source in messages, and its arrays: the graph's ``inputs`` in their order, then ``labels``.

    Raises UsageError when it cannot be read or holds other names; shapes and dtypes are not looked at.
    """
    match source:
        case str() | Path():
            return f"'{source}'", _npz(Path(source), inputs)
        case Mapping():
            where = "the data"
            return where, {name: _plain(where, name, source[name]) for name in _names(where, source, inputs)}
        case _:
            kind = type(source).__name__
            raise UsageError(f"cannot read samples from a {kind}; give an .npz file or a mapping of names to arrays")


def _npz(path: Path, inputs: Sequence[str]) -> dict[str, Array]:
    where = f"'{path}'"
    if not path.is_file():
        raise UsageError(f"{where}: no such file; give an .npz with an array for each graph input")
    try:
        archive = np.load(path, allow_pickle=False) if zipfile.is_zipfile(path) else None
    except DAMAGED as error:
        raise UsageError(f"{where}: cannot be read ({error}); write it again with numpy.savez_compressed") from error
    if archive is None:
        raise UsageError(f"{where}: not an .npz file, or cut off; write it with numpy.savez_compressed")
    with archive:
        return {name: _member(where, archive, name) for name in _names(where, archive.files, inputs)}


def _member(where: str, archive: Mapping[str, Array], name: str) -> Array:
    try:
        return _plain(where, name, archive[name])
    except DAMAGED as error:
        way_out = "write the file again with numpy.savez_compressed, from plain arrays of numbers"
        raise UsageError(f"{where}: array '{name}' cannot be read ({error}); {way_out}") from error


def _names(where: str, given: Iterable[str], inputs: Sequence[str]) -> list[str]:
    """The names of the arrays to read; raises before any of them is."""
    held = set(given)
    if not inputs:
        raise UsageError(f"{where}: the graph has no inputs, so samples are of no use to it")
    if extra := sorted(held - {*inputs, LABELS}):
        way_out = f"rename or remove the array (class indices go under '{LABELS}')"
        raise UsageError(f"{where}: {unknown('graph input', extra[0], inputs)}; {way_out}")
    if missing := [name for name in inputs if name not in held]:
        holds = ", ".join(sorted(held)) or "nothing"
        raise UsageError(f"{where}: no array for the graph input '{missing[0]}' (there is {holds}); add one")
    return list(dict.fromkeys([*inputs, *sorted(held)]))


def _plain(where: str, name: str, value: npt.ArrayLike) -> Array:
    try:
        array = np.asarray(value).view()
    except ValueError as error:
        raise UsageError(f"{where}: array '{name}' is ragged; every sample must have the same shape") from error
    if array.dtype.hasobject:
        raise UsageError(f"{where}: array '{name}' holds Python objects; give a plain array of numbers")
    array.flags.writeable = False
    return array
