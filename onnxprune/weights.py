"""The data of tensors: read lazily, memory-mapped where it stands in a file of its own, and only after a check."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from onnxprune.errors import ModelError
from onnxprune.external import is_external, opened
from onnxprune.node import Array
from onnxprune.sizes import nbytes

__all__ = ["array", "blocks", "chunks", "inlined", "raw"]

CHUNK = 2**22  # bytes that are read or worked on at once


def array(tensor: onnx.TensorProto) -> Array:
    """The value of a tensor, read-only, of numpy's or ml_dtypes' type; external data is memory-mapped."""
    if is_external(tensor):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        if (size := math.prod(shape)) and nbytes(tensor) == size * dtype.itemsize:
            with opened(tensor) as stream:
                return np.memmap(stream, dtype, mode="r", offset=stream.tell(), shape=shape)
        tensor = inlined(tensor)
    try:
        value = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(f"tensor '{tensor.name}' does not hold what its shape and type say: {error}") from error
    value.flags.writeable = False
    return value


def chunks(tensor: onnx.TensorProto) -> Iterator[bytes]:
    """The external data of a tensor, a few megabytes at a time."""
    left = nbytes(tensor)
    with opened(tensor) as stream:
        while left:
            if not (data := stream.read(min(left, CHUNK))):
                raise ModelError(f"the data of tensor '{tensor.name}' ended too soon: its file was changed meanwhile")
            left -= len(data)
            yield data


def raw(tensor: onnx.TensorProto) -> Iterable[bytes]:
    """The data as it stands in files, the same wherever and in whatever field the tensor keeps it."""
    if is_external(tensor):
        return chunks(tensor)
    if tensor.data_type == onnx.TensorProto.STRING:  # never in a file: for a hash
        return [repr(list(tensor.string_data)).encode()]
    whole = tensor if tensor.HasField("raw_data") else numpy_helper.from_array(array(tensor))
    return [whole.raw_data]


def inlined(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The tensor with its external data read into it; itself when it has none."""
    if not is_external(tensor):
        return tensor
    data = b"".join(chunks(tensor))
    return onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=data)


def blocks(value: Array) -> Iterator[slice]:
    """Slices of the first axis that together are all of it, each a few megabytes: what work on copies goes by."""
    step = max(CHUNK // max(value[:1].nbytes, 1), 1)
    yield from (slice(start, start + step) for start in range(0, len(value), step))
