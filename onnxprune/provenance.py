"""Where every slot came from: current slot → slot of a tensor of the input file.

A pass that keeps a tensor keeps its name, so an axis never recorded stems from itself. A slot of the file is *removed*
when no current slot stems from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.node import Array, Axis

__all__ = ["Provenance", "Source"]


@dataclass(frozen=True, eq=False)
class Source:
    """``slots[i]`` is the slot of ``axis`` (of the input file) that current slot i stems from."""

    axis: Axis
    slots: Array


class Provenance:
    """The map of one model. An axis never recorded stems from itself, slot by slot."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)  # of the constants, as in the input file
        self._sources: dict[Axis, tuple[Source, ...]] = {}

    def copy(self) -> Provenance:
        """An independent map."""
        twin = Provenance(self._shapes)
        twin._sources = dict(self._sources)
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
        self._shapes.setdefault(name, shape)

    def record(self, axis: Axis, sources: tuple[Source, ...]) -> None:
        """Say where an axis came from; no source at all says that it is new."""
        self._sources[axis] = sources

    def keep(self, axis: Axis, size: int, kept: Array) -> None:
        """Only the slots ``kept`` (ascending, of ``size``) are left of an axis."""
        self._sources[axis] = tuple(Source(s.axis, s.slots[kept]) for s in self.sources(axis, size))

    def removed(self, constants: Mapping[str, tuple[int, ...]]) -> dict[str, dict[int, list[int]]]:
        """The prune spec ``{tensor: {axis: [removed slots]}}`` in names and slots of the input file.

        ``constants`` are the shapes of the constants now in the graph.
        """
        left: dict[Axis, list[Array]] = {}
        for name, shape in constants.items():
            for dim, size in enumerate(shape):
                for source in self.sources(Axis(name, dim), size):
                    left.setdefault(source.axis, []).append(source.slots)
        spec: dict[str, dict[int, list[int]]] = {}
        for axis, slots in sorted(left.items()):
            shape = self._shapes.get(axis.tensor, ())
            gone = np.setdiff1d(np.arange(shape[axis.dim]), np.concatenate(slots)) if axis.dim < len(shape) else ()
            if len(gone):
                spec.setdefault(axis.tensor, {})[axis.dim] = [int(i) for i in gone]
        return spec
