"""Measuring plans: what a search for a better one may ask, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from onnxprune.plan import Amounts, Plan

__all__ = ["Loss", "Trials"]

Loss: TypeAlias = Callable[[Amounts], float]  # what the network loses that a plan leads to


def _nothing() -> None:
    """What is told of a measurement to those who do not ask."""


@dataclass(eq=False)
class Trials:
    """Measures at most ``most`` plans with ``loss``, each once; remembers the best, the first of equals."""

    loss: Loss
    most: int
    seed: int = 0
    done: Callable[[], object] = _nothing
    best: Plan | None = field(default=None, init=False)
    least: float = field(default=float("inf"), init=False)
    _known: dict[tuple[tuple[str, int], ...], float] = field(default_factory=dict, init=False)

    @property
    def left(self) -> int:
        """How many plans may still be measured."""
        return self.most - len(self._known)

    def __call__(self, plan: Plan) -> float:
        """The loss of a plan; infinite where it misses more budgets than the first plan, or nothing is left to try."""
        key = tuple(sorted(plan.amounts.items()))
        if key in self._known:
            return self._known[key]
        if not self.left or (self.best is not None and not set(plan.missed) <= set(self.best.missed)):
            return float("inf")
        self._known[key] = value = self.loss(plan.amounts)
        self.done()
        if self.best is None or value < self.least:
            self.best, self.least = plan, value
        return value

    def draw(self) -> np.random.Generator:
        """Random numbers, the same for every search."""
        return np.random.default_rng(self.seed)
