"""Calibration and test data: samples of every graph input, checked against the graph once, when they are loaded."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onnxprune.data.arrays import LABELS, shown
from onnxprune.data.columns import Column, chunks
from onnxprune.data.pieces import Samples
from onnxprune.data.preprocess import Preprocess
from onnxprune.data.sources import Source, read
from onnxprune.errors import UsageError
from onnxprune.model import Model
from onnxprune.node import Array, Tensor
from onnxprune.portions import MOST, portion
from onnxprune.shapes import input_shapes

__all__ = ["Calibration"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Samples of every graph input, in an order that stays; iterate as often as you like. Made by ``load``.

    ``batch`` is how many samples the graph takes at once, None when it takes any number; ``at_once`` is how many it is
    then given. An input in ``bare`` was given with one axis more than the graph has: it is fed without its sample axis,
    and all samples one by one.
    """

    batch: int | None
    seed: int
    bare: frozenset[str] = field(repr=False)
    content: str = field(repr=False)  # SHA-256 of columns and labels
    columns: Mapping[str, Column] = field(repr=False)  # [samples, ...], shared by every part
    order: npt.NDArray[np.int64] = field(repr=False)  # the samples of this part
    all_labels: Array | None = field(repr=False)
    kind: str = field(default="arrays", repr=False)  # of the source
    left_out: tuple[str, ...] = field(default=(), repr=False)  # files of the source that are no samples
    at_once: int = field(default=MOST, repr=False)

    @classmethod
    def load(
        cls,
        source: Source,
        model: Model,
        *,
        seed: int = 0,
        preprocess: Preprocess | None = None,
        labels: str | Path | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Calibration:
        """Samples for every graph input from a file, a folder, a mapping of arrays or feeds, and perhaps labels.

        Arrays must have the graph's dtype and finite values; raises UsageError for whatever does not fit the graph.
        A graph of fixed batch size gets whole batches only: samples that do not fill one are left out. ``shapes``
        say what the graph leaves open of the size of images and made-up inputs.
        """
        input_shapes(model, shapes or {})  # refuses what the graph does not take
        wanted = [replace(t, shape=(shapes or {}).get(t.name, t.shape)) for t in model.inputs]
        data = read(source, wanted, preprocess=preprocess, labels=labels, seed=seed)
        where, count = data.where, _sample_count(data)
        bare = frozenset(t.name for t in model.inputs if _is_bare(where, t, data.columns[t.name]))
        for tensor in model.inputs:
            _check_type(where, tensor, data.columns[tensor.name])
        batch = _batch(where, model.inputs, bare)
        used = count // (batch or 1) * (batch or 1)
        if not used:
            raise UsageError(f"{where}: {count} samples do not fill a batch; the graph takes exactly {batch} at once")
        if used < count:
            log.info("%s: %d of %d samples fill no batch of %s and are left out", where, count - used, count, batch)
        order, content = np.arange(used, dtype=np.int64), _digest(data)
        sample = {name: c.shape[1:] if name in bare else (1, *c.shape[1:]) for name, c in data.columns.items()}
        at_once = portion(model, input_shapes(model, {}, sample)) if batch is None else batch
        return cls(batch, seed, bare, content, data.columns, order, data.labels, data.kind, data.left_out, at_once)

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.order)

    @property
    def labels(self) -> Array | None:
        """The labels [samples, ...] in the order of the samples, None when none were given."""
        return None if self.all_labels is None else self.all_labels[self.order]

    def batches(self, size: int | None = None) -> Iterator[dict[str, Array]]:
        """Feeds of ``size`` samples, by default ``at_once``, the last perhaps smaller.

        They are of exactly ``batch`` samples where the graph says so.
        """
        size = self.batch or size or self.at_once
        yield from (self.feed(start, size) for start in range(0, self.count, size))

    def feed(self, start: int, size: int) -> dict[str, Array]:
        """The feed of ``size`` samples from number ``start`` on, or as many as there are."""
        chosen = self.order[start : start + size]
        return {n: np.asarray(c[chosen][0]) if n in self.bare else c[chosen] for n, c in self.columns.items()}

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

    def halves(self, most: int | None = None) -> list[tuple[Calibration, Calibration]]:
        """Two halves, drawn at random: one to fit on and the other to check on, and the other way round.

        They are of ``most`` samples at most; a lone batch is both of them.
        """
        one, other = self.split(0.5)
        pairs = [(one, other)] if one is other else [(one, other), (other, one)]
        return pairs if most is None else [(fit.few(most), check.few(most)) for fit, check in pairs]

    def few(self, most: int) -> Calibration:
        """The first samples, ``most`` of them at most: whole batches, and one at least."""
        unit = self.batch or 1
        return replace(self, order=self.order[: max(most // unit, 1) * unit]) if most < self.count else self

    def fingerprint(self) -> str:
        """A SHA-256 of the samples, their order, their labels and the seed."""
        return hashlib.sha256(f"{self.content} {self.seed} ".encode() + self.order.tobytes()).hexdigest()


def _sample_count(data: Samples) -> int:
    shapes = {name: column.shape for name, column in data.columns.items()}
    if data.labels is not None:
        shapes[LABELS] = data.labels.shape
    if flat := [name for name, shape in shapes.items() if not shape]:
        raise UsageError(f"{data.where}: array '{flat[0]}' is a single number; its first axis must count the samples")
    counts = {name: shape[0] for name, shape in shapes.items()}
    if len(set(counts.values())) > 1:
        held, way_out = ", ".join(f"{name} {count}" for name, count in counts.items()), "give one for each sample"
        raise UsageError(f"{data.where}: the arrays differ in their number of samples ({held}); {way_out}")
    if not (count := next(iter(counts.values()))):
        raise UsageError(f"{data.where}: there are no samples in it; give at least one")
    return count


def _is_bare(where: str, tensor: Tensor, column: Column) -> bool:
    """Whether the sample axis stands before all axes of the graph input, and is not the first of them."""
    if tensor.shape is None:
        return False
    bare = len(column.shape) == len(tensor.shape) + 1
    sizes, held = tensor.shape if bare else tensor.shape[1:], column.shape[1:]
    if len(sizes) == len(held) and all(s == h for s, h in zip(sizes, held, strict=True) if isinstance(s, int)):
        return bare
    reads = f"the graph reads {shown(tensor.shape)}"
    shapes = shown(("samples", *tensor.shape[1:])) if tensor.shape else "samples"
    raise UsageError(f"{where}: array '{tensor.name}' is {shown(column.shape)}, but {reads}; give {shapes}")


def _check_type(where: str, tensor: Tensor, column: Column) -> None:
    held, wanted = column.dtype, tensor.dtype
    if wanted is None or held == wanted or (wanted.hasobject and held.kind == "U"):
        return
    name = "str" if wanted.hasobject else wanted.name
    scaling = ", scaled as in training" if held.kind in "iub" and wanted.kind == "f" else ""
    way_out = f"convert it with .astype('{name}'){scaling}"
    raise UsageError(f"{where}: array '{tensor.name}' is {held.name}, the graph reads {name}; {way_out}")


def _batch(where: str, inputs: Sequence[Tensor], bare: frozenset[str]) -> int | None:
    """How many samples the graph takes at once, None when any number."""
    sizes = {t.name: 1 if t.name in bare else t.size(0) for t in inputs}
    fixed = {name: size for name, size in sizes.items() if size is not None}
    if len(set(fixed.values())) > 1:
        held = ", ".join(f"{name} {size}" for name, size in fixed.items())
        way_out = "give an input whose first axis is no batch axis with a sample axis in front of all its own"
        raise UsageError(f"{where}: the graph inputs take different numbers of samples at once ({held}); {way_out}")
    return next(iter(fixed.values()), None)


def _digest(data: Samples) -> str:
    """A SHA-256 of all that the samples hold; raises UsageError where that is not finite."""
    digest = hashlib.sha256()
    marks = {} if data.labels is None else {f"{LABELS} set aside": data.labels}
    for name, column in sorted([*data.columns.items(), *marks.items()]):
        digest.update(f"{name} {column.dtype.str} {column.shape} ".encode())
        for start, samples in chunks(column):
            if name not in marks:
                _check_finite(data, name, start, samples)
            digest.update(np.ascontiguousarray(samples).reshape(-1).view(np.uint8).data)
            del samples  # before the next are read
    return digest.hexdigest()


def _check_finite(data: Samples, name: str, start: int, samples: Array) -> None:
    if samples.dtype.kind in "fc" and not (finite := np.isfinite(samples)).all():
        first = data.sample(start + int(np.argmin(finite.reshape(len(samples), -1).all(axis=1))))
        way_out = "remove or repair such samples"
        raise UsageError(f"{data.where}: array '{name}' holds NaN or infinity, first in {first}; {way_out}")
