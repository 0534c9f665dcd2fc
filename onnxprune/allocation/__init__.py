"""Ways to get from candidates and budgets to a plan, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxprune.allocation.bees import colony
from onnxprune.allocation.dynamic import searched
from onnxprune.allocation.greedy import weakest_first
from onnxprune.allocation.levels import same_share, same_threshold, uniform
from onnxprune.allocation.trials import Trials
from onnxprune.plan import Budget, Candidate, Plan

__all__ = ["ALLOCATIONS", "SEARCHES", "Trials", "uniform", "weakest_first"]

Allocation = Callable[[Sequence[Candidate], Sequence[Budget]], Plan]
Search = Callable[[Sequence[Candidate], Sequence[Budget], Trials], Plan]

ALLOCATIONS: Mapping[str, Allocation] = {"uniform": same_share, "global": same_threshold, "greedy": weakest_first}
SEARCHES: Mapping[str, Search] = {"dp": searched, "abc": colony}  # they measure plans
