"""Whole arrays [samples, ...]: in memory, or in an .npz or .npy file of which only what is needed is read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from onnxprune.data.columns import Column, File, Spool, Stored
from onnxprune.errors import UsageError, unknown
from onnxprune.node import Array, Shape

__all__ = ["DAMAGED", "LABELS", "by_name", "from_mapping", "from_npy", "from_npz", "plain", "shown"]

LABELS = "labels"
DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
BLOCK = 1 << 20


def from_mapping(where: str, source: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, Column]:
    """The arrays of a mapping, as they are."""
    return {name: plain(where, name, source[name]) for name in by_name(where, source, inputs)}


def from_npz(path: Path, inputs: Sequence[str]) -> dict[str, Column]:
    """The arrays of an archive, each unpacked into a temporary file."""
    where = f"'{path}'"
    try:
        archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
    except DAMAGED as error:
        raise UsageError(f"{where}: cannot be read ({error}); write it again with numpy.savez_compressed") from error
    if archive is None:
        raise UsageError(f"{where}: not an .npz file, or cut off; write it with numpy.savez_compressed")
    with archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        return {name: _member(where, archive, name, members[name]) for name in by_name(where, members, inputs)}


def _member(where: str, archive: zipfile.ZipFile, name: str, member: str) -> Column:
    try:
        with archive.open(member) as stream:
            if (header := _header(stream)) is not None:
                return _unpacked(stream, *header)
        with archive.open(member) as stream:
            return _locked(npy.read_array(stream, allow_pickle=False))
    except DAMAGED as error:
        way_out = "write the file again with numpy.savez_compressed, from plain arrays of numbers"
        raise UsageError(f"{where}: array '{name}' cannot be read ({error}); {way_out}") from error


def _unpacked(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
    left = prod(shape) * dtype.itemsize
    with Spool() as spool:
        while block := stream.read(BLOCK):
            spool.write(block)
            left -= len(block)
        if left:
            raise EOFError(f"it holds {abs(left)} bytes too {'few' if left > 0 else 'many'}")
        return spool.column(shape, dtype) if shape else _locked(spool.column((1,), dtype)[np.arange(1)].reshape(()))


def from_npy(path: Path) -> Column:
    """The array of a file, of which samples are read where they are needed."""
    where = f"'{path}'"
    try:
        with path.open("rb") as stream:
            header, offset = _header(stream), stream.tell()
            if header is None or not header[0]:
                stream.seek(0)
                return _locked(npy.read_array(stream, allow_pickle=False))
            shape, dtype = header
            file = File(stream, where)
            if file.stamp[0] - offset < prod(shape) * dtype.itemsize:
                raise EOFError("it is cut off")
            return Stored(file, shape, dtype, offset)
    except DAMAGED as error:
        way_out = "write it again with numpy.save, from a plain array of numbers"
        raise UsageError(f"{where}: cannot be read ({error}); {way_out}") from error


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and type of the array that begins here in the order of C; None for another order or version."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if (reader := readers.get(npy.read_magic(stream))) is None:
        return None
    shape, fortran, dtype = reader(stream)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("Object arrays cannot be read" if dtype.hasobject else f"it claims the shape {shape}")
    return None if fortran and len(shape) > 1 else (shape, dtype)


def _locked(array: Array) -> Array:
    array.flags.writeable = False
    return array


def by_name(where: str, given: Iterable[str], inputs: Sequence[str]) -> list[str]:
    """The names of the arrays to read: the graph's inputs in their order, then labels; raises before any is read."""
    held = set(given)
    if extra := sorted(held - {*inputs, LABELS}):
        way_out = f"rename or remove the array (class indices go under '{LABELS}')"
        raise UsageError(f"{where}: {unknown('graph input', extra[0], inputs)}; {way_out}")
    if missing := [name for name in inputs if name not in held]:
        holds = ", ".join(sorted(held)) or "nothing"
        raise UsageError(f"{where}: no array for the graph input '{missing[0]}' (there is {holds}); add one")
    return list(dict.fromkeys([*inputs, *sorted(held)]))


def plain(where: str, name: str, value: Any) -> Array:
    """A read-only view of the value as an array of numbers or texts."""
    try:
        array = np.asarray(value).view()
    except ValueError as error:
        raise UsageError(f"{where}: array '{name}' is ragged; every sample must have the same shape") from error
    if array.dtype.hasobject:
        raise UsageError(f"{where}: array '{name}' holds Python objects; give a plain array of numbers")
    return _locked(array)


def shown(shape: Shape | None) -> str:
    """A shape for a message: ``N×3×224×224``."""
    if shape is None:
        return "tensors of any rank"
    return "×".join("?" if size is None else str(size) for size in shape) or "a single number"
