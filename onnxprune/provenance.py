"""Where every slot came from: current slot → slot of a tensor of the input file.

A pass that keeps a tensor keeps its name, so an axis never recorded stems from itself. A slot of the file is *removed*
when no current slot stems from it; where several axes stem from one, and did not lose the same slots, nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.node import Array, Axis, Shape

__all__ = ["Provenance", "Source"]


@dataclass(frozen=True, eq=False)
class Source:
    """``slots[i]`` is the slot of ``axis`` (of the input file) that current slot i stems from."""

    axis: Axis
    slots: Array


class Provenance:
    """The map of one model. An axis never recorded stems from itself, slot by slot."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._sizes = {Axis(name, dim): size for name, shape in shapes.items() for dim, size in enumerate(shape)}
        self._sources: dict[Axis, tuple[Source, ...]] = {}

    def copy(self) -> Provenance:
        """An independent map."""
        twin = Provenance({})
        twin._sizes, twin._sources = dict(self._sizes), dict(self._sources)
        return twin

    def sources(self, axis: Axis, size: int) -> tuple[Source, ...]:
        """Where the ``size`` slots of an axis came from; empty for a tensor that a pass made up."""
        return self._sources.get(axis, (Source(axis, np.arange(size)),))

    def slots(self, axis: Axis, size: int) -> Array | None:
        """The slots of the same axis in the input file, None when the axis does not stem from itself."""
        own = [s.slots for s in self.sources(axis, size) if s.axis == axis]
        return own[0] if own else None

    def adopt(self, name: str, shape: tuple[int, ...]) -> None:
        """A tensor that the input file computes has become a constant of that shape, under its own name."""
        for dim, size in enumerate(shape):
            self._sizes.setdefault(Axis(name, dim), size)

    def duplicate(self, name: str, twin: str, shape: tuple[int, ...]) -> None:
        """A tensor that a pass made up stems from whatever another of that shape stems from."""
        for dim, size in enumerate(shape):
            self._sources[Axis(twin, dim)] = self.sources(Axis(name, dim), size)

    def merge(self, name: str, twin: str, shape: tuple[int, ...]) -> None:
        """A tensor stands for another of the same shape too."""
        for dim, size in enumerate(shape):
            self._join(Axis(name, dim), Axis(twin, dim), size)

    def _join(self, axis: Axis, twin: Axis, size: int) -> None:
        own, new = self.sources(axis, size), self.sources(twin, size)
        known = [(source.axis, source.slots.tolist()) for source in own]
        if strange := [s for s in new if (s.axis, s.slots.tolist()) not in known]:
            self._sources[axis] = (*own, *strange)

    def rename(self, name: str, twin: str, shape: Shape) -> None:
        """A tensor stands for another that was the same, and that a pass dropped; axes of fixed size can be cut."""
        sizes = {dim: size for dim, size in enumerate(shape) if isinstance(size, int)}
        for dim, size in sizes.items():
            for each in (Axis(name, dim), Axis(twin, dim)):
                if each not in self._sources:
                    self._sizes.setdefault(each, size)
            self._join(Axis(name, dim), Axis(twin, dim), size)

    def forget(self, name: str, rank: int) -> None:
        """A tensor of that rank, which a pass made up, is no more."""
        for dim in range(rank):
            self._sources.pop(Axis(name, dim), None)

    def record(self, axis: Axis, sources: tuple[Source, ...]) -> None:
        """Say where an axis came from; no source at all says that it is new."""
        self._sources[axis] = sources

    def keep(self, axis: Axis, size: int, kept: Array) -> None:
        """Only the slots ``kept`` (ascending, of ``size``) are left of an axis."""
        if axis not in self._sources:
            self._sizes.setdefault(axis, size)
        self._sources[axis] = tuple(Source(s.axis, s.slots[kept]) for s in self.sources(axis, size))

    def removed(self, tensors: Mapping[str, tuple[int, ...]]) -> dict[str, dict[int, list[int]]]:
        """The prune spec ``{tensor: {axis: [removed slots]}}`` in names and slots of the input file.

        ``tensors`` are the shapes that those to speak of have now.
        """
        gone: dict[Axis, set[tuple[int, ...]]] = {}
        for name, shape in tensors.items():
            for dim, size in enumerate(shape):
                for source in self.sources(Axis(name, dim), size):
                    gone.setdefault(source.axis, set()).add(self._gone(source))
        spec: dict[str, dict[int, list[int]]] = {}
        for axis, found in sorted(gone.items()):
            if len(found) == 1 and (slots := next(iter(found))):
                spec.setdefault(axis.tensor, {})[axis.dim] = list(slots)
        return spec

    def _gone(self, source: Source) -> tuple[int, ...]:
        """The slots of the file of which a source has none; () for a tensor of which nothing is known."""
        return tuple(np.setdiff1d(np.arange(self._sizes.get(source.axis, 0)), source.slots).tolist())
