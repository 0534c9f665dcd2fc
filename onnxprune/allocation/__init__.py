"""Ways to get from candidates and budgets to a plan, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxprune.allocation.bees import colony
from onnxprune.allocation.dynamic import searched
from onnxprune.allocation.greedy import weakest_first
from onnxprune.allocation.levels import same_share, same_threshold, uniform
from onnxprune.allocation.trials import Loss, Trials
from onnxprune.passes import Context
from onnxprune.plan import Budget, Candidate, Plan

__all__ = ["ALLOCATIONS", "SEARCHES", "Loss", "Trials", "allocate", "uniform", "weakest_first"]

TRIALS = 30  # plans that a search measures at most

Allocation = Callable[[Sequence[Candidate], Sequence[Budget]], Plan]
Search = Callable[[Sequence[Candidate], Sequence[Budget], Trials], Plan]

ALLOCATIONS: Mapping[str, Allocation] = {"uniform": same_share, "global": same_threshold, "greedy": weakest_first}
SEARCHES: Mapping[str, Search] = {"dp": searched, "abc": colony}  # they measure plans


def allocate(
    way: str, candidates: Sequence[Candidate], budgets: Sequence[Budget], measure: Callable[[], Loss], ctx: Context
) -> Plan:
    """The plan that a way of this name leads to; only those that measure plans ask for what does so."""
    if way in ALLOCATIONS:
        return ALLOCATIONS[way](candidates, budgets)
    with ctx.progress.task("allocating", TRIALS) as step:
        return SEARCHES[way](candidates, budgets, Trials(measure(), TRIALS, ctx.seed, step))
