"""Inputs of exactly given shapes: what fixed graphs, compiled ones among them, are run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from onnxprune.analyses.cost import Stats
from onnxprune.calibrate import Calibration
from onnxprune.data.made_up import made_up as fill
from onnxprune.errors import ModelError
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Context
from onnxprune.sizes import TWO_GB

__all__ = ["batches", "first", "made_up", "trial"]

Shapes = Mapping[str, tuple[int, ...]]


def batches(data: Calibration, shapes: Shapes) -> Iterator[dict[str, Array]]:
    """The batches of ``data`` that have exactly these shapes: none where the shapes are not those of the data."""
    size = next((shape[0] for name, shape in shapes.items() if shape and name not in data.bare), 1)
    for batch in data.batches(size):
        if all(batch[name].shape == shape for name, shape in shapes.items()):
            yield batch


def trial(ctx: Context) -> dict[str, Array]:
    """Inputs for the original, made up in the shapes of the context.

    Raises ModelError where weights and activations take over 2 GB: nobody asked for such a run.
    """
    stats = ctx.original.get(Stats(), ctx)
    if (size := stats.bytes + stats.peak_activation_bytes) >= TWO_GB:
        raise ModelError(f"a model that takes {size / 2**30:.1f} GiB is not run on made-up inputs; give data (--calib)")
    return made_up(ctx.original, ctx.shapes, ctx.seed)


def first(ctx: Context) -> dict[str, Array]:
    """One batch of exactly the context's shapes: of the calibration data, else made up; raises as ``trial`` does."""
    found = None if ctx.calibration is None else next(batches(ctx.calibration, ctx.shapes), None)
    return trial(ctx) if found is None else found


def made_up(model: Model, shapes: Shapes, seed: int) -> dict[str, Array]:
    """Inputs for a model without data."""
    rng = np.random.default_rng(seed)
    return {t.name: fill(t, shapes[t.name], rng) for t in model.inputs}
