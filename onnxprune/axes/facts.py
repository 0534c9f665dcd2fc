"""What a rule can say about the axes of one operator. Facts are data: no masks, no mutation, no order.

``node`` is the operator that a fact comes from; no rule writes it, ``facts_of`` does. Facts that say the same are
equal, whoever says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from onnxprune.node import Array, Axis, Tensor

__all__ = ["Approximate", "Either", "Fact", "Facts", "Free", "Pin", "Tie", "at", "axes"]


@dataclass(frozen=True)
class Tie:
    """Slot j of ``b`` and slot ``shift + (j // repeat) % modulo`` of ``a`` live or die together, for every j.

    A map that no formula gives stands in ``table``: slot ``table[j]`` of ``a``, or none where that is −1.
    """

    a: Axis
    b: Axis
    shift: int = 0
    repeat: int = 1
    modulo: int | None = None
    table: tuple[int, ...] | None = None
    node: str | None = field(default=None, compare=False)

    def plain(self, size: int) -> bool:
        """Whether each of the ``size`` slots of ``b`` is tied to the slot of ``a`` with its own number."""
        plain = not self.shift and self.repeat == 1 and self.table is None
        return plain and (self.modulo is None or self.modulo >= size)

    def slots(self, size: int) -> Array:
        """The slots of ``a`` that the ``size`` slots of ``b`` are tied to, int64; −1 where to none."""
        if self.table is not None:
            return np.array(self.table, np.int64)
        index = np.arange(size) // self.repeat
        return self.shift + (index if self.modulo is None else index % self.modulo)


@dataclass(frozen=True)
class Pin:
    """No slot of the axis can be cut; ``kind`` is one of ``reasons.KINDS``."""

    axis: Axis
    why: str
    kind: str = field(default="operator", compare=False)
    node: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Approximate:
    """Slots of the axis can be cut, but the function changes beyond the removed channels."""

    axis: Axis
    why: str
    kind: str = field(default="approximate", compare=False)
    node: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Free:
    """The operator does not mind which slots of the axis go."""

    axis: Axis
    node: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Either:
    """Alternatives of which each is sound; which one is taken decides only how much can be cut.

    An option is one tie, and the axes that are then kept whole.
    """

    options: tuple[tuple[Tie, tuple[Axis, ...]], ...]
    why: str
    node: str | None = field(default=None, compare=False)


Fact: TypeAlias = Tie | Pin | Approximate | Free | Either
Facts: TypeAlias = Iterator[Fact]


def axes(fact: Fact) -> list[Axis]:
    """Every axis that a fact names."""
    if isinstance(fact, Pin | Approximate | Free):
        return [fact.axis]
    if isinstance(fact, Either):
        return [axis for tie, whole in fact.options for axis in (tie.a, tie.b, *whole)]
    return [fact.a, fact.b]


def at(tensor: Tensor, dim: int) -> Axis:
    """Dimension ``dim`` of a tensor of known rank, counted from the end when negative; ValueError when it has none."""
    rank = tensor.rank or 0
    if not -rank <= dim < rank:
        raise ValueError(f"'{tensor.name}' has no axis {dim}")
    return Axis(tensor.name, dim % rank)
