"""Weights that take little room in the file and are floats for the layer that reads them.

Where codes and scales are restored by Cast and Mul, onnxruntime does so once, when it loads the model, and runs at the
speed of floats; what a DequantizeLinear restores it restores at every run, or gives to a kernel that reads few bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxprune.axes.linear import Linear
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.quantization.grids import Grid
from onnxprune.quantization.inserting import Codes

__all__ = ["PACKED", "Decoder", "decode", "packed"]

PACKED = {2: (25, "int2"), 3: (21, "int4"), 4: (21, "int4")}  # bits: the first opset that has the type, and the type


@dataclass(frozen=True)
class Decoder:
    """How the numbers are kept: their ``dtype``, and whether ``blocks`` of DequantizeLinear restore them."""

    dtype: str
    dequantize: bool = False


def packed(bits: int, opset: int) -> str:
    """The narrowest type that the opset has for so many bits."""
    since, dtype = PACKED.get(bits, (0, "int8"))
    return dtype if opset >= since else "int8"


def decode(model: Model, view: Linear, codes: Codes | Array, decoder: Decoder) -> None:
    """Let the weight be restored, under its own name, from whole numbers, or from an array of halves."""
    name = view.weight.name
    values = codes.values if isinstance(codes, Codes) else codes
    held = model.fresh_name(f"{name}_stored")
    model.put(held, values.astype(decoder.dtype))
    model.provenance.duplicate(name, held, values.shape)
    model.discard(name)
    if not isinstance(codes, Codes):
        _chain(model, held, name, [])
    elif decoder.dequantize:
        _dequantize(model, held, name, codes.grid, decoder)
    else:
        _chain(model, held, name, _steps(model, held, codes))


def _steps(model: Model, held: str, codes: Codes) -> list[tuple[str, str]]:
    """The operators behind the Cast, with their constants."""
    grid, ones = codes.grid, [1] * codes.values.ndim
    shape = ones if grid.axis is None else [-1 if dim == grid.axis else 1 for dim in range(len(ones))]
    values = [("Sub", "zero_point", grid.zero.astype(np.float32))] if grid.zero.any() else []
    values += [("Mul", "scale", grid.scale)]
    steps = []
    for op, kind, value in values:
        name = model.fresh_name(f"{held}_{kind}")
        model.put(name, value.reshape(shape))
        steps.append((op, name))
    return steps


def _chain(model: Model, held: str, result: str, steps: Sequence[tuple[str, str]]) -> None:
    """A Cast to float, then each operator with its constant."""
    names = [model.fresh_name(f"{held}_{number}") for number in range(len(steps))] + [result]
    model.insert("Cast", [held], [names[0]], name=f"{held}_Cast", to=onnx.TensorProto.FLOAT)
    for (op, constant), before, after in zip(steps, names, names[1:], strict=False):
        model.insert(op, [before, constant], [after], name=f"{held}_{op}")


def _dequantize(model: Model, held: str, result: str, grid: Grid, decoder: Decoder) -> None:
    values = [("scale", grid.scale)] + [("zero_point", grid.zero.astype(decoder.dtype))] * bool(grid.zero.any())
    names = [model.fresh_name(f"{held}_{kind}") for kind, _ in values]
    for name, (_, value) in zip(names, values, strict=True):
        model.put(name, value)
    attributes = {} if grid.axis is None else {"axis": grid.axis}
    attributes |= {"block_size": grid.block} if grid.block else {}
    model.insert("DequantizeLinear", [held, *names], [result], name=f"{held}_DequantizeLinear", **attributes)
