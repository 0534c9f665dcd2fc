"""Calibration and test data: samples of every graph input, checked against the graph once, when they are loaded."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from onnxprune.errors import UsageError
from onnxprune.model import Model
from onnxprune.node import Array, Shape, Tensor
from onnxprune.samples import LABELS, Source, read

__all__ = ["Calibration"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Samples of every graph input, in an order that stays; iterate as often as you like. Made by ``load``.

    ``batch`` is how many samples the graph takes at once, None when it takes any number. An input in ``bare`` was
    given with one axis more than the graph has: it is fed without its sample axis, and all samples one by one.
    """

    batch: int | None
    seed: int
    bare: frozenset[str] = field(repr=False)
    content: str = field(repr=False)  # SHA-256 of arrays and labels
    arrays: Mapping[str, Array] = field(repr=False)  # [samples, ...], read-only, shared by every part
    order: npt.NDArray[np.int64] = field(repr=False)  # the samples of this part
    all_labels: Array | None = field(repr=False)

    @classmethod
    def load(cls, source: Source, model: Model, *, seed: int = 0) -> Calibration:
        """Data from an ``.npz`` file or a mapping: an array [samples, ...] per graph input, and perhaps ``labels``.

        Arrays must have the graph's dtype and finite values; raises UsageError for whatever does not fit the graph.
        A graph of fixed batch size gets whole batches only: samples that do not fill one are left out.
        """
        where, arrays = read(source, [t.name for t in model.inputs])
        labels = None if LABELS in {t.name for t in model.inputs} else arrays.pop(LABELS, None)
        count = _sample_count(where, arrays, labels)
        bare = frozenset(t.name for t in model.inputs if _is_bare(where, t, arrays[t.name]))
        for tensor in model.inputs:
            _check_values(where, tensor, arrays[tensor.name])
        batch = _batch(where, model.inputs, bare)
        used = count // (batch or 1) * (batch or 1)
        if not used:
            raise UsageError(f"{where}: {count} samples do not fill a batch; the graph takes exactly {batch} at once")
        if used < count:
            log.info("%s: %d of %d samples fill no batch of %s and are left out", where, count - used, count, batch)
        content = _digest({**arrays, f"{LABELS} set aside": labels} if labels is not None else arrays)
        return cls(batch, seed, bare, content, arrays, np.arange(used, dtype=np.int64), labels)

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.order)

    @property
    def labels(self) -> Array | None:
        """The labels [samples, ...] in the order of the samples, None when none were given."""
        return None if self.all_labels is None else self.all_labels[self.order]

    def batches(self, size: int = 32) -> Iterator[dict[str, Array]]:
        """Feeds of ``size`` samples, the last perhaps smaller; of exactly ``batch`` samples where the graph says so."""
        size = self.batch or size
        for start in range(0, self.count, size):
            chosen = self.order[start : start + size]
            yield {n: np.asarray(a[chosen[0]]) if n in self.bare else a[chosen] for n, a in self.arrays.items()}

    def split(self, check: float = 0.2) -> tuple[Calibration, Calibration]:
        """A part to fit on and a part to check on, drawn at random by ``seed``; ``check`` is a share of the samples.

        Raises UsageError for a share outside 0 … 1. Each part has a batch at least; a lone batch is both of them.
        """
        if not 0 < check < 1:
            raise UsageError(f"cannot hold out a share of {check:g} of the samples; it must lie between 0 and 1")
        unit = self.batch or 1
        if (units := self.count // unit) < 2:
            return self, self
        shuffled = np.random.default_rng(self.seed).permutation(self.order)
        held_out = unit * min(max(round(check * units), 1), units - 1)
        return replace(self, order=shuffled[held_out:]), replace(self, order=shuffled[:held_out])

    def fingerprint(self) -> str:
        """A SHA-256 of the samples, their order, their labels and the seed."""
        return hashlib.sha256(f"{self.content} {self.seed} ".encode() + self.order.tobytes()).hexdigest()


def _sample_count(where: str, arrays: Mapping[str, Array], labels: Array | None) -> int:
    every = {**arrays, LABELS: labels} if labels is not None else arrays
    if flat := [name for name, array in every.items() if array.ndim == 0]:
        raise UsageError(f"{where}: array '{flat[0]}' is a single number; its first axis must count the samples")
    counts = {name: len(array) for name, array in every.items()}
    if len(set(counts.values())) > 1:
        held = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UsageError(f"{where}: the arrays differ in their number of samples ({held}); give one for each sample")
    if not (count := next(iter(counts.values()))):
        raise UsageError(f"{where}: there are no samples in it; give at least one")
    return count


def _is_bare(where: str, tensor: Tensor, array: Array) -> bool:
    """Whether the sample axis stands before all axes of the graph input, and is not the first of them."""
    if tensor.shape is None:
        return False
    bare = array.ndim == len(tensor.shape) + 1
    sizes = tensor.shape if bare else tensor.shape[1:]
    if len(sizes) == array.ndim - 1 and all(s == array.shape[k] for k, s in enumerate(sizes, 1) if isinstance(s, int)):
        return bare
    reads = f"the graph reads {_text(tensor.shape)}"
    shapes = _text(("samples", *tensor.shape[1:])) if tensor.shape else "samples"
    raise UsageError(f"{where}: array '{tensor.name}' is {_text(array.shape)}, but {reads}; give {shapes}")


def _text(shape: Shape) -> str:
    return "×".join("?" if size is None else str(size) for size in shape) or "a single number"


def _check_values(where: str, tensor: Tensor, array: Array) -> None:
    if (
        tensor.dtype is not None
        and array.dtype != tensor.dtype
        and not (tensor.dtype.hasobject and array.dtype.kind == "U")
    ):
        wanted = "str" if tensor.dtype.hasobject else tensor.dtype.name
        scaling = ", scaled as in training" if array.dtype.kind in "iub" and tensor.dtype.kind == "f" else ""
        way_out = f"convert it with .astype('{wanted}'){scaling}"
        raise UsageError(f"{where}: array '{tensor.name}' is {array.dtype.name}, the graph reads {wanted}; {way_out}")
    if array.dtype.kind in "fc" and not (finite := np.isfinite(array)).all():
        sample = int(np.argmin(finite.reshape(len(array), -1).all(axis=1)))
        way_out = "remove or repair such samples"
        raise UsageError(f"{where}: array '{tensor.name}' holds NaN or infinity, first in sample {sample}; {way_out}")


def _batch(where: str, inputs: Sequence[Tensor], bare: frozenset[str]) -> int | None:
    """How many samples the graph takes at once, None when any number."""
    sizes = {t.name: 1 if t.name in bare else t.size(0) for t in inputs}
    fixed = {name: size for name, size in sizes.items() if size is not None}
    if len(set(fixed.values())) > 1:
        held = ", ".join(f"{name} {size}" for name, size in fixed.items())
        way_out = "give an input whose first axis is no batch axis with a sample axis in front of all its own"
        raise UsageError(f"{where}: the graph inputs take different numbers of samples at once ({held}); {way_out}")
    return next(iter(fixed.values()), None)


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
