"""Allocation by one number for all candidates, raised until the budgets are met."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from onnxprune.allocation.ledger import Ledger
from onnxprune.plan import Budget, Candidate, Plan

__all__ = ["of_all", "share_of_each", "threshold", "uniform"]

ROUNDING = 1e-9


def share_of_each(candidates: Sequence[Candidate], share: float) -> dict[str, int]:
    """Of every candidate the largest permitted amount that is at most ``share`` of its steps."""
    return {c.where: c.permitted(share * (len(c.harm) - 1) + ROUNDING) for c in candidates}


def uniform(candidates: Iterable[Candidate], share: float) -> Plan:
    """The same share of every candidate, whatever that saves."""
    return Plan(share_of_each(list(candidates), share), {})


def of_all(candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> Plan:
    """The least share of every candidate that meets the budgets."""
    shares = {float(k) / max(len(c.harm) - 1, 1) for c in candidates for k in c.steps}
    return _least(sorted(shares), lambda share: Ledger(candidates, budgets).plan(share_of_each(candidates, share)))


def threshold(candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> Plan:
    """All steps, of whichever candidate, that do no more harm than the least threshold that meets the budgets."""
    worst = {c.where: np.maximum.accumulate(np.diff(c.harm)) for c in candidates}  # of the first k steps

    def below(level: float) -> Plan:
        amounts = {c.where: c.permitted(float(np.searchsorted(worst[c.where], level, "right"))) for c in candidates}
        return Ledger(candidates, budgets).plan(amounts)

    levels = {float(worst[c.where][k - 1]) for c in candidates for k in c.steps if k}
    return _least([-1.0, *sorted(levels)], below)


def _least(levels: Sequence[float], plan: Callable[[float], Plan]) -> Plan:
    """The plan of the first level at which nothing is missed, of the last where there is none."""
    found = bisect_left(levels, True, key=lambda level: not plan(level).missed)
    return plan(levels[min(found, len(levels) - 1)])
