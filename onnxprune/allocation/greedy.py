"""Greedy allocation: the step that does the least harm per saved cost, again and again."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Sequence
from types import MappingProxyType

import numpy as np

from onnxprune.costs import saved
from onnxprune.node import Array
from onnxprune.plan import Amounts, Budget, Candidate, Plan

__all__ = ["weakest_first"]


class _State:
    """Sizes and amounts while a plan is made."""

    def __init__(self, candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> None:
        self.budgets = budgets
        self.candidates = {c.where: c for c in candidates}
        self.amounts = dict.fromkeys(self.candidates, 0)
        self.sizes: dict[Hashable, int] = {q: n for b in budgets for q, n in b.cost.sizes.items()}
        self.totals = {b.name: b.cost.total() for b in budgets}
        self.left = dict(self.totals)
        self.parts = {c.where: [(b, b.cost.touched(c.saves)) for b in budgets] for c in candidates}

    def unmet(self) -> list[Budget]:
        return [b for b in self.budgets if self.left[b.name] > b.allowed]

    def price(self, where: str) -> tuple[float, int] | None:
        """The least harm per saved cost that going further with a candidate has, and how far that is."""
        c, now = self.candidates[where], self.amounts[where]
        if any(self.amounts.get(other) for other in c.excludes):
            return None
        further = c.steps[c.steps > now]
        gain = np.asarray(sum(self._saved(where, b, further - now) / self.totals[b.name] for b in self.unmet()))
        if not len(further) or not np.any(gain > 0):
            return None
        with np.errstate(divide="ignore"):
            price = np.where(gain > 0, (c.harm[further] - c.harm[now]) / gain, np.inf)
        best = int(np.argmin(price))
        return float(price[best]), int(further[best])

    def _saved(self, where: str, budget: Budget, more: Array) -> Array:
        parts = next(parts for b, parts in self.parts[where] if b is budget)
        return saved(parts, self.sizes, self.candidates[where].saves, more)

    def take(self, where: str, amount: int) -> None:
        c, more = self.candidates[where], np.array([amount - self.amounts[where]])
        for budget in self.budgets:
            self.left[budget.name] -= float(self._saved(where, budget, more)[0])
        for quantity, step in c.saves.items():
            if quantity in self.sizes:
                self.sizes[quantity] -= step * int(more[0])
        self.amounts[where] = amount
        for other in c.excludes & self.candidates.keys():
            self.candidates[other] = Candidate(other, {}, np.zeros(1), np.zeros(1, int), c.apply)

    def give_back(self) -> None:
        """Undo steps that no budget needs after all, the most harmful first."""
        last = {where: self._before(where) for where, amount in self.amounts.items() if amount}
        gain = {where: self.candidates[where].harm[[self.amounts[where], less]] for where, less in last.items()}
        for where in sorted(last, key=lambda w: (float(gain[w][1] - gain[w][0]), w)):
            while self.amounts[where] and self._can_spare(where):
                self.take(where, self._before(where))

    def _before(self, where: str) -> int:
        return self.candidates[where].permitted(self.amounts[where] - 1)

    def _can_spare(self, where: str) -> bool:
        more = np.array([self._before(where) - self.amounts[where]])
        after = {b.name: self.left[b.name] - float(self._saved(where, b, more)[0]) for b in self.budgets}
        return all(after[b.name] <= max(b.allowed, self.left[b.name]) for b in self.budgets)

    def plan(self) -> Plan:
        return Plan(dict(self.amounts), dict(self.left), tuple(b.name for b in self.unmet()))


def weakest_first(
    candidates: Iterable[Candidate], budgets: Sequence[Budget], start: Amounts = MappingProxyType({})
) -> Plan:
    """Take steps in the order of least harm per saved share of the unmet budgets, until all are met or none is left.

    The amounts ``start`` are taken already. At the end, steps that turn out not to be needed are undone, the most
    harmful first.

    As sizes shrink, a step saves less and less, so a price only rises: a price that is still the lowest when computed
    anew is the lowest of all (lazy greedy evaluation, Minoux 1978). Ties go to the candidate that comes first.
    """
    state = _State(list(candidates), budgets)
    for where, amount in start.items():
        state.take(where, amount)
    queue: list[tuple[float, int, str]] = []
    for unmet in iter(state.unmet, []):
        queue = [(0.0, rank, where) for rank, where in enumerate(state.candidates)]
        while queue and state.unmet() == unmet:
            _, rank, where = heapq.heappop(queue)
            if (offer := state.price(where)) is None:
                continue
            if queue and (offer[0], rank) > queue[0][:2]:
                heapq.heappush(queue, (offer[0], rank, where))
                continue
            state.take(where, offer[1])
            heapq.heappush(queue, (offer[0], rank, where))
        if not queue:
            break
    state.give_back()
    return state.plan()
