"""Greedy allocation: the step that does the least harm per saved cost, again and again."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from types import MappingProxyType

import numpy as np

from onnxprune.allocation.ledger import Ledger
from onnxprune.plan import Amounts, Budget, Candidate, Plan

__all__ = ["weakest_first"]


def weakest_first(
    candidates: Iterable[Candidate], budgets: Sequence[Budget], start: Amounts = MappingProxyType({})
) -> Plan:
    """Take steps in the order of least harm per saved share of the unmet budgets, until all are met or none is left.

    The amounts ``start`` are taken already. At the end, steps that turn out not to be needed are undone, the most
    harmful first.

    As sizes shrink, a step saves less and less, so a price only rises: a price that is still the lowest when computed
    anew is the lowest of all (lazy greedy evaluation, Minoux 1978). Ties go to the candidate that comes first.
    """
    ledger = Ledger(list(candidates), budgets, start)
    queue: list[tuple[float, int, str]] = []
    for unmet in iter(ledger.unmet, []):
        queue = [(0.0, rank, where) for rank, where in enumerate(ledger.candidates)]
        while queue and ledger.unmet() == unmet:
            _, rank, where = heapq.heappop(queue)
            if (offer := _price(ledger, where)) is None:
                continue
            if queue and (offer[0], rank) > queue[0][:2]:
                heapq.heappush(queue, (offer[0], rank, where))
                continue
            ledger.take(where, offer[1])
            heapq.heappush(queue, (offer[0], rank, where))
        if not queue:
            break
    ledger.give_back()
    return ledger.plan()


def _price(ledger: Ledger, where: str) -> tuple[float, int] | None:
    """The least harm per saved cost that going further with a candidate has, and how far that is."""
    c, now = ledger.candidates[where], ledger.amounts[where]
    further = c.steps[c.steps > now]
    if not len(further) or ledger.excluded(where):
        return None
    gain = np.asarray(sum(ledger.saved(where, b, further) / ledger.totals[b.name] for b in ledger.unmet()))
    if not np.any(gain > 0):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(gain > 0, (c.harm[further] - c.harm[now]) / gain, np.inf)
    best = int(np.argmin(price))
    return float(price[best]), int(further[best])
