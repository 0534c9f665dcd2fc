"""What a pass that cuts says of what it left alone, and of what it changed beyond the channels removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.axes.reasons import Reason
from onnxprune.axes.silencing import WEIGHTY
from onnxprune.constants import constants_behind
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.plan import Candidate, Plan
from onnxprune.sharing import Copies

__all__ = ["approximated", "planned", "skip_others"]


def skip_others(model: Model, ctx: Context, copies: Copies) -> None:
    """Say of every other operator with weights why its channels stay, and of constants that tie their readers."""
    constant = constants_behind(model)
    home = {axis: group for group in model.get(ChannelGroups(), ctx) for axis in group.atoms}
    for name, readers in copies.large.items():
        tensor = model.tensor(name)
        if reason := next(filter(None, (home[axis].held(axis) for axis in tensor.axes() if axis in home)), None):
            why = f"one constant for {', '.join(readers)}, as it is large: they are pruned alike; {reason.why}"
            model.skip(name, why, reason)
    for node in model.nodes:
        weighty = WEIGHTY.search(node.op) and any(t is not None and t.name in constant for t in node.inputs)
        if weighty and linear(node) is None:
            axes = [axis for t in (*node.outputs, *node.inputs) if t is not None for axis in t.axes()]
            reasons = (home[axis].held(axis) for axis in axes if axis in home)
            why = "its weights are not those of a Conv, Gemm or MatMul as they are known"
            reason = next(filter(None, reasons), Reason("unsupported", why, node.name))
            model.skip(node.name, f"not pruned: {reason.why}", reason)


def approximated(groups: tuple[Group, ...], doomed: Mapping[Axis, Array]) -> str:
    """What to say of cuts that change more than the channels removed."""
    count = 0
    for group in groups:
        slots = [group.atoms[axis][doomed[axis]] for axis in group.atoms if axis in doomed] if group.approximate else []
        count += len(np.intersect1d(np.concatenate([*slots, [-1]]), list(group.approximate)))
    return f", {count} of them approximately" if count else ""


def planned(candidates: Sequence[Candidate], plan: Plan) -> str:
    """What to say of a plan."""
    removed, every = sum(plan.amounts.values()), sum(len(c.harm) - 1 for c in candidates)
    groups = sum(amount > 0 for amount in plan.amounts.values())
    return f"removed {removed} of {every} channels in {groups} of {len(candidates)} groups"
