"""Allocation by an artificial bee colony (ABCPruner: Lin et al. 2020), each plan judged by its measured loss.

A food source says what share of its steps each candidate gives; its plan is the nearest that meets the budgets. Bees
look beside a source, in the direction of another; onlookers go where the food is best; a source that yields nothing
better is given up for a random one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxprune.allocation.greedy import weakest_first
from onnxprune.allocation.levels import least, same_share
from onnxprune.allocation.trials import Trials
from onnxprune.node import Array
from onnxprune.plan import Budget, Candidate, Plan

__all__ = ["colony", "projected"]

SOURCES = 10
PATIENCE = 5  # looks beside a source that find nothing better
CHANGED = 2  # candidates whose share a bee changes
IDLE = 2  # cycles that lead to plans known already, at which the search ends
LEVELS = np.linspace(0, 2, 201)


class _Colony:
    """Food sources [sources, candidates], what their plans lose, and how often bees came back with nothing better."""

    def __init__(self, candidates: Sequence[Candidate], budgets: Sequence[Budget], trials: Trials) -> None:
        self.candidates, self.budgets, self.trials = candidates, budgets, trials
        self.draw = trials.draw()
        self.sources = self.draw.random((SOURCES, len(candidates)))
        self.losses, self.vain = np.full(SOURCES, np.inf), np.zeros(SOURCES, int)

    def settle(self, source: int, shares: Array) -> None:
        self.sources[source], self.vain[source] = shares, 0
        self.losses[source] = self.trials(projected(self.candidates, self.budgets, shares))

    def look(self, source: int) -> None:
        """A bee looks beside a source, and stays where it is better."""
        shares = self.sources[source].copy()
        other = int((source + self.draw.integers(1, SOURCES)) % SOURCES)
        places = self.draw.choice(len(shares), min(CHANGED, len(shares)), replace=False)
        steps = self.draw.uniform(-1, 1, len(places)) * (shares[places] - self.sources[other, places])
        shares[places] = np.clip(shares[places] + steps, 0, 1)
        loss = self.trials(projected(self.candidates, self.budgets, shares))
        if loss < self.losses[source]:
            self.sources[source], self.losses[source], self.vain[source] = shares, loss, 0
        else:
            self.vain[source] += 1

    def cycle(self) -> None:
        """Every bee, then the onlookers, then the scouts."""
        for source in range(SOURCES):
            self.look(source)
        fitness = 1 / (1 + self.losses)
        for source in np.flatnonzero(self.draw.random(SOURCES) < 0.9 * fitness / fitness.max() + 0.1).tolist():
            self.look(source)
        for source in np.flatnonzero(self.vain >= PATIENCE).tolist():
            self.settle(source, self.draw.random(len(self.candidates)))


def colony(candidates: Sequence[Candidate], budgets: Sequence[Budget], trials: Trials) -> Plan:
    """The plan of the least measured loss; the greedy and the uniform ones are among the first sources."""
    first = weakest_first(candidates, budgets)
    trials(first)
    if first.missed or trials.best is None:
        return first
    bees = _Colony(candidates, budgets, trials)
    bees.settle(0, _shares(candidates, first))
    bees.settle(1, _shares(candidates, same_share(candidates, budgets)))
    for source in range(2, SOURCES):
        bees.settle(source, bees.sources[source].copy())
    idle = 0
    while trials.left and idle < IDLE:
        left = trials.left
        bees.cycle()
        idle = idle + 1 if trials.left == left else 0
    return trials.best


def _shares(candidates: Sequence[Candidate], plan: Plan) -> Array:
    return np.array([plan.amounts[c.where] / max(int(c.steps[-1]), 1) for c in candidates])


def projected(candidates: Sequence[Candidate], budgets: Sequence[Budget], shares: Array) -> Plan:
    """The first plan to meet the budgets on the way from nothing to these shares, and on to all there is."""

    def amounts(level: float) -> dict[str, int]:
        now = np.minimum(level, 1) * shares + max(level - 1, 0) * (1 - shares)
        return {c.where: c.permitted(s * int(c.steps[-1]) + 1e-9) for c, s in zip(candidates, now, strict=True)}

    return least(candidates, budgets, LEVELS.tolist(), amounts)
