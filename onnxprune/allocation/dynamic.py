"""Allocation by dynamic programming, and a search for what each candidate's harm counts.

Harms of single candidates do not add up: cuts compound, and differently so in every network. So each candidate's harm
gets a coefficient, the least weighted sum under the budget is found exactly by dynamic programming over the cost in
``BUCKETS`` steps, and the coefficients are searched for the plan whose *measured* loss is least (SPDY: Frantar &
Alistarh 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from onnxprune.allocation.greedy import weakest_first
from onnxprune.allocation.ledger import Ledger
from onnxprune.allocation.trials import Trials
from onnxprune.node import Array
from onnxprune.plan import Amounts, Budget, Candidate, Plan

__all__ = ["searched", "solved"]

BUCKETS = 1000
ROUNDS = 3  # of dynamic programming: costs are products of sizes, and add up only around a plan
SPREAD = 1.0  # standard deviation of the logarithm of a coefficient
DRAWN = 0.4  # of the trials, with coefficients drawn anew; the others change the best ones
IDLE = 12  # draws in a row that lead to plans known already, at which the search ends


def searched(candidates: Sequence[Candidate], budgets: Sequence[Budget], trials: Trials) -> Plan:
    """The plan of the least measured loss, among that of the greedy allocation and those of other coefficients."""
    first = weakest_first(candidates, budgets)
    trials(first)
    if first.missed or trials.best is None:
        return first
    draw, names = trials.draw(), [c.where for c in candidates]
    best, least, idle, drawn = np.zeros(len(names)), np.inf, 0, round(DRAWN * trials.left)
    logs = best
    while trials.left and idle < IDLE:
        left = trials.left
        plan = solved(candidates, budgets, dict(zip(names, np.exp(logs), strict=True)), trials.best.amounts)
        if (loss := trials(plan)) < least:
            best, least = logs, loss
        idle = idle + 1 if trials.left == left else 0
        if trials.most - trials.left <= drawn:
            logs = SPREAD * draw.normal(size=len(names))
        else:
            chosen = draw.random(len(names)) < max(0.1, 0.5 * trials.left / trials.most)
            chosen[draw.integers(len(names))] = True
            logs = np.where(chosen, best + SPREAD * draw.normal(size=len(names)), best)
    return trials.best


def solved(
    candidates: Sequence[Candidate], budgets: Sequence[Budget], weights: Mapping[str, float], start: Amounts
) -> Plan:
    """The least Σ weight · harm that meets the budgets, as costs are around the plan ``start`` and those found from it.

    The buckets are those of the budget that is hardest to meet; greedy steps see to the others, and to the rounding.
    """
    weighed = [replace(c, harm=c.harm * weights[c.where]) for c in candidates]
    for _ in range(ROUNDS):
        found = weakest_first(weighed, budgets, _round(weighed, budgets, start))
        if found.amounts == start:
            break
        start = found.amounts
    return found


def _round(candidates: Sequence[Candidate], budgets: Sequence[Budget], start: Amounts) -> dict[str, int]:
    ledger = Ledger(candidates, budgets, start)
    budget = max(budgets, key=lambda b: ledger.left[b.name] / max(b.allowed, 1e-9))
    costs = [-ledger.saved(c.where, budget, c.steps) for c in candidates]  # beside those of ``start``
    room = budget.allowed - ledger.left[budget.name] - sum(float(cost.min()) for cost in costs)
    if room <= 0:
        return dict(start)
    units = [np.ceil((cost - cost.min()) / room * BUCKETS - 1e-9).astype(int) for cost in costs]
    chosen = _least_sum([c.harm[c.steps] for c in candidates], units)
    return {c.where: int(c.steps[k]) for c, k in zip(candidates, chosen, strict=True)}


def _least_sum(harms: Sequence[Array], units: Sequence[Array]) -> list[int]:
    """For each candidate which of its steps, so that the sum of harms is least and the units are at most BUCKETS."""
    total, choices = np.zeros(BUCKETS + 1), []
    for harm, unit in zip(harms, units, strict=True):
        offers = np.full((len(harm), BUCKETS + 1), np.inf)
        for row, value, cost in zip(offers, harm, unit.tolist(), strict=True):
            if cost <= BUCKETS:
                row[cost:] = total[: BUCKETS + 1 - cost] + value
        choices.append(np.argmin(offers, axis=0))
        total = np.min(offers, axis=0)
    place, chosen = BUCKETS, list[int]()
    for choice, unit in zip(reversed(choices), reversed(units), strict=True):
        chosen.append(int(choice[place]))
        place -= int(unit[chosen[-1]])
    return chosen[::-1]
