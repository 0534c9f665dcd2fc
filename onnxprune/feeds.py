"""Inputs of exactly given shapes: what fixed graphs, compiled ones among them, are run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from onnxprune.analyses.cost import Stats
from onnxprune.calibrate import Calibration
from onnxprune.data.made_up import made_up as fill
from onnxprune.errors import ModelError
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Context
from onnxprune.sizes import TWO_GB

__all__ = ["Batches", "batches", "first", "made_up", "trial"]

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Batches(Sequence[Mapping[str, Array]]):
    """The first ``total`` batches of ``size`` samples, read anew whenever they are asked for."""

    data: Calibration
    size: int
    total: int

    def __len__(self) -> int:
        return self.total

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Array]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Array]]: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Array] | Sequence[Mapping[str, Array]]:
        if isinstance(index, slice):
            return [self[number] for number in range(self.total)[index]]
        return self.data.feed(range(self.total)[index] * self.size, self.size)


def batches(data: Calibration, shapes: Shapes, samples: int | None = None) -> Batches:
    """The batches of ``data`` that have exactly these shapes: none where the shapes are not those of the data.

    They are of so many ``samples`` at most, but one batch at least.
    """
    size = data.batch or next((shape[0] for name, shape in shapes.items() if shape and name not in data.bare), 1)
    inner = {name: column.shape[1:] for name, column in data.columns.items()}
    alike = all((inner[n] if n in data.bare else (size, *inner[n])) == shape for n, shape in shapes.items())
    most = data.count if samples is None else max(samples // size, 1)
    return Batches(data, size, min(data.count // size, most) if alike else 0)


def trial(ctx: Context) -> dict[str, Array]:
    """Inputs for the original, made up in the shapes of the context.

    Raises ModelError where weights and activations take over 2 GB: nobody asked for such a run.
    """
    stats = ctx.original.get(Stats(), ctx)
    if (size := stats.bytes + stats.peak_activation_bytes) >= TWO_GB:
        raise ModelError(f"a model that takes {size / 2**30:.1f} GiB is not run on made-up inputs; give data (--calib)")
    return made_up(ctx.original, ctx.shapes, ctx.seed)


def first(ctx: Context) -> Mapping[str, Array]:
    """One batch of exactly the context's shapes: of the calibration data, else made up; raises as ``trial`` does."""
    found = () if ctx.calibration is None else batches(ctx.calibration, ctx.shapes)
    return found[0] if found else trial(ctx)


def made_up(model: Model, shapes: Shapes, seed: int) -> dict[str, Array]:
    """Inputs for a model without data."""
    rng = np.random.default_rng(seed)
    return {t.name: fill(t, shapes[t.name], rng) for t in model.inputs}
