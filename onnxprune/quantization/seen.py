"""What layers read, one behind the other, in a network that is edited on the way: H = Σ x·xᵀ of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from onnxprune.aims import waves
from onnxprune.axes.linear import Linear, linear
from onnxprune.model import Model
from onnxprune.moments import read
from onnxprune.node import Array
from onnxprune.passes import Context
from onnxprune.stepwise import Stepwise

__all__ = ["seen"]


def seen(model: Model, nodes: Collection[str], ctx: Context) -> Iterator[tuple[Linear, Array]]:
    """Every layer and its H [groups, columns, columns], with what those before it are by then.

    The caller may give a layer that has come its final weights, and no others.
    """
    assert ctx.calibration is not None
    runs, parts = Stepwise(ctx.calibration), [[aim.node for aim in wave] for wave in waves(model, model, nodes)]
    with ctx.progress.task("rounding", len(nodes)) as step:
        for number, names in enumerate(parts):
            later = [view for part in parts[number + 1 :] for view in _views(model, part)]
            views = _views(model, names)
            for view, sums in zip(views, read(model, views, runs, ctx.calibration.count, ctx.seed, later), strict=True):
                yield view, np.asarray(sums.h)[:, :-1, :-1]
                step()


def _views(model: Model, nodes: Collection[str]) -> list[Linear]:
    return [view for view in map(linear, map(model.node, nodes)) if view is not None]
