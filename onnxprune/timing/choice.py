"""Which of several drafts of a smaller network is carried out: the first that meets its goals, and pays in time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from onnxprune.alignment import Grain
from onnxprune.axes.cutting import cut
from onnxprune.errors import ModelError
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.plan import Plan
from onnxprune.timing.beside import TOLERANCE, Beside, beside, settled
from onnxprune.timing.search import TRIES, within
from onnxprune.units import Amount

__all__ = ["Draft", "Draw", "chosen", "paying"]

LATENCY = "latency"  # the budget
MORE = 1.1  # times the harm, for whole blocks: they are faster

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draft:
    """A plan, and the slots that it removes of the ``whole`` network; drafts of equal amounts are equal."""

    amounts: tuple[tuple[str, int], ...]
    plan: Plan = field(compare=False)
    doomed: dict[Axis, Array] = field(compare=False)
    whole: Model = field(compare=False)
    harm: float = field(compare=False)
    note: str = field(compare=False)
    measured: float = field(default=0.0, compare=False)  # the share of the allowed time that it takes

    def __bool__(self) -> bool:
        return bool(self.doomed)

    @cached_property
    def result(self) -> Model:
        """The network without the slots, not healed: what a time is taken of."""
        result = self.whole.copy()
        cut(result, self.doomed)
        return result


Draw = Callable[[Grain, float], Draft]  # with the share of the time that may be planned for


def chosen(draw: Draw, ctx: Context, rounds: Sequence[Sequence[Grain]], latency: Amount | None) -> Draft:
    """Of the first round in which goals are met, the coarsest draft that harms little more than the best.

    Where they never are, the fastest, and of those that nobody timed the last.
    """
    tried: list[Draft] = []
    for grains in rounds:
        drafts = [draw(g, 1.0) if latency is None else _timely(draw, ctx, g, latency) for g in grains]
        if met := [draft for draft in drafts if not draft.plan.missed]:
            least = min(draft.harm for draft in met)
            return next(draft for draft in met if draft.harm <= MORE * least)
        tried += drafts
    return min(reversed(tried), key=lambda draft: draft.measured)


def _timely(draw: Draw, ctx: Context, grain: Grain, latency: Amount) -> Draft:
    """The draft that is measured to keep within the time; whether it does is told by that, not by the plan."""
    with ctx.progress.task("latency", TRIES) as step:

        def measure(draft: Draft) -> float:
            step()
            return beside(draft.result, ctx).of(latency)

        shot = within(lambda aim: draw(grain, aim), measure)
    missed = [goal for goal in shot.draft.plan.missed if goal != LATENCY]
    missed += [LATENCY] if shot.measured > 1 + TOLERANCE else []
    plan = replace(shot.draft.plan, missed=tuple(missed))
    return replace(shot.draft, plan=plan, measured=shot.measured)


def paying(draft: Draft, draw: Draw, ctx: Context, block: int) -> tuple[Draft | None, str]:
    """A draft that is no slower than the original, and what to say of it; None where there is none.

    Where the first is slower, those in whole halves of blocks and in whole blocks are tried. A network that does not
    run on what there is to feed it is not timed.
    """
    try:
        found = settled(draft.result, ctx)
    except ModelError as error:
        log.info("nobody knows whether the cut pays in time: %s", error)
        return draft, ""
    if found.pays:
        return draft, ""
    for strict in sorted({max(block // 2, 1), block}):
        other = draw(Grain(strict), 1.0)
        if other and not other.plan.missed and settled(other.result, ctx).pays:
            return other, f"; in multiples of {strict}, for others {_slower(found)}"
    return None, f"undone: the cut does not pay, it {_slower(found)}; align=1 leaves it all the same"


def _slower(found: Beside) -> str:
    return f"took {found.share:.2f} times as long as the original"
