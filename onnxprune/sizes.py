"""How much room tensors take, and whether they hold what they claim: told from shapes and types alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx

from onnxprune.errors import ModelError

__all__ = ["SMALL", "TWO_GB", "check_sound", "check_sparse", "nbytes", "stored_bits", "weigh"]

TWO_GB = 2**31 - 2**20  # protobuf's limit, with room for the envelope
SMALL = 1024  # bytes: constants up to here may hold shapes and stay in the graph
COMPLEX = (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)


def stored_bits(dtype: np.dtype[Any]) -> int:
    """The bits that one element takes in a file: types narrower than a byte are packed there."""
    narrow = re.fullmatch(r"u?int([24])|float([46])_.*", dtype.name)
    return int(narrow[1] or narrow[2]) if narrow else 8 * dtype.itemsize


def nbytes(tensor: onnx.TensorProto) -> int:
    """The bytes that the data takes in a file, by shape and type; raises KeyError for no known type."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    return -int(-math.prod(tensor.dims) * stored_bits(_dtype(tensor)) // 8)


def weigh(tensors: Iterable[onnx.TensorProto]) -> int:
    """The bytes of all of them, wherever they stand."""
    return sum(map(nbytes, tensors))


def check_sound(tensor: onnx.TensorProto) -> None:
    """Raise ModelError where the data is not what shape and type say, before anything of that size is made."""
    _check_claim(tensor.name, tensor, tensor.data_type)
    if tensor.HasField("segment"):
        raise ModelError(f"tensor '{tensor.name}' is one of several segments: write it whole")
    if (held := _held(tensor)) != (wanted := _wanted(tensor)):
        size = "small" if held < wanted else "large"
        raise ModelError(
            f"the data of tensor '{tensor.name}' is too {size} for its shape {list(tensor.dims)}: {held} where {wanted}"
            " are wanted; the file is damaged, export the model again"
        )


def check_sparse(tensor: onnx.SparseTensorProto) -> None:
    """Raise ModelError for a sparse tensor that nobody could write out in full: onnxruntime does."""
    name, kind = tensor.values.name, tensor.values.data_type
    _check_claim(name, tensor, kind)
    if (size := nbytes(onnx.TensorProto(dims=tensor.dims, data_type=kind))) >= TWO_GB:
        raise ModelError(f"sparse tensor '{name}' stands for {size} bytes: refused; give it in smaller parts")


def _check_claim(name: str, tensor: onnx.TensorProto | onnx.SparseTensorProto, kind: int) -> None:
    dims, known = list(tensor.dims), kind in onnx.TensorProto.DataType.values()
    if kind == onnx.TensorProto.UNDEFINED or not known or min(dims, default=0) < 0:
        why = f"the type {kind}, which is none" if min(dims, default=0) >= 0 else f"a negative size in {dims}"
        raise ModelError(f"tensor '{name}' has {why}: the file is damaged, export the model again")


def _held(tensor: onnx.TensorProto) -> int:
    """The bytes of raw data, else the entries of the field for the type."""
    field = "raw_data" if tensor.HasField("raw_data") else onnx.helper.tensor_dtype_to_field(tensor.data_type)
    return len(getattr(tensor, field))


def _wanted(tensor: onnx.TensorProto) -> int:
    """As many as shape and type want."""
    if tensor.HasField("raw_data"):
        return nbytes(tensor)
    count: int = math.prod(tensor.dims) * (2 if tensor.data_type in COMPLEX else 1)
    bits = 8 if tensor.data_type == onnx.TensorProto.STRING else stored_bits(_dtype(tensor))
    return -(-count * bits // 8) if bits < 8 else count


def _dtype(tensor: onnx.TensorProto) -> np.dtype[Any]:
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
