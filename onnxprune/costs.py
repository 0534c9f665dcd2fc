"""A cost as a function of sizes: a planner asks what a smaller network would cost without building it.

A cost is a sum of parts, each of which depends on a few sizes: a ``Term`` is a product of sizes, as the MACs of a
convolution are; the time that a layer takes is looked up in a table.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from onnxprune.node import Array

__all__ = ["CostModel", "Part", "Size", "Term", "saved"]

Size: TypeAlias = int | Array  # an array asks about many sizes at once


class Part(Protocol):
    """One summand of a cost: that of the node or constant named by ``where``, which depends on ``factors`` alone."""

    @property
    def where(self) -> str: ...

    @property
    def factors(self) -> tuple[Hashable, ...]: ...

    def at(self, sizes: Sequence[Size]) -> Any:
        """The cost where the factors have these sizes: a number, or an array where one of them is an array."""


@dataclass(frozen=True)
class Term:
    """``coefficient · Π sizes``."""

    where: str
    coefficient: float
    factors: tuple[Hashable, ...] = ()

    def at(self, sizes: Sequence[Size]) -> Any:
        """The product."""
        return self.coefficient * math.prod(sizes)


@dataclass(frozen=True)
class CostModel:
    """A cost as a function of sizes, and the sizes as they are."""

    parts: tuple[Part, ...]
    sizes: Mapping[Hashable, int]

    def total(self) -> float:
        """The cost at the present sizes."""
        return sum(float(part.at([self.sizes[f] for f in part.factors])) for part in self.parts)

    def touched(self, sizes: Mapping[Hashable, int]) -> list[Part]:
        """The parts that change with these sizes."""
        return [part for part in self.parts if any(f in sizes for f in part.factors)]


def saved(parts: Sequence[Part], sizes: Mapping[Hashable, int], less: Mapping[Hashable, int], steps: Array) -> Array:
    """What the parts cost less once every size has lost ``steps`` times what ``less`` says, for each of the steps."""
    found = np.zeros(len(steps))
    for part in parts:
        now = [sizes[f] for f in part.factors]
        found += part.at(now) - part.at([sizes[f] - less.get(f, 0) * steps for f in part.factors])
    return found
