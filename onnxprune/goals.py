"""What a goal bounds: for each kind of it, what a network has of it, and the budgets that a planner is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from onnxprune.analyses.cost import Cost
from onnxprune.analyses.peak import Instants
from onnxprune.costs import CostModel, Part, Term
from onnxprune.healing import unbiased
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.plan import Budget, Candidate
from onnxprune.timing.network import NetworkTime
from onnxprune.units import Amount

__all__ = ["Goal", "biases", "budgets", "held", "out_of_reach"]

ROUNDING = 1e-9
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


def biases(goal: Goal, model: Model, candidates: Sequence[Candidate]) -> list[Term]:
    """What the biases cost that healing may add where candidates are taken."""
    if goal not in ("params", "bytes"):
        return []
    layers = unbiased(model, {axis for candidate in candidates for axis in candidate.saves})
    sizes = {v.made: v.weight.value().itemsize if goal == "bytes" else 1 for v in layers}
    return [Term(axis.tensor, size, (axis,)) for axis, size in sizes.items()]


def out_of_reach(goal: Goal, amount: Amount, total: float, left: float, why: str) -> str:
    """What to say of a goal that is missed, and which amount would be met by what is left."""
    said = f"{goal}={amount} is out of reach: {left / total:.1%} is left; {why}"
    grain = 0.001 if amount.relative or amount.unit else 1.0
    nearest = math.ceil(left / (total if amount.relative else 1) / grain - ROUNDING) * grain
    if amount.relative and nearest > 1:
        return said
    return f"{said}; the nearest is {goal}={Amount(round(nearest, 3), amount.relative, amount.unit)}"


def _costs(goal: Goal, model: Model, ctx: Context) -> tuple[CostModel, ...]:
    if goal == "peak":
        return model.get(Instants(), ctx)
    return (model.get(NetworkTime() if goal == "latency" else Cost(goal), ctx),)
