"""QuantizeLinear and DequantizeLinear, written out: TVM rounds halves away from zero, and hides weights from layers."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper

from onnxprune.backends.lowering.site import Site

__all__ = ["dequantize", "quantize"]


def quantize(site: Site) -> None:
    """Written out: what lies midway between two numbers goes to the even one."""
    _refuse_blocks(site)
    x, scale, zero = site.input(0), site.input(1), site.input(2)
    real, whole = site.dtype(x), site.dtype(site.output(0))
    if real != np.float32 or whole.name not in ("int8", "uint8", "int16", "uint16"):
        return
    ends = np.iinfo(whole)
    y = site.emit("Round", site.emit("Div", x, _along(site, scale)))
    if zero:
        y = site.emit("Add", y, _as_float(site, _along(site, zero)))
    y = site.emit("Clip", y, *(site.constant(end, np.float32) for end in (ends.min, ends.max)))
    site.write(0, site.emit("Cast", y, to=helper.np_dtype_to_tensor_dtype(whole)))


def dequantize(site: Site) -> None:
    """Written out; of constants, once and for all: layers want to know their weights."""
    _refuse_blocks(site)
    x, scale, zero = site.input(0), site.input(1), site.input(2)
    if site.dtype(site.output(0)) != np.float32 or site.dtype(x).kind not in "iu":
        return
    y = _as_float(site, x)
    if zero:
        y = site.emit("Sub", y, _as_float(site, _along(site, zero)))
    site.write(0, site.emit("Mul", y, _along(site, scale)))


def _refuse_blocks(site: Site) -> None:
    if site.attribute("block_size", 0):
        raise ValueError("it quantises in blocks")


def _as_float(site: Site, x: str) -> str:
    return site.emit("Cast", x, to=onnx.TensorProto.FLOAT)


def _along(site: Site, name: str) -> str:
    """A scale or zero point, one number per slot of the axis, in a shape that broadcasts."""
    if math.prod(site.shape(name)) == 1:
        return site.reshape(name, []) if site.shape(name) else name
    rank, axis = len(site.shape(site.input(0))), site.attribute("axis", 1)
    return site.reshape(name, [-1 if dim == axis % rank else 1 for dim in range(rank)])
