"""Allocation by one number for all candidates, raised until the budgets are met."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from onnxprune.allocation.ledger import Ledger
from onnxprune.plan import Amounts, Budget, Candidate, Plan

__all__ = ["least", "same_share", "same_threshold", "uniform"]

ROUNDING = 1e-9


def uniform(candidates: Iterable[Candidate], share: float) -> Plan:
    """Take of every candidate the largest permitted amount that is at most ``share`` of its steps."""
    return Plan(_shares(list(candidates), share), {})


def _shares(candidates: Sequence[Candidate], share: float) -> dict[str, int]:
    return {c.where: c.permitted(share * (len(c.harm) - 1) + ROUNDING) for c in candidates}


def same_share(candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> Plan:
    """The least share of every candidate that meets the budgets."""
    shares = {float(k) / max(len(c.harm) - 1, 1) for c in candidates for k in c.steps}
    return least(candidates, budgets, sorted(shares), lambda share: _shares(candidates, share))


def same_threshold(candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> Plan:
    """Every step, whosever it is, that does no more harm than the least threshold that meets the budgets."""
    worst = {c.where: np.maximum.accumulate(np.diff(c.harm)) for c in candidates}  # step by step, of those up to it

    def below(level: float) -> dict[str, int]:
        return {c.where: c.permitted(float(np.searchsorted(worst[c.where], level, "right"))) for c in candidates}

    levels = {float(worst[c.where][k - 1]) for c in candidates for k in c.steps if k}
    return least(candidates, budgets, [-1.0, *sorted(levels)], below)


def least(
    candidates: Sequence[Candidate],
    budgets: Sequence[Budget],
    levels: Sequence[float],
    amounts: Callable[[float], Amounts],
) -> Plan:
    """The plan of the first of the rising levels at which no budget is missed, of the last where there is none.

    Steps that no budget needs are undone, the most harmful first.
    """

    def met(level: float) -> bool:
        return not Ledger(candidates, budgets, amounts(level)).unmet()

    found = min(bisect_left(levels, True, key=met), len(levels) - 1)
    ledger = Ledger(candidates, budgets, amounts(levels[found]) if levels else {})
    ledger.give_back()
    return ledger.plan()
