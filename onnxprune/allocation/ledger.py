"""What amounts leave of every budget's cost."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from onnxprune.costs import CostModel
from onnxprune.plan import Amounts, Budget, Candidate, Plan

__all__ = ["Ledger"]


@dataclass(frozen=True)
class Ledger:
    """Candidates beside the budgets that they are to meet."""

    candidates: Sequence[Candidate]
    budgets: Sequence[Budget]

    def plan(self, amounts: Amounts) -> Plan:
        """The plan of these amounts; where two candidates exclude each other, the first that is taken stands."""
        taken = self._allowed(amounts)
        left = {b.name: self._left(b.cost, taken) for b in self.budgets}
        return Plan(taken, left, tuple(b.name for b in self.budgets if left[b.name] > b.allowed))

    def _allowed(self, amounts: Amounts) -> dict[str, int]:
        taken = dict[str, int]()
        excluding = {c.where: c.excludes for c in self.candidates}
        for c in self.candidates:
            others = {where for where, amount in taken.items() if amount}
            free = others.isdisjoint(c.excludes) and not any(c.where in excluding[other] for other in others)
            taken[c.where] = int(amounts.get(c.where, 0)) if free else 0
        return taken

    def _left(self, cost: CostModel, taken: Amounts) -> float:
        sizes = dict[Hashable, int](cost.sizes)
        for c in self.candidates:
            for quantity in sizes.keys() & c.saves.keys():
                sizes[quantity] -= c.saves[quantity] * taken[c.where]
        return CostModel(cost.parts, sizes).total()
