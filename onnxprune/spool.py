"""Large weights that were edited: each is kept in a file, as are those of a large model, and not in memory.

The files lie in one folder for the process, below ``$TMPDIR``. A file goes when nobody holds its weight any more, the
folder, a draft, with the process.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import tempfile
import weakref
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnxprune.drafts import draft
from onnxprune.external import place
from onnxprune.node import Array
from onnxprune.sizes import stored_bits
from onnxprune.weights import array

__all__ = ["LARGE", "Weight", "resting", "stored"]

LARGE = 2**20  # bytes: what is smaller stays in memory

log = logging.getLogger(__name__)
_numbers = itertools.count()


class _File:
    """A path that is removed when nobody holds this object any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        weakref.finalize(self, _remove, path, os.getpid())


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant as protobuf, with the file that its data stands in, if it was put there by ``stored``."""

    proto: onnx.TensorProto
    file: _File | None = None

    def value(self) -> Array:
        """The data, read-only; memory-mapped where it stands in a file."""
        return array(self.proto)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process by value where the file is this one's."""
        if self.file is None:
            return Weight, (self.proto,)
        return stored, (self.proto.name, np.asarray(self.value()))


def stored(name: str, value: Array) -> Weight:
    """A weight of that value; a large one goes into a file, unless none can be written."""
    value = np.asarray(value, order="C")
    if value.nbytes >= LARGE and value.dtype != object and stored_bits(value.dtype) == 8 * value.dtype.itemsize:
        try:
            file = _written(value)
        except OSError as error:
            log.warning("'%s' stays in memory, no temporary file (%s); set TMPDIR to another folder", name, error)
        else:
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            proto = onnx.TensorProto(name=name, dims=value.shape, data_type=kind)
            place(proto, location=file.path, offset=0, length=value.nbytes)
            return Weight(proto, file)
    return Weight(numpy_helper.from_array(value, name))


def resting(value: Array) -> Array:
    """The same value, read-only and memory-mapped from a file of its own when it is large."""
    return value if value.nbytes < LARGE else stored("", value).value()


def _written(value: Array) -> _File:
    file = _File(_folder(os.getpid()) / f"{next(_numbers)}")
    with file.path.open("xb") as stream:
        stream.write(value.reshape(-1).view(np.uint8).data)
    return file


@cache
def _folder(owner: int) -> Path:
    """The folder of the process ``owner``: a draft for as long as it lives."""
    held = draft(Path(tempfile.gettempdir()))
    path = held.__enter__()
    atexit.register(_dissolve, held, owner)
    return path


def _remove(path: Path, owner: int) -> None:
    with suppress(OSError):
        if os.getpid() == owner:  # a fork removes nothing
            path.unlink()


def _dissolve(held: AbstractContextManager[Path], owner: int) -> None:
    if os.getpid() == owner:
        held.__exit__(None, None, None)
