"""Pieces: samples that come one feed at a time, be it from a file each or from an iterable; together they make columns.

An array of a piece is a feed, of the very shape that the graph reads; or a sample, which lacks the batch axis; or
several feeds of an input that has no batch axis, with one axis more. Where the arrays of a feed begin with the same
size, that is the number of its samples. Otherwise a feed is one sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate, count
from typing import Any

import numpy as np

from onnxprune.data.arrays import LABELS, by_name, plain, shown
from onnxprune.data.columns import Column, Spool
from onnxprune.errors import UsageError, first_line
from onnxprune.node import Array, Tensor

__all__ = ["Piece", "Samples", "gather", "pieces_of"]


@dataclass(frozen=True, eq=False)
class Piece:
    """Arrays by name, perhaps with ``labels``; ``name`` is for messages, ``label`` that of all its samples."""

    name: str
    arrays: Mapping[str, Any]
    label: Any = None


@dataclass(frozen=True, eq=False)
class Samples:
    """What a source holds: a column for each graph input, in their order, and perhaps labels.

    ``where`` is for messages; ``pieces`` are the names of what the samples came in, ``ends`` the samples before the
    end of each; ``left_out`` are files that are no samples.
    """

    where: str
    columns: Mapping[str, Column]
    labels: Array | None = None
    kind: str = "arrays"
    left_out: tuple[str, ...] = ()
    pieces: tuple[str, ...] = field(default=(), repr=False)
    ends: tuple[int, ...] = field(default=(), repr=False)

    def sample(self, number: int) -> str:
        """What to call a sample in a message."""
        piece = int(np.searchsorted(self.ends, number, side="right"))
        return f"sample {number}" + (f" ('{self.pieces[piece]}')" if self.pieces else "")


def pieces_of(items: Iterable[object], inputs: Sequence[Tensor]) -> Iterator[Piece]:
    """Feeds: mappings of arrays, arrays for a graph of one input, or pairs of either with labels."""
    feeds = iter(items)
    for number in count():
        try:
            item = next(feeds)
        except StopIteration:
            return
        except Exception as error:  # the iterable is the user's and may raise anything
            why = f"{type(error).__name__}: {first_line(error)}"
            raise UsageError(f"the data failed at item {number}: {why}") from error
        yield _piece(f"item {number}", item, inputs)


def _piece(name: str, item: object, inputs: Sequence[Tensor]) -> Piece:
    feed: object = item
    labels: object = None
    if isinstance(item, tuple | list) and len(item) == 2 and _is_feed(item[0]):
        feed, labels = item
    if not isinstance(feed, Mapping):
        if len(inputs) != 1 or not _is_feed(feed):
            names = ", ".join(f"'{t.name}'" for t in inputs)
            raise UsageError(f"the data: {name} is a {type(feed).__name__}; give a mapping of arrays for {names}")
        feed = {inputs[0].name: feed}
    return Piece(name, feed if labels is None else {**feed, LABELS: labels})


def _is_feed(value: object) -> bool:
    return isinstance(value, Mapping) or hasattr(value, "__array__")


def gather(where: str, pieces: Iterable[Piece], inputs: Sequence[Tensor]) -> Samples:
    """Write all pieces to columns, one after the other; raises UsageError for one that does not fit the first."""
    names, counts, labels = list[str](), list[int](), list[Array]()
    first: dict[str, Array] = {}
    with ExitStack() as stack:
        spools = {t.name: stack.enter_context(Spool()) for t in inputs}
        for piece in pieces:
            place = f"{where}: '{piece.name}'"
            arrays, marks = _samples(place, piece, inputs)
            first = first or {name: array[:0].copy() for name, array in arrays.items()}
            for name, array in arrays.items():
                _check_alike(place, name, array, first[name])
                spools[name].add(array)
            names.append(piece.name)
            counts.append(len(arrays[inputs[0].name]))
            labels += [] if marks is None else [marks]
        if not names:
            raise UsageError(f"{where}: there are no samples in it; give at least one")
        columns = {n: spools[n].column((sum(counts), *a.shape[1:]), a.dtype) for n, a in first.items()}
    held = _joined(where, labels, len(names))
    return Samples(where, columns, held, pieces=tuple(names), ends=tuple(accumulate(counts)))


def _samples(where: str, piece: Piece, inputs: Sequence[Tensor]) -> tuple[dict[str, Array], Array | None]:
    """The arrays of a piece as [samples, ...], and the labels of these samples."""
    held = by_name(where, piece.arrays, [t.name for t in inputs])
    given = {name: plain(where, name, piece.arrays[name]) for name in held}
    marks = None if LABELS in {t.name for t in inputs} else given.pop(LABELS, None)
    extra = {t.name: _extra(where, t, given[t.name]) for t in inputs}
    counts = {n: 1 if extra[n] < 0 else len(array) if array.ndim else -1 for n, array in given.items()}
    whole = not _parted(counts, inputs)
    lacks = {n: extra[n] < 0 or not a.ndim or (whole and not extra[n] and len(a) != 1) for n, a in given.items()}
    arrays = {name: array[None] if lacks[name] else array for name, array in given.items()}
    return arrays, _marks(where, piece, marks, {name: len(array) for name, array in arrays.items()})


def _extra(where: str, tensor: Tensor, array: Array) -> int:
    """The axes that an array has more than the graph input: one less, none, or one."""
    if array.dtype.kind not in "fiubcV":
        raise UsageError(f"{where}: '{tensor.name}' holds no numbers; an .npz or a mapping of whole arrays may do so")
    extra = 0 if tensor.shape is None else array.ndim - len(tensor.shape)
    if abs(extra) > 1:
        wants = f"the graph reads {shown(tensor.shape)}; give such a feed, or one sample of it"
        raise UsageError(f"{where}: '{tensor.name}' is {shown(array.shape)}, but {wants}")
    return extra


def _parted(counts: Mapping[str, int], inputs: Sequence[Tensor]) -> bool:
    """Whether first axes count samples: they agree, or those that the graph calls alike do not, which is an error."""
    alike: dict[str, set[int]] = {}
    for tensor in inputs:
        if tensor.shape and isinstance(symbol := tensor.shape[0], str):
            alike.setdefault(symbol, set()).add(counts[tensor.name])
    return len(set(counts.values())) == 1 or any(len(sizes) > 1 for sizes in alike.values())


def _marks(where: str, piece: Piece, marks: Array | None, counts: dict[str, int]) -> Array | None:
    """The labels of the samples of a piece, once all its arrays are found to hold equally many."""
    samples = next(iter(counts.values()))
    if marks is not None and piece.label is not None:
        way_out = "remove the array, or give --labels off"
        raise UsageError(f"{where}: it holds '{LABELS}', and its folder or --labels gives it another; {way_out}")
    if marks is None:
        marks = None if piece.label is None else np.full(samples, piece.label)
    elif not marks.ndim and samples == 1:
        marks = marks.reshape(1)
    every = counts if marks is None else {**counts, LABELS: len(marks) if marks.ndim else 0}
    if len(set(every.values())) > 1:
        held = ", ".join(f"{name} {size}" for name, size in every.items())
        raise UsageError(f"{where}: the arrays differ in their number of samples ({held}); give one for each sample")
    return marks


def _check_alike(where: str, name: str, array: Array, first: Array) -> None:
    if (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
        held, wanted = (f"{shown(a.shape[1:])} {a.dtype.name}" for a in (array, first))
        way_out = "every sample must have the same shape and type"
        raise UsageError(f"{where}: a sample of '{name}' is {held}, those before are {wanted}; {way_out}")


def _joined(where: str, labels: list[Array], pieces: int) -> Array | None:
    if not labels:
        return None
    try:
        if len(labels) == pieces:
            return np.concatenate(labels)
    except ValueError as error:
        raise UsageError(f"{where}: '{LABELS}' differ in shape; give labels of one shape") from error
    raise UsageError(f"{where}: {len(labels)} of {pieces} feeds come with '{LABELS}'; give all of them labels, or none")
