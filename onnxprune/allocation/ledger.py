"""A plan in the making: amounts, and the sizes and costs that they leave."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import MappingProxyType

import numpy as np

from onnxprune.costs import saved
from onnxprune.node import Array
from onnxprune.plan import Amounts, Budget, Candidate, Plan

__all__ = ["Ledger"]


class Ledger:
    """How far one has gone with every candidate, and what is left of every budget's cost."""

    def __init__(
        self, candidates: Sequence[Candidate], budgets: Sequence[Budget], start: Amounts = MappingProxyType({})
    ) -> None:
        """Begin with the amounts ``start``."""
        self.budgets = budgets
        self.candidates = {c.where: c for c in candidates}
        self.amounts = dict.fromkeys(self.candidates, 0)
        self.sizes: dict[Hashable, int] = {q: n for b in budgets for q, n in b.cost.sizes.items()}
        self.totals = {b.name: b.cost.total() for b in budgets}
        self.left = dict(self.totals)
        self._parts = {c.where: {b.name: b.cost.touched(c.saves) for b in budgets} for c in candidates}
        for where, c in self.candidates.items():
            if (amount := start.get(where, int(c.steps[0]))) and not self.excluded(where):
                self.take(where, amount)

    def unmet(self) -> list[Budget]:
        """The budgets that more has to be saved for."""
        return [b for b in self.budgets if self.left[b.name] > b.allowed]

    def excluded(self, where: str) -> bool:
        """Whether a candidate was taken that rules this one out."""
        others = (other for other, amount in self.amounts.items() if amount and other != where)
        own = self.candidates[where].excludes
        return any(other in own or where in self.candidates[other].excludes for other in others)

    def saved(self, where: str, budget: Budget, amounts: Array) -> Array:
        """What a budget's cost falls by where one goes to these amounts with a candidate."""
        more = amounts - self.amounts[where]
        return saved(self._parts[where][budget.name], self.sizes, self.candidates[where].saves, more)

    def take(self, where: str, amount: int) -> None:
        """Go to this amount with a candidate."""
        for budget in self.budgets:
            self.left[budget.name] -= float(self.saved(where, budget, np.array([amount]))[0])
        for quantity, step in self.candidates[where].saves.items():
            if quantity in self.sizes:
                self.sizes[quantity] -= step * (amount - self.amounts[where])
        self.amounts[where] = amount

    def give_back(self) -> None:
        """Undo steps that no budget needs after all, the most harmful first."""
        last = {where: self._before(where) for where, amount in self.amounts.items() if amount}
        gain = {where: self.candidates[where].harm[[self.amounts[where], less]] for where, less in last.items()}
        for where in sorted(last, key=lambda w: (float(gain[w][1] - gain[w][0]), w)):
            while self._before(where) < self.amounts[where] and self._can_spare(where):
                self.take(where, self._before(where))

    def _before(self, where: str) -> int:
        return self.candidates[where].permitted(self.amounts[where] - 1)

    def _can_spare(self, where: str) -> bool:
        less = np.array([self._before(where)])
        after = {b.name: self.left[b.name] - float(self.saved(where, b, less)[0]) for b in self.budgets}
        return all(after[b.name] <= max(b.allowed, self.left[b.name]) for b in self.budgets)

    def plan(self) -> Plan:
        """What has become of it."""
        return Plan(dict(self.amounts), dict(self.left), tuple(b.name for b in self.unmet()))
