"""Remove channels, and refit what reads them.

Slots of many axes that live or die together form atoms (``ChannelGroups``). Atoms of a group with the same footprint
cost the same and form a *family*, which is offered to the planner weakest atom first, with the harm that it does
(``Sensitivity``). The planner takes the least harm per saved cost until the budget is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from onnxprune.alignment import Grain, block_of, rounds
from onnxprune.allocation import ALLOCATIONS, SEARCHES, Loss, allocate, uniform
from onnxprune.analyses.channels import ChannelGroups
from onnxprune.analyses.sensitivity import Sensitivity
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.axes.reasons import Reason
from onnxprune.errors import UsageError, unknown
from onnxprune.footprints import families
from onnxprune.goals import Goal, biases, budgets, held, out_of_reach
from onnxprune.healing import heal
from onnxprune.importance import CRITERIA
from onnxprune.importance.needs import refusal
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.objective import Objective
from onnxprune.offers import Offers
from onnxprune.options import Amount, Share, option
from onnxprune.overrides import Layers, kept_axes, readable
from onnxprune.passes import Analysis, Changed, Context, Outcome, Repair, Unchanged
from onnxprune.plan import Candidate, Plan
from onnxprune.remarks import approximated, planned, skip_others
from onnxprune.replay import listed
from onnxprune.sharing import merge, part
from onnxprune.spec import Spec, read
from onnxprune.timing.beside import TOLERANCE, Beside, beside
from onnxprune.timing.choice import Draft, chosen, paying
from onnxprune.within import cheapest_within

__all__ = ["PruneChannels"]


@dataclass(frozen=True, kw_only=True)
class PruneChannels:
    """Remove the channels that matter least until at most the given cost is left, and heal what read them.

    macs=50%, params=1.2M, bytes=400K, peak=1M or latency=8ms say what is left, of the original or absolute; ratio=30%
    removes that share of the channels of every layer instead, and spec=prune.json removes what the file lists, and
    nothing else. drop=1 finds the fewest MACs at which no more than one point of the metric is lost. A cut for macs= or
    latency= that makes the network no faster is undone, unless align= is given.
    """

    name: ClassVar[str] = "prune"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()

    macs: Amount | None = option(None, "multiply-accumulates left")
    params: Amount | None = option(None, "parameters left")
    bytes: Amount | None = option(None, "bytes of weights left")
    peak: Amount | None = option(None, "bytes of activations left where most of them are held at once")
    ratio: Share | None = option(None, "share of the channels that every layer loses")
    latency: Amount | None = option(None, "time of a run left, measured here in onnxruntime: 50% or 8ms")
    align: Literal["auto"] | int = option(
        "auto", "layers keep a multiple of so many channels; auto: as fast kernels want and goals allow"
    )
    drop: float | None = option(None, "points that the metric may fall on calibration data: the cheapest network such")
    allocate: Annotated[str, ("auto", *ALLOCATIONS, *SEARCHES)] = option(
        "auto", "how layers share what has to go (auto: greedy); dp and abc try networks out on calibration data"
    )
    keep: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches keep their channels")
    min: int = option(2, "every layer keeps so many channels, and 5% of them")
    importance: Annotated[str, ("auto", *CRITERIA)] = option(
        "auto", "which channels go first; auto: obs where there is calibration data, else l2"
    )
    heal: Literal["auto", "full", "ls", "none"] = option(
        "auto", "refit layers by least squares; full: and their means and variances; auto: ls where there is --calib"
    )
    layers: Layers = option((), "by a regular expression, what goes for the nodes whose whole name it matches")
    spec: Path | None = option(None, "a prune.json to obey; align, min and importance then have no say")
    approximate: Literal["auto", "yes", "no"] = option(
        "auto", "cut where that changes more than the channels removed; auto: where healing makes up for it"
    )

    def __post_init__(self) -> None:
        goals = self.goals()
        if (bool(goals) or self.drop is not None) + (self.ratio is not None) + (self.spec is not None) != 1:
            raise UsageError(
                "give either budgets (macs=, params=, bytes=, peak=, latency=: what is left), ratio= (what is removed),"
                " or spec= (a file that lists it)"
            )
        if self.spec is not None and self.keep:
            raise UsageError("spec= says what is kept; leave out keep=, and take what is to stay out of the file")
        if self.spec is not None and self.layers:
            raise UsageError("spec= says what goes of every layer; leave out layers")
        if timed := [goal for goal, amount in goals.items() if amount.unit and goal != "latency"]:
            raise UsageError(f"{timed[0]}={goals[timed[0]]} is a time; give a share or a count")
        if self.latency is not None and not self.latency.relative and not self.latency.unit:
            raise UsageError(f"latency={self.latency} is no time; give a share (50%) or milliseconds (8ms)")
        if self.importance not in ("auto", *CRITERIA):
            raise UsageError(unknown("criterion", self.importance, CRITERIA))
        if (self.align != "auto" and self.align < 1) or self.min < 1:
            raise UsageError("align and min take a whole number, 1 or more")
        readable("keep", self.keep)
        readable("layers", [pattern for pattern, _ in self.layers])
        if self.drop is not None and not (0 <= self.drop < math.inf and self.spec is None and self.ratio is None):
            raise UsageError("drop= takes percentage points of the metric, 0 or more, and goes with macs=, params= …")

    def goals(self) -> dict[Goal, Amount]:
        """The goals that were given: what may be left of which cost."""
        return {goal: amount for goal in get_args(Goal) if (amount := getattr(self, goal)) is not None}

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Prune to what is wanted, once or until it is found."""
        return self._pruned(model, ctx) if self.drop is None else self._within(self.drop, model, ctx)

    def _within(self, drop: float, model: Model, ctx: Context) -> Outcome:
        """The cheapest network within a drop, measured on samples that nothing was fitted to."""
        if ctx.calibration is None:
            raise UsageError("pass 'prune': drop= is measured on data: give --calib")
        fit, check = ctx.calibration.split()

        def prune(copy: Model, macs: Amount | None, goals: bool) -> Outcome:
            wanted = replace(self, drop=None, macs=macs or self.macs)
            if not goals:
                wanted = replace(wanted, params=None, bytes=None, peak=None, latency=None)
            return wanted._pruned(copy, replace(ctx, calibration=fit))

        found = cheapest_within(drop, model, ctx, check, prune, bool(self.goals()))
        told, kept = f"drop={drop:g}: {found.told()}", found.model is model
        model.become(found.model)
        missed = self._missed(model, ctx, self._time(model, ctx), TOLERANCE)
        if not found.within(drop):
            missed = (*missed, f"drop={drop:g} is out of reach: {found.told()} before anything is cut")
        if kept:
            return Unchanged(f"no cut is within {told}", missed)
        return Changed(f"{found.note}; {told}", missed, found.repairs)

    def _pruned(self, model: Model, ctx: Context) -> Outcome:
        """Plan, cut, heal."""
        if self.heal in ("ls", "full") and ctx.calibration is None:
            raise UsageError(f"pass 'prune': heal={self.heal} needs calibration data: give --calib")
        spec, start = None if self.spec is None else read(self.spec, ctx.original), self._time(model, ctx)
        kept, met = kept_axes(self.keep, self.layers, model), self._met(model, ctx, start)
        copies = part(model)
        doomed, note = self._planned(model, ctx, kept, start, met) if spec is None else self._listed(model, ctx, spec)
        skip_others(model, ctx, copies)
        if doomed:
            note += approximated(model.get(ChannelGroups(), ctx), doomed)
            cut(model, doomed)
        added = merge(model, copies)
        if not doomed:
            return Unchanged(note, self._missed(model, ctx, start))
        note += f"; constants that were shared take {added} bytes more" if added > 0 else ""
        repairs: tuple[Repair, ...] = ()
        if self.heal != "none":
            healing = heal(model, ctx, doomed, full=self.heal == "full")
            note, repairs = f"{note}; {healing.note}", healing.repairs
        model.sweep()  # sizes and biases that were replaced
        end = self._time(model, ctx)
        return Changed(note + self._told(end), self._missed(model, ctx, end, TOLERANCE), repairs)

    def _met(self, model: Model, ctx: Context, start: Beside | None) -> bool:
        """Whether nothing is left to do."""
        forced = any(layer.ratio is not None for _, layer in self.layers)
        return bool(self.goals()) and not forced and not self._missed(model, ctx, start)

    def _time(self, model: Model, ctx: Context) -> Beside | None:
        """How long the model takes, where that is asked for."""
        return None if self.latency is None else beside(model, ctx)

    def _told(self, time: Beside | None) -> str:
        """What was asked for and what was measured."""
        return "" if time is None else f"; latency={self.latency}: {time.after:.3g} of {time.before:.3g} ms measured"

    def _planned(
        self, model: Model, ctx: Context, kept: set[Axis], start: Beside | None, met: bool
    ) -> tuple[Mapping[Axis, Array], str]:
        """The slots that a plan removes, and what to say of it."""
        offers = self._offers(model, ctx, kept)
        measure = cache(lambda: self._objective(model, ctx, offers))

        def draw(grain: Grain, aim: float) -> Draft:
            return self._draft(model, ctx, offers, grain, 0.0 if start is None else aim * start.before, measure)

        block = block_of(ctx)
        tried = self._rounds(block)
        if met:
            list(offers.candidates(model, ctx, tried[0][-1], {}))
            return {}, "the goal is met"
        draft: Draft | None = chosen(draw, ctx, tried, self.latency)
        remark = ""
        if draft and self._checks(ctx):
            draft, remark = paying(draft, draw, ctx, block)
        if not draft:
            for candidate in offers.candidates(model, ctx, tried[0][-1], {}):
                candidate.apply(model, 0)
            return {}, remark or "no channel can be removed"
        model.skipped.update(draft.whole.skipped)
        return draft.doomed, draft.note + remark

    def _draft(
        self, model: Model, ctx: Context, offers: Offers, grain: Grain, before: float, measure: Callable[[], Loss]
    ) -> Draft:
        """What a plan leads to; ``before`` is the time that the original counts with."""
        whole, doomed = model.copy(), dict[Axis, Array]()
        candidates = list(offers.candidates(whole, ctx, grain, doomed))
        plan = self._plan(model, ctx, candidates, before, measure)
        for candidate in candidates:
            candidate.apply(whole, plan.amounts[candidate.where])
        harm = sum(float(each.harm[plan.amounts[each.where]]) for each in candidates)
        note = planned(candidates, plan)
        note += f", {plan.left['latency']:.3g} ms foretold" if self.latency is not None else ""
        return Draft(tuple(plan.amounts.items()), plan, doomed, whole, harm, note)

    def _rounds(self, block: int) -> list[list[Grain]]:
        """How channel counts may be aligned."""
        if self.align != "auto":
            return [[Grain(self.align)]]
        return rounds(block, bool(self.goals()), timed=self.latency is not None)

    def _checks(self, ctx: Context) -> bool:
        """Whether a cut is undone that does not pay in time: where time was meant, and nobody chose the alignment."""
        timely = self.macs is not None or self.latency is not None
        return timely and self.align == "auto" and ctx.clock is not None and ctx.target is None

    def _listed(self, model: Model, ctx: Context, spec: Spec) -> tuple[Mapping[Axis, Array], str]:
        """The slots that the spec removes, and what to say of it."""
        try:
            return listed(spec, model, ctx, partial(self._obstacle, ctx))
        except UsageError as error:
            raise UsageError(f"{self.spec}: {error}") from error

    def _obstacle(self, ctx: Context, group: Group, atom: int) -> Reason | None:
        """Why an atom may not be cut; None when it may."""
        reason = group.obstacle(atom, self._approximates(ctx))
        if reason is None or reason is not group.approximate.get(atom):
            return reason
        return replace(
            reason, why=f"{reason.why}, and that is cut only with --calib to heal it, or with approximate=yes"
        )

    def _approximates(self, ctx: Context) -> bool:
        """Whether cuts are wanted that change more than the channels removed."""
        heals = ctx.calibration is not None and self.heal != "none"
        return self.approximate == "yes" or (self.approximate == "auto" and heals)

    def _missed(self, model: Model, ctx: Context, time: Beside | None, tolerance: float = 0.0) -> tuple[str, ...]:
        """The budgets that the model as it is exceeds; its time may do so by the ``tolerance``."""
        missed, why = [], "all else is pinned, kept, at its floor or between two multiples of align"
        if self.drop is not None:
            why = f"with less, more than drop={self.drop:g} would be lost"
        for goal, amount in self.goals().items():
            total, left = (
                (time.before, time.after)
                if goal == "latency" and time is not None
                else (held(goal, ctx.original, ctx), held(goal, model, ctx))
            )
            allowed = amount.of(total) * (1 + tolerance if goal == "latency" else 1)
            if left > allowed:
                missed.append(out_of_reach(goal, amount, total, left, why))
        return tuple(missed)

    def _plan(
        self, model: Model, ctx: Context, candidates: list[Candidate], before: float, measure: Callable[[], Loss]
    ) -> Plan:
        if self.ratio is not None:
            return uniform(candidates, self.ratio)
        given = []
        for goal, amount in self.goals().items():
            allowed = amount.of(before if goal == "latency" else held(goal, ctx.original, ctx))
            added = biases(goal, model, candidates) if self.heal != "none" and ctx.calibration is not None else []
            given += budgets(goal, model, ctx, allowed, added)
        way = "greedy" if self.allocate == "auto" else self.allocate
        return allocate(way, candidates, given, measure, ctx)

    def _objective(self, model: Model, ctx: Context, offers: Offers) -> Objective:
        """What measures plans."""
        if ctx.calibration is None:
            raise UsageError(f"pass 'prune': allocate={self.allocate} measures plans: give --calib")
        ranked = {f.where: (f, offers.ranked[f.where]) for f in families(model, ctx) if f.where in offers.ranked}
        return Objective(model, ctx, ctx.calibration, ranked, self.heal != "none")

    def _offers(self, model: Model, ctx: Context, kept: set[Axis]) -> Offers:
        """What may go, and in which order."""
        question = Sensitivity(self._criterion(model, ctx), tuple(sorted(kept)), self._approximates(ctx))
        ranked = model.get(question, ctx)
        return Offers(ranked, self.min, self.layers, self.ratio, partial(self._obstacle, ctx))

    def _criterion(self, model: Model, ctx: Context) -> str:
        if self.importance == "auto":
            return "l2" if ctx.calibration is None else "obs"
        if why := refusal(self.importance, model, ctx, self._approximates(ctx)):
            raise UsageError(f"pass 'prune': {why}")
        return self.importance
