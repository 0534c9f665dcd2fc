"""What a goal bounds: for each kind of it, what a network has of it, and the budgets that a planner is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from onnxprune.analyses.cost import Cost
from onnxprune.analyses.peak import Instants
from onnxprune.costs import CostModel, Part
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.plan import Budget
from onnxprune.timing.network import NetworkTime

__all__ = ["Goal", "budgets", "held"]

Goal: TypeAlias = Literal["macs", "params", "bytes", "peak", "latency"]


def held(goal: Goal, model: Model, ctx: Context) -> float:
    """What a network has of a goal: MACs, parameters, bytes of weights, of activations at the peak, milliseconds."""
    return max((cost.total() for cost in _costs(goal, model, ctx)), default=0.0)


def budgets(goal: Goal, model: Model, ctx: Context, allowed: float, more: Sequence[Part] = ()) -> list[Budget]:
    """At most ``allowed`` may be left of every cost that the goal bounds; ``more`` is what is added on the way.

    The peak is the largest of sums over time, and no sum itself: it is within a bound where each of them is.
    """
    costs = [CostModel((*cost.parts, *more), cost.sizes) for cost in _costs(goal, model, ctx)]
    return [Budget(f"{goal} {number}" if number else goal, cost, allowed) for number, cost in enumerate(costs)]


def _costs(goal: Goal, model: Model, ctx: Context) -> tuple[CostModel, ...]:
    if goal == "peak":
        return model.get(Instants(), ctx)
    return (model.get(NetworkTime() if goal == "latency" else Cost(goal), ctx),)
