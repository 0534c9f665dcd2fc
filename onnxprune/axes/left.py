"""What a cut leaves of the axes of a graph: how many slots, and which of those there were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxprune.errors import PassError
from onnxprune.node import Array, Axis, Shape

__all__ = ["Left"]


@dataclass(frozen=True, eq=False)
class Left:
    """``kept`` holds the slots that stay of every axis that is cut, ascending; ``shapes`` are those of before."""

    kept: Mapping[Axis, Array] = field(repr=False)
    shapes: Mapping[str, Shape] = field(repr=False)

    def cuts(self, axis: Axis) -> bool:
        """Whether the axis loses slots."""
        return axis in self.kept

    def size(self, axis: Axis) -> int:
        """The number of slots that are left; PassError where it is known at run time only."""
        if axis in self.kept:
            return len(self.kept[axis])
        if not isinstance(size := self.shapes[axis.tensor][axis.dim], int):
            raise PassError(f"the size of {axis} is known at run time only and cannot be written into a node")
        return size

    def slots(self, axis: Axis) -> Array:
        """The slots of before that are left, ascending, int64; PassError as for ``size``."""
        return self.kept[axis] if axis in self.kept else np.arange(self.size(axis))
