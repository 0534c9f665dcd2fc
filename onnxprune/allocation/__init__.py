"""Ways to get from candidates and budgets to a plan, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxprune.allocation.greedy import weakest_first
from onnxprune.allocation.levels import of_all, threshold, uniform
from onnxprune.plan import Budget, Candidate, Plan

__all__ = ["ALLOCATIONS", "uniform", "weakest_first"]

Allocation = Callable[[Sequence[Candidate], Sequence[Budget]], Plan]

ALLOCATIONS: Mapping[str, Allocation] = {"uniform": of_all, "global": threshold, "greedy": weakest_first}
