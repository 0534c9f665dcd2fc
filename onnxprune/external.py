"""External data: tensors whose bytes stand in a file of their own.

A file that is read names its data files relative to its folder. ``localise`` checks each and writes down where it is
and which file it was, so that one that is changed or replaced meanwhile is noticed when it is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import onnx

from onnxprune.errors import ModelError
from onnxprune.sizes import nbytes

__all__ = ["check_located", "check_unchanged", "entries", "is_external", "localise", "opened", "place"]


MOST = 200  # characters of a path in a message


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the data stands in a file of its own."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def entries(tensor: onnx.TensorProto) -> dict[str, str]:
    """What the tensor says of its external data."""
    return {e.key: e.value for e in tensor.external_data}


def place(tensor: onnx.TensorProto, **said: object) -> None:
    """Let the tensor's data stand elsewhere: ``location``, ``offset`` and ``length``, perhaps with an ``identity``."""
    for field in ("raw_data", "external_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in said.items():
        tensor.external_data.add(key=key, value=str(value))


def localise(tensor: onnx.TensorProto, folder: Path) -> None:
    """Make the location of external data absolute, after checking that it is where it says it is."""
    said = entries(tensor)
    where = f"external data of '{tensor.name}' ({said.get('location', '')[:MOST]!r})"
    path = _resolved(folder, said.get("location", ""), where)
    offset, size = _extent(tensor, said, where)
    try:
        status = path.stat() if path.is_file() else None
    except OSError as error:
        raise ModelError(f"{where} cannot be read ({error.strerror or error}): copy it beside the model") from error
    if status is None:
        raise ModelError(f"{where} is missing: copy it beside the model")
    if min(offset, size) < 0 or status.st_size < offset + size:
        raise ModelError(f"{where} is shorter than declared: {size} bytes wanted at {offset}; copy the whole file")
    place(tensor, location=path, offset=offset, length=size, identity=_identity(status))


def _resolved(folder: Path, location: str, where: str) -> Path:
    """The path of a file below the folder, links followed."""
    try:
        path, root = (folder / location).resolve(), folder.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise ModelError(f"{where} is no path ({error}): refused; export the model again") from error
    if os.path.isabs(location) or not path.is_relative_to(root):
        why = "is an absolute path" if path.is_relative_to(root) else "lies outside the model's folder"
        raise ModelError(f"{where} {why}: refused; put the file beside the model, and its bare name into the model")
    return path


def _extent(tensor: onnx.TensorProto, said: dict[str, str], where: str) -> tuple[int, int]:
    """Where in its file the data begins, and how long it is by shape and type, which is what it must say itself."""
    try:
        offset, size = int(said.get("offset", 0)), nbytes(tensor)
        length = int(said.get("length", size))
    except (KeyError, ValueError) as error:
        raise ModelError(f"{where} has no sound type, offset or length: {error}; export the model again") from error
    if tensor.data_type == onnx.TensorProto.STRING or min(tensor.dims, default=0) < 0:
        raise ModelError(f"{where} is text or has a negative size: refused; export the model again")
    if length != size:
        shape = list(tensor.dims)
        raise ModelError(f"{where} is {length} bytes long, its shape {shape} wants {size}; export the model again")
    return offset, size


def check_located(tensor: onnx.TensorProto) -> None:
    """Raise ModelError for external data that ``localise`` has not looked for, or that is no longer what it was."""
    said = entries(tensor)
    if not os.path.isabs(location := said.get("location", "")) or "identity" not in said:
        raise ModelError(
            f"external data of '{tensor.name}' ('{location}'): its folder is not known; load the model by its path"
        )
    check_unchanged(tensor)


def check_unchanged(tensor: onnx.TensorProto) -> None:
    """Raise ModelError when the file of located external data is no longer the one that was looked at."""
    opened(tensor).close()


def opened(tensor: onnx.TensorProto) -> BinaryIO:
    """The file of located external data, at the place where it begins.

    Raises ModelError when the file is no longer the one that was looked at.
    """
    said = entries(tensor)
    where = f"external data of '{tensor.name}' ('{said['location']}')"
    try:
        stream = open(said["location"], "rb")  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        raise ModelError(f"{where} cannot be read ({error.strerror or error}): load the model again") from error
    if said.get("identity") not in (None, _identity(os.fstat(stream.fileno()))):
        stream.close()
        raise ModelError(f"{where} was changed while it was in use; load the model again")
    stream.seek(int(said["offset"]))
    return stream


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
