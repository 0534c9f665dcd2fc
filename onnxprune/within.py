"""The cheapest network whose metric falls by no more than is allowed: bisection over the MACs that may be left.

Every network on the way is really cut and healed, on one part of the calibration data, and measured on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from onnxprune.analyses.cost import Cost
from onnxprune.calibrate import Calibration
from onnxprune.evaluate import Accuracy
from onnxprune.model import Model
from onnxprune.passes import Changed, Context, Outcome, Repair
from onnxprune.units import Amount

__all__ = ["Measured", "cheapest_within", "measured"]

Prune: TypeAlias = Callable[[Model, Amount | None, bool], Outcome]

STEPS = 6  # of bisection: to a 64th of the MACs
EXACT = 1e-9  # points


@dataclass(frozen=True)
class Measured:
    """A network, what was done to get it, its share of the original's MACs, and what it is worth."""

    model: Model
    note: str
    share: float
    accuracy: Accuracy
    repairs: tuple[Repair, ...] = ()

    def within(self, drop: float) -> bool:
        """Whether it loses no more than so many points."""
        return self.accuracy.drop <= drop + EXACT

    def told(self) -> str:
        """What was measured."""
        found = self.accuracy
        return f"{found.metric} {found.before:.4f} → {found.after:.4f} on {found.n} samples"


def measured(model: Model, outcome: Outcome | None, ctx: Context, data: Calibration) -> Measured:
    """A network beside the original, on the data."""
    macs, total = (each.get(Cost("macs"), ctx).total() for each in (model, ctx.original))
    note, repairs = (outcome.note, outcome.repairs) if isinstance(outcome, Changed) else ("", ())
    accuracy = ctx.evaluator.measure(ctx.original, model, data)
    return Measured(model, note, macs / (total or 1), accuracy, repairs)


def cheapest_within(drop: float, model: Model, ctx: Context, data: Calibration, prune: Prune, goals: bool) -> Measured:
    """The network of the fewest MACs that loses at most ``drop`` points; the model as it is where no cut is found.

    ``prune(copy, macs, goals)`` prunes in place, to an amount of MACs if one is given and to all goals if they count.
    They do not where, without fewer MACs, the network would already lose too much.
    """

    def cut(macs: Amount | None) -> Measured:
        copy = model.copy()
        found = measured(copy, prune(copy, macs, goals), ctx, data)
        step()
        return found

    best, low = measured(model, None, ctx, data), 0.0
    if not best.within(drop):
        return best
    with ctx.progress.task("drop", STEPS + goals) as step:
        if goals:
            met = cut(None)
            goals = met.within(drop)
            best = met if goals else best
        high = best.share
        for _ in range(STEPS):
            found = cut(Amount((low + high) / 2, relative=True))
            if not found.within(drop):
                low = (low + high) / 2
            elif found.share < best.share:
                best, high = found, min((low + high) / 2, found.share)
            else:
                break  # nothing is cheaper
    return best
