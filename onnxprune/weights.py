"""The data of tensors: read lazily, memory-mapped where it stands in a file of its own, and only after a check."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from onnxprune.errors import ModelError
from onnxprune.node import Array

__all__ = ["TWO_GB", "array", "check_located", "inlined", "is_external", "localise", "stored_bits"]


TWO_GB = 2**31 - 2**20  # protobuf's limit, with room for the envelope


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the data stands in a file of its own."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def localise(tensor: onnx.TensorProto, folder: Path) -> None:
    """Make the location of external data absolute, after checking that it is where it says it is."""
    entries = {e.key: e.value for e in tensor.external_data}
    path = (folder / entries.get("location", "")).resolve()
    where = f"external data of '{tensor.name}' ({entries.get('location')!r})"
    if not path.is_relative_to(folder.resolve()):
        raise ModelError(f"{where} lies outside the model's folder: refused; move the file beside the model")
    if not path.is_file():
        raise ModelError(f"{where} is missing: copy it beside the model")
    try:
        offset, size = int(entries.get("offset", 0)), _nbytes(tensor)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{where} has no sound type or offset: {error}") from error
    if min(offset, size) < 0 or path.stat().st_size < offset + size:
        raise ModelError(f"{where} is shorter than declared: {size} bytes wanted at {offset}")
    del tensor.external_data[:]
    for key, value in (("location", str(path)), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def check_located(tensor: onnx.TensorProto) -> None:
    """Raise ModelError for external data that ``localise`` has not looked for."""
    location = {e.key: e.value for e in tensor.external_data}.get("location", "")
    if not os.path.isabs(location):
        raise ModelError(
            f"external data of '{tensor.name}' ('{location}'): its folder is not known; load the model by its path"
        )


def _nbytes(tensor: onnx.TensorProto) -> int:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return -int(-math.prod(tensor.dims) * stored_bits(dtype) // 8)


def stored_bits(dtype: np.dtype[Any]) -> int:
    """The bits that one element takes in a file: types narrower than a byte are packed there."""
    narrow = re.fullmatch(r"u?int([24])|float([46])_.*", dtype.name)
    return int(narrow[1] or narrow[2]) if narrow else 8 * dtype.itemsize


def array(tensor: onnx.TensorProto) -> Array:
    """The value of a tensor, read-only, of numpy's or ml_dtypes' type; external data is memory-mapped."""
    if is_external(tensor):
        entries = {e.key: e.value for e in tensor.external_data}
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        size, packed = math.prod(shape), _nbytes(tensor)
        if size and packed == size * dtype.itemsize:
            return np.memmap(entries["location"], dtype, mode="r", offset=int(entries["offset"]), shape=shape)
        tensor = inlined(tensor)
    try:
        value = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(f"tensor '{tensor.name}' does not hold what its shape and type say: {error}") from error
    value.flags.writeable = False
    return value


def inlined(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The tensor with its external data read into it; itself when it has none."""
    if not is_external(tensor):
        return tensor
    entries = {e.key: e.value for e in tensor.external_data}
    with open(entries["location"], "rb") as stream:
        stream.seek(int(entries["offset"]))
        data = stream.read(int(entries["length"]))
    return onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=data)
