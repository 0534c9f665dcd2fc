"""How much worse a network does than the original, without labels: one number, 0 where both do the same.

For class scores it is the mean divergence KL(p‖q) of the result's class probabilities q from the original's p, in
nats; scores that are no probabilities go through a softmax. For any other output it is Σ(z − y)² / Σ(y − ȳ)², with the
mean over samples ȳ. Outputs add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.fidelity import class_scores, numbered
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["FAINT", "Loss", "losses"]

LEAST = 1e-12  # of a probability
FAINT = 1e-7  # a loss that float32 does not tell from none
TINY = float(np.finfo(np.float64).tiny)


def losses(original: Model, results: Sequence[Model], data: Calibration) -> list[float]:
    """The loss of every result on the data, on one run of the original; infinite where something is not finite."""
    before, afters = Session(original.lean()), [Session(result.lean()) for result in results]
    found = [Loss(len(before.outputs)) for _ in afters]
    for span, feeds in numbered(data):
        ys = before(feeds)
        for each, after in zip(found, afters, strict=True):
            each.add(ys, after(feeds, before.outputs), span.stop - span.start)
    return [each.value for each in found]


class Loss:
    """The loss of one result, over batches that come one after the other."""

    def __init__(self, outputs: int) -> None:
        """Nothing yet, of so many outputs."""
        self._sums = [_Sum() for _ in range(outputs)]

    def add(self, ys: Sequence[Array], zs: Sequence[Array], samples: int) -> None:
        """Count a batch of so many samples: the original's outputs, and the result's."""
        for entry, y, z in zip(self._sums, ys, zs, strict=True):
            entry.add(y, z, samples)

    @property
    def value(self) -> float:
        """The loss; infinite where something is not finite."""
        return sum(entry.loss for entry in self._sums)

    @property
    def typical(self) -> float:
        """The geometric mean of the losses of single samples, for each output: no few samples decide on it.

        How much a sample loses by the same noise depends on how sure the network is of it; in the ratio of two typical
        losses that cancels out.
        """
        return sum(entry.typical for entry in self._sums)


class _Sum:
    """What is summed up of one output."""

    def __init__(self) -> None:
        self.divergence, self.samples = 0.0, 0
        self.noise, self.rows = 0.0, 0
        self.first: Array | float = 0.0
        self.second = 0.0
        self.each = list[Array]()  # of divergences, or of what noise adds up to

    def add(self, y: Array, z: Array, samples: int) -> None:
        if not (isinstance(y, np.ndarray) and y.dtype.kind == "f"):
            return
        if z.shape != y.shape or not (np.isfinite(y).all() and np.isfinite(z).all()):
            self.noise = math.inf
        elif (scores := class_scores(y, samples)) is not None:
            p, q = _distributions(scores.astype(np.float64), z.reshape(scores.shape).astype(np.float64))
            found = np.sum(p * (np.log(p) - np.log(q)), axis=1)
            self.divergence += float(found.sum())
            self.each.append(found)
            self.samples += samples
        else:
            rows = y.reshape(samples, -1) if y.ndim and len(y) == samples else y.reshape(1, -1)
            self._scatter(rows.astype(np.float64), z.reshape(rows.shape).astype(np.float64))

    def _scatter(self, y: Array, z: Array) -> None:
        found = np.sum((z - y) ** 2, axis=1)
        self.noise += float(found.sum())
        self.each.append(found)
        self.second += float(np.sum(y**2))
        self.first = self.first + y.sum(axis=0) if np.shape(self.first) in ((), y.shape[1:]) else math.nan
        self.rows += len(y)

    @property
    def loss(self) -> float:
        if self.samples:
            return self.divergence / self.samples + (self.noise if math.isinf(self.noise) else 0.0)
        return self.noise / self.signal

    @property
    def signal(self) -> float:
        spread = self.second - float(np.sum(np.square(self.first))) / max(self.rows, 1)
        return max(spread if spread > TINY else self.second, TINY)  # one sample, or outputs of varying size

    @property
    def typical(self) -> float:
        if not self.each or math.isinf(self.noise):
            return self.noise
        each = np.concatenate(self.each)
        shares = each if self.samples else each * len(each) / self.signal
        return float(np.exp(np.log(np.maximum(shares, 0) + FAINT).mean()))


def _distributions(y: Array, z: Array) -> tuple[Array, Array]:
    """The class probabilities of both; what stands for the original's probabilities is some too, if not of sum 1."""
    if not _probable(y):
        y, z = _softmax(y), _softmax(z)
    elif not _probable(z):  # rounded to a grid, say
        z = np.maximum(z, LEAST)
        z = z / z.sum(axis=1, keepdims=True)
    return np.maximum(y, LEAST), np.maximum(z, LEAST)


def _probable(scores: Array) -> bool:
    return bool(scores.min(initial=0) >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def _softmax(scores: Array) -> Array:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
