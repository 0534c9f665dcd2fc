"""Remove channels, and refit what reads them.

Slots of many axes that live or die together form atoms (``ChannelGroups``). Atoms of a group with the same footprint
cost the same and form a *family*, which is offered to the planner weakest atom first, with the harm that it does
(``Sensitivity``). The planner takes the least harm per saved cost until the budget is met.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from onnxprune.alignment import Grain, block_of, rounds
from onnxprune.allocation import uniform, weakest_first
from onnxprune.analyses.channels import ChannelGroups
from onnxprune.analyses.sensitivity import Sensitivity
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.axes.reasons import Reason
from onnxprune.costs import Term
from onnxprune.errors import UsageError, unknown
from onnxprune.footprints import families
from onnxprune.goals import Goal, budgets, held
from onnxprune.healing import heal, unbiased
from onnxprune.importance import CRITERIA
from onnxprune.importance.needs import refusal
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.options import Amount, Share, option
from onnxprune.passes import Analysis, Changed, Context, Outcome, Repair, Unchanged
from onnxprune.plan import Candidate, Plan
from onnxprune.remarks import approximated, skip_others
from onnxprune.replay import doomed_by
from onnxprune.sharing import merge, part, sharers
from onnxprune.spec import Spec, read
from onnxprune.timing.beside import TOLERANCE, Beside, beside
from onnxprune.timing.choice import Draft, chosen, paying

__all__ = ["PruneChannels"]

FLOOR = 0.05  # of a layer's channels stay in any case


@dataclass(frozen=True, kw_only=True)
class PruneChannels:
    """Remove the channels that matter least until at most the given cost is left, and heal what read them.

    macs=50%, params=1.2M, bytes=400K, peak=1M or latency=8ms say what is left, of the original or absolute; ratio=30%
    removes that share of the channels of every layer instead, and spec=prune.json removes what the file lists, and
    nothing else. A cut for macs= or latency= that makes the network no faster is undone, unless align= is given.
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
    keep: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches keep their channels")
    min: int = option(2, "every layer keeps so many channels, and 5% of them")
    importance: Annotated[str, ("auto", *CRITERIA)] = option(
        "auto", "which channels go first; auto: obs where there is calibration data, else l2"
    )
    heal: Literal["auto", "full", "ls", "none"] = option(
        "auto", "refit layers by least squares; full: and their means and variances; auto: ls where there is --calib"
    )
    spec: Path | None = option(None, "a prune.json to obey; align, min and importance then have no say")
    approximate: Literal["auto", "yes", "no"] = option(
        "auto", "cut where that changes more than the channels removed; auto: where healing makes up for it"
    )

    def __post_init__(self) -> None:
        goals = self.goals()
        if bool(goals) + (self.ratio is not None) + (self.spec is not None) != 1:
            raise UsageError(
                "give either budgets (macs=, params=, bytes=, peak=, latency=: what is left), ratio= (what is removed),"
                " or spec= (a file that lists it)"
            )
        if self.spec is not None and self.keep:
            raise UsageError("spec= says what is kept; leave out keep=, and take what is to stay out of the file")
        if timed := [goal for goal, amount in goals.items() if amount.unit and goal != "latency"]:
            raise UsageError(f"{timed[0]}={goals[timed[0]]} is a time; give a share or a count")
        if self.latency is not None and not self.latency.relative and not self.latency.unit:
            raise UsageError(f"latency={self.latency} is no time; give a share (50%) or milliseconds (8ms)")
        if self.importance not in ("auto", *CRITERIA):
            raise UsageError(unknown("criterion", self.importance, CRITERIA))
        if (self.align != "auto" and self.align < 1) or self.min < 1:
            raise UsageError("align and min take a whole number, 1 or more")
        for pattern in self.keep:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"keep={pattern} is not a regular expression: {error}") from error

    def goals(self) -> dict[Goal, Amount]:
        """The goals that were given: what may be left of which cost."""
        return {goal: amount for goal in get_args(Goal) if (amount := getattr(self, goal)) is not None}

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Plan, cut, heal."""
        if self.heal in ("ls", "full") and ctx.calibration is None:
            raise UsageError(f"pass 'prune': heal={self.heal} needs calibration data: give --calib")
        spec, start = None if self.spec is None else read(self.spec, ctx.original), self._time(model, ctx)
        kept, met = _kept(model, self.keep), bool(self.goals()) and not self._missed(model, ctx, start)
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

        def draw(grain: Grain, aim: float) -> Draft:
            return self._draft(model, ctx, kept, grain, 0.0 if start is None else aim * start.before)

        block = block_of(ctx)
        tried = self._rounds(block)
        if met:
            list(self._candidates(model, ctx, kept, {}, tried[0][-1]))
            return {}, "the goal is met"
        draft: Draft | None = chosen(draw, ctx, tried, self.latency)
        remark = ""
        if draft and self._checks(ctx):
            draft, remark = paying(draft, draw, ctx, block)
        if not draft:
            for candidate in self._candidates(model, ctx, kept, {}, tried[0][-1]):
                candidate.apply(model, 0)
            return {}, remark or "no channel can be removed"
        model.skipped.update(draft.whole.skipped)
        return draft.doomed, draft.note + remark

    def _draft(self, model: Model, ctx: Context, kept: set[Axis], grain: Grain, before: float) -> Draft:
        """What a plan leads to; ``before`` is the time that the original counts with."""
        whole, doomed = model.copy(), dict[Axis, Array]()
        candidates = list(self._candidates(whole, ctx, kept, doomed, grain))
        plan = self._plan(model, ctx, candidates, before)
        for candidate in candidates:
            candidate.apply(whole, plan.amounts[candidate.where])
        harm = sum(float(each.harm[plan.amounts[each.where]]) for each in candidates)
        note = _note(candidates, plan)
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

    def _listed(self, model: Model, ctx: Context, spec: Spec) -> tuple[dict[Axis, Array], str]:
        """The slots that the spec lists and all that is tied to them, and what to say of it."""
        try:
            groups = model.get(ChannelGroups(), ctx)
            doomed = doomed_by(spec, model, ctx.original, groups, lambda group, atom: self._obstacle(ctx, group, atom))
        except UsageError as error:
            raise UsageError(f"{self.spec}: {error}") from error
        count = 0
        for family in families(model, ctx):
            count += (gone := family.removed(doomed))
            if not gone:
                family.skip(model, Reason("recipe", "the prune spec keeps it"))
        if not doomed:
            return {}, "the prune spec removes nothing"
        return doomed, f"removed {count} channel{'s' * (count != 1)}, as the prune spec says"

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
        for goal, amount in self.goals().items():
            total, left = (
                (time.before, time.after)
                if goal == "latency" and time is not None
                else (held(goal, ctx.original, ctx), held(goal, model, ctx))
            )
            allowed = amount.of(total) * (1 + tolerance if goal == "latency" else 1)
            if left > allowed:
                missed.append(f"{goal}={amount} is out of reach: {left / total:.1%} is left; {why}")
        return tuple(missed)

    def _plan(self, model: Model, ctx: Context, candidates: list[Candidate], before: float) -> Plan:
        if self.ratio is not None:
            return uniform(candidates, self.ratio)
        given = []
        for goal, amount in self.goals().items():
            allowed = amount.of(before if goal == "latency" else held(goal, ctx.original, ctx))
            given += budgets(goal, model, ctx, allowed, self._added(model, ctx, goal, candidates))
        return weakest_first(candidates, given)

    def _added(self, model: Model, ctx: Context, goal: Goal, candidates: list[Candidate]) -> list[Term]:
        """What the biases cost that healing may add."""
        if goal not in ("params", "bytes") or self.heal == "none" or ctx.calibration is None:
            return []
        layers = unbiased(model, {axis for candidate in candidates for axis in candidate.saves})
        sizes = {v.made: v.weight.value().itemsize if goal == "bytes" else 1 for v in layers}
        return [Term(axis.tensor, size, (axis,)) for axis, size in sizes.items()]

    def _candidates(
        self, model: Model, ctx: Context, kept: set[Axis], doomed: dict[Axis, Array], grain: Grain
    ) -> Iterator[Candidate]:
        """What every family offers; layers of which nothing can be removed are skipped with the reason."""
        shared, approximates = sharers(model), self._approximates(ctx)
        ranked = model.get(Sensitivity(self._criterion(model, ctx), tuple(sorted(kept)), approximates), ctx)
        for family in families(model, ctx):
            width, count = family.width
            floor, ranking = max(self.min, math.ceil(FLOOR * width)), ranked.get(family.where)
            free = 0 if ranking is None else len(ranking.order)
            steps = family.steps(min(free, len(family.atoms) - math.ceil(floor / count)), grain)
            if ranking is not None and len(steps) > 1:
                yield family.candidate(ranking, steps, doomed, self._left_out(grain.of(width)))
                continue
            why = f"with align={grain.of(width)} and at least {floor} kept, none of its {width} channels can go"
            reason = Reason("floor" if floor + count > width else "align", why)
            if not free:
                reasons = (self._obstacle(ctx, family.group, atom) for atom in family.atoms.tolist())
                reason = next(filter(None, reasons), Reason("recipe", "kept by recipe"))
            family.skip(model, reason, {} if free else shared)

    def _criterion(self, model: Model, ctx: Context) -> str:
        if self.importance == "auto":
            return "l2" if ctx.calibration is None else "obs"
        if why := refusal(self.importance, model, ctx, self._approximates(ctx)):
            raise UsageError(f"pass 'prune': {why}")
        return self.importance

    def _left_out(self, align: int) -> Reason:
        if self.ratio is None:
            return Reason("goal", "others do less harm for what they save")
        return Reason("align", f"ratio={self.ratio} of its channels is less than may go with align={align}")


def _kept(model: Model, patterns: tuple[str, ...]) -> set[Axis]:
    """The axes of the outputs of the nodes that the patterns match."""
    kept: set[Axis] = set()
    for pattern in patterns:
        matched = [node for node in model.nodes if re.fullmatch(pattern, node.name)]
        if not matched:
            raise UsageError(f"pass 'prune': keep: {unknown('node', pattern, [n.name for n in model.nodes])}")
        kept.update(axis for node in matched for t in node.outputs if t is not None for axis in t.axes())
    return kept


def _note(candidates: list[Candidate], plan: Plan) -> str:
    removed, every = sum(plan.amounts.values()), sum(len(c.harm) - 1 for c in candidates)
    groups = sum(amount > 0 for amount in plan.amounts.values())
    return f"removed {removed} of {every} channels in {groups} of {len(candidates)} groups"
