"""Weights in few bits for a network that computes on floats: which layers, on which grids, restored how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxprune.axes.linear import Linear, linear, reads
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Context
from onnxprune.quantization.decoders import Decoder, decode, packed
from onnxprune.quantization.grids import Format, Grid
from onnxprune.quantization.inserting import Codes
from onnxprune.quantization.matrices import along, matrix, unseen
from onnxprune.quantization.rounding import RULES, rounded
from onnxprune.quantization.seen import seen
from onnxprune.quantization.steps import blocked, fitting

__all__ = ["FORMATS", "HALF", "Storage", "Stored", "stored"]

HALF = 16  # bits of a float
FORMATS = {
    8: Format("int8", -127, 127),
    4: Format("int8", -8, 7),
    3: Format("int8", -4, 3),
    2: Format("int8", -2, 1),
}


@dataclass(frozen=True)
class Storage:
    """How weights are stored: in how many bits, how rounded, how restored, and which nodes are ``excluded``.

    A ``block`` is how many columns of a dense layer share a scale, if not all.
    """

    bits: int = 8
    round: str = "nearest"
    per_channel: bool = True
    block: int | None = None
    dequantize: bool = False
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Stored:
    """A model with its weights in few bits, by the names of their tensors, and why those of other layers are not."""

    model: Model
    weights: Mapping[str, Codes | Array]
    kinds: Mapping[str, str]  # the type that each is kept in
    floats: Mapping[str, str] = field(repr=False)
    plain: Mapping[str, str] = field(default_factory=dict, repr=False)  # rounded to nearest all the same, and why


def stored(model: Model, ctx: Context, storage: Storage) -> Stored:
    """A copy of a model whose layers read their weights from few bits."""
    layers = [(node.name, view) for node in model.nodes if (view := linear(node)) is not None]
    floats = {name: why for name, view in layers if (why := _obstacle(model, view, storage)) is not None}
    views = {view.weight.name: view for name, view in reversed(layers) if name not in floats}
    plain = dict[str, str]()
    if storage.bits == HALF:
        weights: dict[str, Codes | Array] = {n: view.weight.value().astype(np.float16) for n, view in views.items()}
    else:
        weights = dict(_rounded(model, ctx, views, storage, plain))
    result, decoders = model.copy(), {name: _decoder(each, storage, model.opset) for name, each in weights.items()}
    for name, view in views.items():
        decode(result, view, weights[name], decoders[name])
    return Stored(result, weights, {name: each.dtype for name, each in decoders.items()}, floats, plain)


def _obstacle(model: Model, view: Linear, storage: Storage) -> str | None:
    """Why the weight of a layer stays as it is; None when it need not."""
    weight = view.weight
    if view.node.name in storage.excluded:
        return "excluded"
    if not weight.constant:
        return f"its weight '{weight.name}' is stored otherwise already"
    if weight.dtype != np.float32:
        return f"its weight '{weight.name}' is {weight.dtype}, not float32"
    readers = [linear(node) for node in model.consumers(weight.name)]
    alike = all(other is not None and _same(other, view) for other in readers)
    if model.captured(weight.name) or model.is_output(weight.name) or len(readers) < len(reads(model, weight.name)):
        alike = False
    if not alike:
        return f"its weight '{weight.name}' is not read by such layers alone"
    value = weight.value()
    if not np.isfinite(value).all():
        return f"its weight '{weight.name}' is not finite"
    if storage.bits == HALF and np.abs(value).max(initial=0) > np.finfo(np.float16).max:
        return f"its weight '{weight.name}' goes beyond what a float16 holds"
    return None


def _same(one: Linear, other: Linear) -> bool:
    return (one.weight.name, one.rows, one.columns) == (other.weight.name, other.rows, other.columns)


def _rounded(
    model: Model, ctx: Context, views: Mapping[str, Linear], storage: Storage, plain: dict[str, str]
) -> Iterator[tuple[str, Codes]]:
    """The weights by name; ``plain`` is told of those of which no H can be had."""
    why = {name: unseen(view) for name, view in views.items()} if storage.round != "nearest" else {}
    plain |= {views[name].node.name: reason for name, reason in why.items() if reason is not None}
    todo = {view.node.name: name for name, view in views.items() if name in why and why[name] is None}
    for name, view in views.items():
        if view.node.name not in todo:
            yield name, _codes(view, None, storage)
    work = model.copy()
    for view, h in seen(work, list(todo), ctx) if todo else ():
        name = todo[view.node.name]
        finite = bool(np.isfinite(h).all())
        if not finite:
            plain[view.node.name] = "what it reads is not finite on the calibration data"
        codes = _codes(view, h if finite else None, storage)
        work.put(name, codes.restored)
        yield name, codes


def _codes(view: Linear, h: Array | None, storage: Storage) -> Codes:
    value = view.weight.value()
    grid = _grid(view, value, h, storage)
    if h is None:
        return Codes(grid.quantized(value), grid)
    return rounded(view, value, grid, h, RULES[storage.round])


def _grid(view: Linear, value: Array, h: Array | None, storage: Storage) -> Grid:
    """Steps for the largest magnitude where there are many, else those that cost least."""
    format, weight = FORMATS[storage.bits], matrix(view, value).astype(np.float64)
    if storage.block is not None and view.node.op in ("Gemm", "MatMul") and view.weight.rank == 2:
        grid = blocked(weight, h, format, storage.block)
        scale, zero = (np.moveaxis(each[0], 0, view.rows) for each in (grid.scale, grid.zero))
        return Grid(format, scale, zero, view.columns, storage.block)
    return along(view, fitting(weight, h, format, per_channel=storage.per_channel))


def _decoder(weight: Codes | Array, storage: Storage, opset: int) -> Decoder:
    if not isinstance(weight, Codes):
        return Decoder("float16")
    return Decoder(packed(storage.bits, opset), storage.dequantize or weight.grid.block > 0)
