"""Tensors that lie on a grid before anything is quantized: theirs is kept, and no pair is put beside their own."""

from __future__ import annotations

from onnxprune.model import Model
from onnxprune.node import Node
from onnxprune.quantization.grids import Format, Grid

__all__ = ["on_grid", "restored"]

FORMATS = {"uint8": Format("uint8", 0, 255), "int8": Format("int8", -128, 127)}


def on_grid(model: Model, name: str) -> Grid | None:
    """The one grid of 8-bit integers that a tensor comes from, or else goes to; None where there is none."""
    source = model.producer(name)
    around = [source] if source is not None and source.op == "DequantizeLinear" else []
    around += [node for node in model.consumers(name) if node.op == "QuantizeLinear"]
    return next((grid for node in around if (grid := _grid(node)) is not None), None)


def restored(model: Model, name: str) -> str:
    """What to read for a tensor that goes to a grid: what it is restored to there, or itself where there is nothing."""
    behind = [
        node.y().name for node in model.consumers(name) if node.op == "QuantizeLinear" and _grid(node) is not None
    ]
    twins = [node.y().name for codes in behind for node in model.consumers(codes) if node.op == "DequantizeLinear"]
    return twins[0] if twins else name


def _grid(node: Node) -> Grid | None:
    scale, zero = node.input(1), node.input(2)
    if scale is None or zero is None or not scale.constant or not zero.constant or node.domain:
        return None
    step, at = scale.value(), zero.value()
    if step.size != 1 or at.size != 1 or at.dtype.name not in FORMATS:
        return None
    return Grid(FORMATS[at.dtype.name], step.reshape(()), at.reshape(()))
