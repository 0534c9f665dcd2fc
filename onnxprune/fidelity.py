"""How near a model's outputs are to the original's, batch by batch: no activations are kept.

With y the original's output, z the result's and Δ = z - y, over all elements of all samples:
relative error = max|Δ| / max|y|, cosine = y·z / (|y| |z|), SQNR = 10 log10(y·y / Δ·Δ).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.errors import ModelError
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["Fidelity", "class_scores", "compare", "compare_each", "numbered"]

TINY = float(np.finfo(np.float32).tiny)  # stands for zero below a fraction line: every figure stays finite
BROKEN = 1e100  # the error where a value turned NaN, infinite or larger than HUGE
HUGE = 1e150  # the square root of what float64 holds


@dataclass(frozen=True)
class Fidelity:
    """How near ``n`` samples' outputs are to the original's: each figure is that of the worst output, and finite.

    ``sqnr_db`` is None when the outputs are equal. ``agreement`` is the share of samples whose largest class score
    stays the same, None when the first output does not look like class scores.
    """

    max_abs_error: float
    max_rel_error: float
    cosine: float
    sqnr_db: float | None
    agreement: float | None
    n: int


@dataclass
class _Sums:
    """What is summed up of one output."""

    peak: float = 0.0  # max|y|
    error: float = 0.0  # max|Δ|
    yy: float = 0.0
    zz: float = 0.0
    yz: float = 0.0
    noise: float = 0.0  # Δ·Δ

    def add(self, y: Array, z: Array) -> None:
        """Take in one batch, as flat float64 arrays."""
        delta = z - y
        self.peak = max(self.peak, float(np.abs(y).max(initial=0)))
        self.error = max(self.error, float(np.abs(delta).max(initial=0)))
        self.yy, self.zz, self.yz = self.yy + float(y @ y), self.zz + float(z @ z), self.yz + float(y @ z)
        self.noise += float(delta @ delta)

    @property
    def cosine(self) -> float:
        """The cosine of the angle between y and z: 1 when they are equal, 0 when one of them alone is zero."""
        norms = math.sqrt(self.yy) * math.sqrt(self.zz)
        return min(max(self.yz / norms, -1.0), 1.0) if self.noise and norms else float(not self.noise)

    @property
    def sqnr_db(self) -> float | None:
        """The ratio of signal to noise in decibels, None without noise."""
        return 10 * math.log10(max(self.yy, TINY) / self.noise) if self.noise else None


@dataclass
class _Comparison:
    """What is summed up of one result: errors by output, and on which samples the class stayed the same."""

    sums: list[_Sums]
    votes: list[bool] = field(default_factory=list)

    def add(self, xs: Iterable[Array], ys: list[Array], zs: list[Array], samples: int) -> None:
        """Take in one batch: inputs, and the outputs of both."""
        for entry, y, z in zip(self.sums, ys, zs, strict=True):
            entry.add(*_comparable(y, z))
        if not any(x.shape == ys[0].shape for x in xs):  # else a reconstruction, as of an autoencoder
            self.votes.extend(_votes(ys[0], zs[0], samples))

    def fidelity(self, n: int) -> Fidelity:
        """The figures, each that of the worst output."""
        ratios = [s.sqnr_db for s in self.sums]
        return Fidelity(
            max_abs_error=max(s.error for s in self.sums),
            max_rel_error=max(s.error / max(s.peak, TINY) for s in self.sums),
            cosine=min(s.cosine for s in self.sums),
            sqnr_db=min((r for r in ratios if r is not None), default=None),
            agreement=sum(self.votes) / len(self.votes) if self.votes else None,
            n=n,
        )


def compare(original: Model, result: Model, data: Calibration) -> Fidelity:
    """The fidelity of ``result`` on ``data``; raises ModelError when a model does not run or lost an output."""
    return compare_each(original, (result,), data)[0]


def compare_each(original: Model, results: Sequence[Model], data: Calibration) -> list[Fidelity]:
    """The same for several results, on one run of the original."""
    before, afters = Session(original.lean()), [Session(result.lean()) for result in results]
    if strange := [after.outputs for after in afters if after.outputs != before.outputs]:
        raise ModelError(f"cannot compare models with the outputs {before.outputs} and {strange[0]}")
    found = [_Comparison([_Sums() for _ in before.outputs]) for _ in afters]
    for span, feeds in numbered(data):
        ys = before(feeds)
        for each, after in zip(found, afters, strict=True):
            each.add(feeds.values(), ys, after(feeds), span.stop - span.start)
    return [each.fidelity(data.count) for each in found]


def numbered(data: Calibration) -> Iterator[tuple[slice, dict[str, Array]]]:
    """The batches of ``data``, each with the slice of samples it holds."""
    size = data.batch or data.at_once
    for k, feeds in enumerate(data.batches()):
        yield slice(k * size, min((k + 1) * size, data.count)), feeds


def class_scores(output: Array, samples: int) -> Array | None:
    """An output [samples, classes] or [samples, classes, 1, …] as the former, None when it does not look like one."""
    scores = output.dtype.kind == "f" and output.ndim >= 2 and len(output) == samples
    return output.reshape(samples, -1) if scores and output.size == samples * output.shape[1] > samples else None


def _votes(y: Array, z: Array, samples: int) -> Iterable[bool]:
    first, second = class_scores(y, samples), class_scores(z, samples)
    if first is None:
        return ()
    return [False] * samples if second is None else (first.argmax(axis=1) == second.argmax(axis=1)).tolist()


def _comparable(y: Array, z: Array) -> tuple[Array, Array]:
    """Two outputs as flat float64 arrays of finite values whose difference is the error.

    An output that changed its shape counts as zeros. Strings count as 1, wrong ones as 0.
    """
    if not isinstance(y, np.ndarray) or not isinstance(z, np.ndarray):
        raise ModelError("cannot compare an output that is no tensor; end the graph in tensors")
    alike = y.shape == z.shape
    if y.dtype.kind not in "fiub":
        return np.ones(y.size), (y == z).ravel().astype(np.float64) if alike else np.zeros(y.size)
    y = y.ravel().astype(np.float64)
    z = z.ravel().astype(np.float64) if alike else np.zeros(y.size)
    broken = ~((np.abs(y) < HUGE) & (np.abs(z) < HUGE))
    if broken.any():
        same = (y == z) | (np.isnan(y) & np.isnan(z))
        y, z = np.where(broken, 0.0, y), np.where(broken, np.where(same, 0.0, BROKEN), z)
    return y, z
