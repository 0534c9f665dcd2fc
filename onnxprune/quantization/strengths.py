"""How strong the channels of a network are on data: their largest magnitudes, mean squares and means, in one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Analysis, Context
from onnxprune.quantization.histograms import runs

__all__ = ["Strength", "Strengths"]


@dataclass(frozen=True, eq=False)
class Strength:
    """Of the channels [slots] along an axis, float64: the largest magnitudes, the mean squares, and the means."""

    most: Array = field(repr=False)
    power: Array = field(repr=False)
    mean: Array = field(repr=False)

    @property
    def finite(self) -> bool:
        """Whether all values were."""
        return bool(np.isfinite(self.power).all())


@dataclass(frozen=True)
class Strengths(Analysis[Mapping[Axis, Strength]]):
    """The strengths of channels along axes of tensors that are computed."""

    axes: tuple[Axis, ...]
    uses = ("calibration",)

    def compute(self, model: Model, ctx: Context) -> Mapping[Axis, Strength]:
        """Run once; memory does not grow with the number of samples."""
        if not self.axes or ctx.calibration is None:
            return {}
        of_tensor, found, total = dict[str, list[Axis]](), dict[Axis, Array](), 0
        for axis in self.axes:
            of_tensor.setdefault(axis.tensor, []).append(axis)
        with ctx.progress.task("measuring channels", ctx.calibration.count) as step:
            for samples, values in runs(model, [*of_tensor], ctx, step):
                total += samples
                for name, axes in of_tensor.items():
                    x = values.pop(name)  # and let it go before the next batch is run
                    for axis in axes:
                        new = _figures(x, axis.dim, samples)
                        old = found.get(axis, np.zeros_like(new))
                        found[axis] = np.array([np.maximum(old[0], new[0]), *(old[1:] + new[1:])])
                    del x
        return {axis: Strength(each[0], each[1] / total, each[2] / total) for axis, each in found.items()}

    def pack(self, result: Mapping[Axis, Strength]) -> dict[str, Array]:
        """As named arrays, in the order of the axes."""
        held = [result[axis] for axis in self.axes if axis in result]
        return {str(number): np.array([s.most, s.power, s.mean]) for number, s in enumerate(held)}

    def unpack(self, arrays: Mapping[str, Array]) -> Mapping[Axis, Strength]:
        """From named arrays."""
        return {axis: Strength(*arrays[str(number)]) for number, axis in enumerate(self.axes) if str(number) in arrays}


def _figures(x: Array, dim: int, samples: int) -> Array:
    """Largest magnitude, and samples times mean square and mean, [3, slots]."""
    others = tuple(d for d in range(x.ndim) if d != dim)
    with np.errstate(all="ignore"):  # what is not finite shows in the mean squares
        squares = np.square(x, dtype=np.float64).mean(axis=others)
        sums = samples * squares, samples * x.mean(axis=others, dtype=np.float64)
    return np.array([np.abs(x).max(axis=others, initial=0).astype(np.float64), *sums])
