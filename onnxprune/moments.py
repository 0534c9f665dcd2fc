"""Sums over the rows that a layer reads and those it is to make, in float64: all that least squares has to know.

A row is what one output position is computed from (``patches``). The rows x come from one network and the rows y from
another, such as its original; of both only the sums are kept, whatever the number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from onnxprune.axes.linear import Linear
from onnxprune.clipped import Clipped, Limits, Recorder
from onnxprune.data.columns import Spool
from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.patches import Rows, rows_of
from onnxprune.sampled import WIDEST, Sampled, most_rows
from onnxprune.solving import solver
from onnxprune.stepwise import Stepwise

__all__ = ["Moments", "Sums", "Target", "kept_rows", "moments", "read", "wide", "width"]

POSITIONS = 64  # rows per sample of a convolution, or more to have ROWS_PER_COLUMN in all
ROWS_PER_COLUMN = 10
TINY = 1e-12
STRETCH = 2.0  # at most: what hardly varies is not blown up


@dataclass(eq=False)
class Moments:
    """Sums over rows (x, 1) and y, per group of the layer: Σ x·xᵀ, Σ y·xᵀ, Σ y², and how often x was 0.

    Where y goes on to an operator that clips, ``rows`` are what the sums were taken of.
    """

    h: Array | float = 0.0  # [groups, columns + 1, columns + 1]
    g: Array | float = 0.0  # [groups, outputs, columns + 1]
    squares: Array | float = 0.0  # [groups, outputs]
    zeros: Array | float = 0.0  # [groups, columns]
    rows: Clipped | None = None

    def __iadd__(self, other: Moments) -> Moments:
        """Count the rows of the other too."""
        self.rows = None if self.rows is None or other.rows is None else self.rows + other.rows
        self.h, self.g = _added(self.h, other.h), _added(self.g, other.g)
        self.squares, self.zeros = self.squares + other.squares, self.zeros + other.zeros
        return self

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(np.asarray(self.h)[0, -1, -1])

    def add(self, rows: Rows) -> None:
        """Count some rows more."""
        x = rows.augmented
        with np.errstate(all="ignore"):  # what is not finite shows in the sums
            self.h = _added(self.h, x.swapaxes(1, 2) @ x)
            self.g = _added(self.g, rows.y.swapaxes(1, 2) @ x)
            self.squares = self.squares + np.sum(rows.y**2, axis=1)
            self.zeros = self.zeros + np.sum(rows.x == 0, axis=1)

    @property
    def energy(self) -> float:
        """Σ ‖y‖²."""
        return float(np.sum(self.squares))

    @property
    def finite(self) -> bool:
        """Whether all rows were."""
        return bool(np.isfinite(self.h).all() and np.isfinite(self.g).all() and math.isfinite(self.energy))

    def error(self, weights: Array) -> float:
        """Σ ‖y − W·x‖² as a share of Σ ‖y‖², with W [groups, outputs, columns + 1]; of what is not clipped."""
        if self.rows is not None:
            return self.rows.error(weights)
        loss = np.sum((weights @ self.h) * weights) - 2 * np.sum(weights * self.g) + self.energy
        return max(float(loss), 0.0) / (self.energy or 1.0)

    def nearest(self, start: Array, share: float, biased: bool, steps: int = 0) -> Array:
        """W for λ = share · the mean diagonal of H, and from there some steps towards what is not clipped.

        For an operator without bias the last column stays 0.
        """
        columns, result = start.shape[2] - 1, start.copy()
        h, free = np.array(self.h)[:, : columns + biased, : columns + biased], np.arange(columns)
        ridge = share * np.trace(h[:, :columns, :columns], axis1=1, axis2=2) / max(columns, 1)
        ridge = np.where(ridge == 0, 1.0, ridge)
        h[:, free, free] += ridge[:, None]
        solve = solver(h, TINY * ridge)
        towards = [] if self.rows is None else [self.rows.missing] * steps
        for missing in (self._missing, *towards):
            right = missing(result)[:, :, : columns + biased].swapaxes(1, 2)
            result[:, :, : columns + biased] += solve(right).swapaxes(1, 2)
        return result

    def matched(self, weights: Array) -> Array:
        """The weights with which every output has the mean and the variance of y: W·σ/σ̂, and the bias to it."""
        count, h, g = self.count, np.asarray(self.h), np.asarray(self.g)
        made, wanted = (weights @ h[:, :, -1:])[..., 0] / count, g[..., -1] / count
        spread = np.maximum(np.sum((weights @ h) * weights, axis=2) / count - made**2, 0)
        spread_wanted = np.maximum(np.asarray(self.squares) / count - wanted**2, 0)
        with np.errstate(all="ignore"):
            scale = np.sqrt(spread_wanted / spread)
        scale = np.where(np.isfinite(scale), np.clip(scale, 1 / STRETCH, STRETCH), 1.0)
        result = weights * scale[..., None]
        result[..., -1] += wanted - scale * made
        return np.asarray(result)

    def _missing(self, weights: Array) -> Array:
        """Σ (y − W·x)·xᵀ, [groups, outputs, columns + 1]."""
        return np.asarray(self.g - weights @ self.h)


def _added(total: Array | float, more: Array | float) -> Array | float:
    """The sum, in the place of one of both: these matrices are the largest that there are."""
    more += total
    return more


Sums: TypeAlias = Moments | Sampled


@dataclass(frozen=True)
class Target:
    """What a layer is to make: the original's tensor ``tensor``, less the present value of ``other`` if there is one.

    Where a layer's output is added to another branch, the sum is what counts: the layer makes up for what the other
    branch lacks (He et al. 2017, for residual networks). ``limits`` are those of an operator that clips it next.
    """

    view: Linear
    tensor: str
    other: str | None = None
    limits: Limits | None = None


Batches = Iterable[Mapping[str, Array]]


def moments(model: Model, targets: Sequence[Target], xs: Batches, ys: Batches, samples: int, seed: int) -> list[Sums]:
    """Sum up over batches: ``xs`` holds what the model computes, ``ys`` what its original does.

    Every layer draws its own rows, so that they do not depend on how many samples come at once.
    """
    sums = [Sampled(width(t.view)) if wide(t.view) else Moments() for t in targets]
    draws = [np.random.default_rng(seed) for _ in targets]
    kept = [_kept(model, t) for t in targets]
    with ExitStack() as stack:
        recorders = [
            None if t.limits is None or wide(t.view) else Recorder(t.limits, stack.enter_context(Spool()))
            for t in targets
        ]
        for given, wanted in zip(xs, ys, strict=True):
            for target, slots, total, recorder, draw in zip(targets, kept, sums, recorders, draws, strict=True):
                y = np.take(wanted[target.tensor], slots, target.view.y_channel)
                rows, other = _rows(target, given, y, samples, draw)
                total.add(rows)
                if recorder is not None:
                    recorder.add(rows, other)
        for total, recorder in zip(sums, recorders, strict=True):
            if recorder is not None and isinstance(total, Moments):
                total.rows = recorder.rows()
    return sums


def _rows(
    target: Target, given: Mapping[str, Array], y: Array, samples: int, draw: np.random.Generator
) -> tuple[Rows, Array | None]:
    """Rows of a batch, and what the other branch adds to each y, which is not in it."""
    view, limit = target.view, _limit(target.view, samples)
    if target.other is None:
        return rows_of(view, given[view.x.name], y, limit, draw), None
    other, channel = given[target.other], view.y_channel % y.ndim
    both = np.stack([y - other, other], axis=channel + 1)  # side by side, and so in the same group
    rows = rows_of(view, given[view.x.name], both.reshape(*y.shape[:channel], -1, *y.shape[channel + 1 :]), limit, draw)
    return Rows(rows.x, rows.y[..., ::2]), rows.y[..., 1::2]


def read(
    model: Model, views: Sequence[Linear], runs: Stepwise, samples: int, seed: int, later: Iterable[Linear] = ()
) -> list[Moments]:
    """The sums over what layers read, without any rows y; ``later`` are those to be asked for in later calls."""
    if not views:
        return []
    sums, draws = [Moments() for _ in views], [np.random.default_rng(seed) for _ in views]
    names = dict.fromkeys(view.x.name for view in views)
    for xs in runs.batches(model, list(names), {view.x.name for view in later}):
        for view, total, draw in zip(views, sums, draws, strict=True):
            total.add(rows_of(view, xs[view.x.name], None, _limit(view, samples), draw))
    return sums


def _kept(model: Model, target: Target) -> Array:
    """The original's channels that are left of what is wanted."""
    channel = target.view.y.axes()[target.view.y_channel]
    axis = Axis(target.tensor, channel.dim)
    slots = model.provenance.slots(axis, model.tensor(target.tensor).size(axis.dim) or 0)
    if slots is None:
        raise PassError(f"'{axis}' does not stem from the original's tensor of that name")
    return slots


def width(view: Linear) -> int:
    """How many columns the weights of one output have."""
    return view.weight.elements() // (view.weight.size(view.rows) or 1)


def wide(view: Linear) -> bool:
    """Whether a matrix of sums would be too large, so that a sample of the rows has to do."""
    return width(view) >= WIDEST


def kept_rows(columns: int) -> int:
    """How many rows are of use to find so many weights."""
    return most_rows(columns) if columns >= WIDEST else columns


def _limit(view: Linear, samples: int) -> int:
    if wide(view):
        return -(-most_rows(width(view)) // samples)
    return max(POSITIONS, -(-ROWS_PER_COLUMN * width(view) // samples))
