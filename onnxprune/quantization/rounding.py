"""Weights as whole numbers: the grid of every channel, and to which number on it each weight goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from onnxprune.axes.linear import Linear, bias_of
from onnxprune.node import Array
from onnxprune.quantization.adaround import adaround
from onnxprune.quantization.gptq import gptq
from onnxprune.quantization.grids import Format, Grid, weight_grid
from onnxprune.quantization.inserting import Codes
from onnxprune.quantization.matrices import across, matrix, tensor
from onnxprune.quantization.quadratic import cost

__all__ = ["REACH", "RULES", "nearest", "rounded"]

REACH = 2.0**30  # steps that an int32 bias may be away from 0

Rule: TypeAlias = Callable[[Array, Array, Grid], Array]

RULES: Mapping[str, Rule] = {"gptq": gptq, "adaround": adaround}


def nearest(view: Linear, format: Format, *, per_channel: bool, step: float | None = None) -> Codes:
    """Every weight to the nearest number, on grids that reach the largest magnitude.

    ``step`` is that of the input's grid, if it has one: the bias is to be within reach of an int32 on the products.
    """
    weight = np.asarray(view.weight.value(), np.float64)
    grid = grid_of(view, weight, format, per_channel, step)
    return Codes(grid.quantized(weight.astype(np.float32)), grid)


def rounded(view: Linear, value: Array, grid: Grid, h: Array, rule: Rule) -> Codes:
    """The weights of a layer, of that value, on a grid: by a rule, for each output that this makes no worse on H."""
    weight, flat = matrix(view, value.astype(np.float64)), across(view, grid)
    plain = flat.quantized(weight)
    found = rule(weight, h, flat)
    better = cost(weight - flat.restored(found), h) < cost(weight - flat.restored(plain), h)
    return Codes(tensor(view, np.where(better[:, :, None], found, plain)), grid)


def grid_of(view: Linear, weight: Array, format: Format, per_channel: bool, step: float | None) -> Grid:
    """One scale per channel that the layer makes, or one in all."""
    axis = view.rows if per_channel and (view.node.op == "Conv" or weight.ndim == 2) else None
    other = tuple(dim for dim in range(weight.ndim) if dim != axis)
    limits = np.abs(weight).max(axis=other)
    least: Array | float = 0.0
    bias = bias_of(view)
    if step is not None and bias is not None:
        reach = np.abs(bias) / (step * REACH) * format.high
        least = reach if axis is not None else reach.max(initial=0)
    limits = np.where(limits > 0, limits, limits.max(initial=0))  # a channel of zeros has its bias on a usual grid
    return weight_grid(np.maximum(limits, least), format, axis)
