"""What a linear operator multiplies its weights with: the rows X of y = X·Wᵀ, and the rows Y it is to produce.

For a convolution a row is the window under one output position (im2col), for Gemm and MatMul the last axis of x.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from onnxprune.axes.linear import Linear
from onnxprune.node import Array

__all__ = ["Rows", "rows_of"]


@dataclass(frozen=True, eq=False)
class Rows:
    """``x`` is [groups, rows, columns], ``y`` is [groups, rows, outputs]; both float64."""

    x: Array
    y: Array

    @property
    def augmented(self) -> Array:
        """x, and a last column of ones: [groups, rows, columns + 1]."""
        return np.concatenate([self.x, np.ones((*self.x.shape[:2], 1))], axis=2)


def rows_of(view: Linear, x: Array, y: Array | None, limit: int, rng: np.random.Generator) -> Rows:
    """At most ``limit`` random rows per sample of the batch ``x``, with the wanted outputs ``y`` of the same positions.

    Columns are in the order of the weight's axes: input channel first, then kernel position. Without ``y`` there are
    no outputs: Rows.y is [groups, rows, 0].
    """
    if y is None:
        y = np.zeros((len(x), 0, *_places(view, x.shape[2:]))) if view.node.op == "Conv" else x[..., :0]
    if view.node.op == "Conv":
        return _windows(view, x, y, limit, rng)
    flat_x, flat_y = (
        t.reshape(len(t), math.prod(t.shape[1:-1]), -1 if t.size else 0) for t in map(np.atleast_2d, (x, y))
    )
    sample, position = _chosen(flat_x.shape[0], flat_x.shape[1], limit, rng)
    rows_x, rows_y = flat_x[sample, position], flat_y[sample, position]
    return Rows(rows_x[None].astype(np.float64), rows_y[None].astype(np.float64))


def _chosen(samples: int, positions: int, limit: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Sample and position of every row; all positions where there are no more than ``limit``."""
    if positions <= limit:
        chosen = np.broadcast_to(np.arange(positions), (samples, positions))
    else:
        chosen = np.argpartition(rng.random((samples, positions)), limit, axis=1)[:, :limit]
    return np.repeat(np.arange(samples), chosen.shape[1]), chosen.ravel()


def _windows(view: Linear, x: Array, y: Array, limit: int, rng: np.random.Generator) -> Rows:
    kernel, strides, dilations = _window(view)
    out = y.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), *_pads(view, x.shape[2:], kernel, strides, dilations)])
    sample, position = _chosen(len(x), math.prod(out), limit, rng)
    corner = np.unravel_index(position, out)
    taps = []
    for offset in itertools.product(*map(range, kernel)):
        where = tuple(c * s + o * d for c, s, o, d in zip(corner, strides, offset, dilations, strict=True))
        taps.append(_at(padded, sample, where))
    columns = np.stack(taps, axis=-1)  # [rows, channels, kernel positions]
    return Rows(_by_group(columns, view.groups), _by_group(_at(y, sample, corner), view.groups))


def _window(view: Linear) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Size, strides and dilations of a convolution's kernel."""
    kernel = tuple(size for size in (view.weight.shape or ())[2:] if isinstance(size, int))
    ones = (1,) * len(kernel)
    return kernel, view.node.attrs.get("strides") or ones, view.node.attrs.get("dilations") or ones


def _places(view: Linear, size: tuple[int, ...]) -> list[int]:
    """The sizes of a convolution's output for an input of these sizes."""
    kernel, strides, dilations = _window(view)
    padded = [n + sum(pads) for n, pads in zip(size, _pads(view, size, kernel, strides, dilations), strict=True)]
    return [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(padded, kernel, strides, dilations, strict=True)]


def _at(image: Array, sample: Array, position: tuple[Array, ...]) -> Array:
    """All channels at one position of one sample per row: [rows, channels]."""
    return np.asarray(np.moveaxis(image, 1, -1)[(sample, *position)])


def _by_group(values: Array, groups: int) -> Array:
    """[rows, channels, …] as [groups, rows, channels of the group · …]."""
    return values.reshape(len(values), groups, -1).swapaxes(0, 1).astype(np.float64)


def _pads(
    view: Linear, size: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> list[tuple[int, int]]:
    """What is added before and after each spatial axis (ONNX operator Conv, attributes pads and auto_pad)."""
    mode, rank = view.node.attrs.get("auto_pad", "NOTSET"), len(kernel)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for length, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            total = max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
            small, large = total // 2, total - total // 2
            pads.append((small, large) if mode == "SAME_UPPER" else (large, small))
        return pads
    given = (0,) * 2 * rank if mode == "VALID" else view.node.attrs.get("pads") or (0,) * 2 * rank
    return list(zip(given[:rank], given[rank:], strict=True))
