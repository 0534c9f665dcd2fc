"""A layer's weights as matrices [groups, outputs, columns], as H = Σ x·xᵀ of what it reads sees them; and back."""

from __future__ import annotations

import numpy as np

from onnxprune.axes.linear import Linear
from onnxprune.moments import wide
from onnxprune.node import Array
from onnxprune.quantization.grids import Grid

__all__ = ["across", "along", "matrix", "tensor", "unseen"]


def unseen(view: Linear) -> str | None:
    """Why there is no H for a layer; None where there is."""
    if view.node.op not in ("Conv", "Gemm", "MatMul") or view.x_channel != (1 if view.node.op == "Conv" else -1):
        return "its weight is not multiplied from the right, or it is transposed or an Einsum"
    if view.node.op == "MatMul" and view.weight.rank != 2:
        return "its weight is batched"
    if wide(view):
        return "it reads too many columns for a matrix of sums"
    return None


def matrix(view: Linear, value: Array) -> Array:
    """A tensor of the weight's shape, outputs first, in its own type."""
    first = np.moveaxis(value, view.rows, 0)
    return first.reshape(view.groups if view.rows == 0 else 1, -1, first[0].size)


def tensor(view: Linear, matrix: Array) -> Array:
    """The inverse of ``matrix``."""
    shape = [size for size in view.weight.shape or () if isinstance(size, int)]
    return np.moveaxis(matrix.reshape(shape[view.rows], *np.delete(shape, view.rows)), 0, view.rows)


def across(view: Linear, grid: Grid) -> Grid:
    """The grid of the weight, for its matrix."""
    if grid.axis is None:
        return grid
    return Grid(grid.format, _across(view, grid, grid.scale), _across(view, grid, grid.zero))


def _across(view: Linear, grid: Grid, values: Array) -> Array:
    if not grid.block:
        return values.reshape(view.groups if view.rows == 0 else 1, -1, 1)
    columns = view.weight.size(view.columns) or 0
    return np.repeat(np.moveaxis(values, view.rows, 0), grid.block, axis=1)[None, :, :columns]


def along(view: Linear, grid: Grid) -> Grid:
    """The grid of a matrix, one scale per output or one in all, for the weight."""
    one = grid.scale.size == 1
    shape = () if one else (-1,)
    return Grid(grid.format, grid.scale.reshape(shape), grid.zero.reshape(shape), None if one else view.rows)
