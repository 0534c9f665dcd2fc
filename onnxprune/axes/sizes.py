"""Writing sizes into operators: as an attribute, a constant, or over part of what the graph computes.

After a cut an operator that makes a tensor of a given shape is told the new one. A size that is known at run time only
is still read from where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import onnx

from onnxprune.axes.left import Left
from onnxprune.model import Model
from onnxprune.node import Array, Node, Tensor

__all__ = ["overwrite", "put_constant", "put_setting", "put_shape", "renumbered", "shape_left"]


def renumbered(slots: Array, kept: Array) -> Array:
    """Where each of ``slots``, all of them among ``kept`` (ascending), stands in what is left; int64."""
    return np.searchsorted(kept, slots).astype(np.int64)


def shape_left(tensor: Tensor, left: Left) -> list[int | None]:
    """The shape of a tensor after a cut; None for sizes that are known at run time only."""
    return [None if tensor.size(axis.dim) is None else left.size(axis) for axis in tensor.axes()]


def put_setting(model: Model, node: Node, name: str, index: int, values: Sequence[int] | Array) -> None:
    """Write integers where the opset has them: attribute ``name``, or constant input ``index``."""
    if name in onnx.defs.get_schema(node.op, node.opset).attributes:
        model.set_attribute(node, name, [int(v) for v in values])
    else:
        put_constant(model, node, index, values)


def put_constant(model: Model, node: Node, index: int, values: Sequence[int] | Array) -> None:
    """Let input ``index`` read a new constant, int64 unless it is an array of another type."""
    held = values if isinstance(values, np.ndarray) else np.asarray(values, np.int64)
    name = model.fresh_name(f"{node.name}_sizes")
    model.put(name, held)
    model.set_input(node, index, name)


def put_shape(model: Model, node: Node, index: int, sizes: Sequence[int | None]) -> None:
    """Let input ``index``, a computed shape, say ``sizes``; where those are None it goes on saying what it says.

    A shape that is shorter than ``sizes`` is about the last of them.
    """
    said = list(sizes[-(node.x(index).size(0) or 0) :])
    if None not in said:
        put_constant(model, node, index, [size for size in said if size is not None])
    else:
        name = model.fresh_name(f"{node.name}_sizes")
        overwrite(model, node.x(index).name, said, name)
        model.set_input(node, index, name)


def overwrite(model: Model, source: str, sizes: Sequence[int | None], name: str) -> None:
    """Make the tensor ``name``: the shape ``source``, with ``sizes`` where those are not None."""
    parts, start = [], 0
    for known, run in groupby(sizes, key=lambda size: size is not None):
        held = list(run)
        end = start + len(held)
        parts.append(_constant(model, name, held) if known else _part(model, source, range(start, end), name))
        start = end
    model.insert("Concat", parts, [name], name=name, axis=0)


def _constant(model: Model, stem: str, sizes: Sequence[int | None]) -> str:
    name = model.fresh_name(f"{stem}_new")
    model.put(name, np.array(sizes, np.int64))
    return name


def _part(model: Model, source: str, places: Sequence[int], stem: str) -> str:
    """Some elements of a shape, by Gather: a Slice would be written otherwise before opset 10."""
    index, name = _constant(model, stem, places), model.fresh_name(f"{stem}_kept")
    model.insert("Gather", [source, index], [name], name=name)
    return name
