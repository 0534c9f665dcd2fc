"""What to compress, and by how much: candidates offer, budgets bound, and a plan says how far to go with each.

The planner knows nothing of channels. A ``Candidate`` offers to make something smaller step by step; a ``Budget``
bounds a cost, which is a function of sizes; ``allocation`` holds the ways to get from both to a ``Plan``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from onnxprune.costs import CostModel
from onnxprune.model import Model
from onnxprune.node import Array

__all__ = ["Amounts", "Budget", "Candidate", "Plan"]

Amounts: TypeAlias = Mapping[str, int]  # how many steps to take, by the name of the candidate


@dataclass(frozen=True, eq=False)
class Candidate:
    """An offer to make a network cheaper.

    ``harm[k]`` is the harm done by the first k steps: it starts at 0, never falls, and is comparable across
    candidates. Each step takes ``saves[q]`` from the size of quantity q. Only the amounts in ``steps`` (ascending) may
    be chosen; the first, as a rule 0, is where a plan begins. ``apply(model, k)`` does it. A candidate that is taken
    rules out those in ``excludes``.
    """

    where: str
    saves: Mapping[Hashable, int] = field(repr=False)
    harm: Array = field(repr=False)
    steps: Array = field(repr=False)
    apply: Callable[[Model, int], None] = field(repr=False)
    excludes: frozenset[str] = frozenset()

    def permitted(self, most: float) -> int:
        """The largest amount that may be chosen and is at most ``most``; the first where all are larger."""
        return int(self.steps[self.steps <= most].max(initial=self.steps[0]))


@dataclass(frozen=True)
class Budget:
    """At most ``allowed`` of a cost may be left; ``name`` is how the user wrote it."""

    name: str
    cost: CostModel
    allowed: float


@dataclass(frozen=True)
class Plan:
    """How far to go with each candidate, what is then left of each budget's cost, and which budgets are missed."""

    amounts: Amounts
    left: Mapping[str, float]
    missed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(self.amounts.values())
