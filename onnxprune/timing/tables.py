"""Layer times by size: measured on a grid, only where somebody asks, and kept on disk under what they depend on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from onnxprune.cache import Cache
from onnxprune.costs import Size
from onnxprune.node import Array, Axis
from onnxprune.timing.clock import Clock
from onnxprune.timing.layers import Layer

__all__ = ["LEVELS", "Lookup", "Table"]

LEVELS = 4  # grid lines on whole blocks, for each size, besides the last
SECONDS = 0.03  # for each point of a grid
REVISION = 2


@dataclass(eq=False)
class Table:
    """Milliseconds of a layer by the rows and columns of its weight.

    The time of a convolution is that of whole blocks of channels, and linear in their number: between the lines of
    the grid it is interpolated, within a block it stays. In the first block it is that of whole quarters. Points are
    measured when they are first asked for.
    """

    layer: Layer
    clock: Clock
    cache: Cache
    _points: dict[tuple[int, int], float] = field(default_factory=dict, repr=False)

    def at(self, rows: Size, columns: Size) -> Array:
        """The milliseconds at these sizes, which broadcast; raises ModelError where the layer does not run."""
        grid = [_place(v, lines, self._unit) for v, lines in zip((rows, columns), self.lines, strict=True)]
        (r0, r1, fr), (c0, c1, fc) = grid
        corners = [np.broadcast_arrays(r, c) for r in (r0, r1) for c in (c0, c1)]
        self._measure({(int(a), int(b)) for r, c in corners for a, b in zip(r.flat, c.flat, strict=True)})
        found = [self._looked_up(r, c) for r, c in corners]
        low, high = (found[2 * k] + fc * (found[2 * k + 1] - found[2 * k]) for k in (0, 1))
        return np.asarray(low + fr * (high - low))

    @cached_property
    def lines(self) -> tuple[Array, Array]:
        """The sizes at which it is measured: whole blocks, from one to all that there are."""
        rows, columns = (_lines(size, self._unit) for size in self.layer.sizes)
        return rows, columns

    @property
    def _unit(self) -> int:
        return self.clock.block if self.layer.blocked else 1

    def _looked_up(self, rows: Array, columns: Array) -> Array:
        pairs = zip(rows.flat, columns.flat, strict=True)
        return np.array([self._points[int(a), int(b)] for a, b in pairs]).reshape(rows.shape)

    def _measure(self, wanted: set[tuple[int, int]]) -> None:
        """Take the time at the points that are missing, all in turns."""
        if not wanted <= self._points.keys():
            self._points |= self._kept()
        if missing := sorted(wanted - self._points.keys()):
            times = self.clock.milliseconds([self.layer.run(*each) for each in missing], SECONDS * len(missing))
            self._points |= zip(missing, times, strict=True)
            points = [[*place, time] for place, time in sorted(self._points.items())]
            self.cache.put(self._key, json.dumps(points).encode())

    def _kept(self) -> dict[tuple[int, int], float]:
        held = self.cache.get(self._key)
        return {(rows, columns): time for rows, columns, time in json.loads(held or b"[]")}

    @cached_property
    def _key(self) -> str:
        return f"layer times {REVISION}: {self.clock.fingerprint()}: {self.layer.signature()}"


def _lines(size: int, unit: int) -> Array:
    """Some multiples of the unit, evenly spaced, and the quarters of the first; the last line is the size itself."""
    whole = np.arange(unit, size, unit)
    kept = whole[np.unique(np.linspace(0, len(whole) - 1, LEVELS).astype(int))] if len(whole) else whole
    parts = np.arange(quarter := -(-unit // 4), min(unit, size), quarter)
    return np.array([*parts.tolist(), *kept.tolist(), size])


def _place(size: Size, lines: Array, unit: int) -> tuple[Array, Array, Array]:
    """The lines below and above a size, and how far it lies between them, once it fills its last unit."""
    filled = np.asarray(size)
    filled = np.where(filled > unit, -(-filled // unit) * unit, -(-filled // (quarter := -(-unit // 4))) * quarter)
    filled = np.clip(filled, lines[0], lines[-1])
    above = np.searchsorted(lines, filled)
    below = above - (lines[above] > filled)
    gap = np.maximum(lines[above] - lines[below], 1)
    return lines[below], lines[above], (filled - lines[below]) / gap


@dataclass(frozen=True)
class Lookup:
    """The part of a network's time that a layer takes: a table's, times a ``scale``."""

    where: str
    factors: tuple[Axis, Axis]
    table: Table
    scale: float = 1.0

    def at(self, sizes: Sequence[Size]) -> Any:
        """Milliseconds with so many rows and columns."""
        return self.scale * self.table.at(*sizes)

    def scaled(self, scale: float) -> Lookup:
        """The same layer in a network where it takes ``scale`` times as long."""
        return replace(self, scale=scale)
