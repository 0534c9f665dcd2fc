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
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.analyses.sensitivity import Sensitivity
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.axes.reasons import Reason
from onnxprune.axes.silencing import WEIGHTY
from onnxprune.constants import constants_behind
from onnxprune.costs import Term
from onnxprune.errors import UsageError, unknown
from onnxprune.footprints import Family, families
from onnxprune.goals import Goal, budgets, held
from onnxprune.healing import heal, unbiased
from onnxprune.importance import CRITERIA
from onnxprune.importance.needs import refusal
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.options import Amount, Share, option
from onnxprune.passes import Analysis, Changed, Context, Outcome, Unchanged
from onnxprune.plan import Candidate, Plan, uniform, weakest_first
from onnxprune.replay import doomed_by
from onnxprune.sharing import Copies, merge, part, sharers
from onnxprune.spec import Spec, read

__all__ = ["PruneChannels"]

FLOOR = 0.05  # of a layer's channels stay in any case


@dataclass(frozen=True, kw_only=True)
class PruneChannels:
    """Remove the channels that matter least until at most the given cost is left, and heal what read them.

    macs=50%, params=1.2M, bytes=400K or peak=1M say what is left, of the original or absolute; ratio=30% removes that
    share of the channels of every layer instead, and spec=prune.json removes what the file lists, and nothing else.
    """

    name: ClassVar[str] = "prune"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()

    macs: Amount | None = option(None, "multiply-accumulates left")
    params: Amount | None = option(None, "parameters left")
    bytes: Amount | None = option(None, "bytes of weights left")
    peak: Amount | None = option(None, "bytes of activations left where most of them are held at once")
    ratio: Share | None = option(None, "share of the channels that every layer loses")
    align: int = option(8, "layers that are cut keep a multiple of so many channels, as fast kernels want")
    keep: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches keep their channels")
    min: int = option(2, "every layer keeps so many channels, and 5% of them")
    importance: Annotated[str, ("auto", *CRITERIA)] = option(
        "auto", "which channels go first; auto: obs where there is calibration data, else l2"
    )
    heal: Literal["auto", "ls", "none"] = option("auto", "least-squares healing; auto: where there is calibration data")
    spec: Path | None = option(None, "a prune.json to obey; align, min and importance then have no say")
    approximate: Literal["auto", "yes", "no"] = option(
        "auto", "cut where that changes more than the channels removed; auto: where healing makes up for it"
    )

    def __post_init__(self) -> None:
        goals = self.goals()
        if bool(goals) + (self.ratio is not None) + (self.spec is not None) != 1:
            raise UsageError(
                "give either budgets (macs=, params=, bytes=, peak=: what is left), ratio= (what is removed), "
                "or spec= (a file that lists it)"
            )
        if self.spec is not None and self.keep:
            raise UsageError("spec= says what is kept; leave out keep=, and take what is to stay out of the file")
        if timed := [goal for goal, amount in goals.items() if amount.unit]:
            raise UsageError(f"{timed[0]}={goals[timed[0]]} is a time; give a share or a count")
        if self.importance not in ("auto", *CRITERIA):
            raise UsageError(unknown("criterion", self.importance, CRITERIA))
        if self.align < 1 or self.min < 1:
            raise UsageError("align and min take a whole number, 1 or more")
        for pattern in self.keep:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"keep={pattern} is not a regular expression: {error}") from error

    def goals(self) -> dict[Goal, Amount]:
        """The goals that were given: what may be left of which cost."""
        given: dict[Goal, Amount | None] = {
            "macs": self.macs,
            "params": self.params,
            "bytes": self.bytes,
            "peak": self.peak,
        }
        return {goal: amount for goal, amount in given.items() if amount is not None}

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Plan, cut, heal."""
        if self.heal == "ls" and ctx.calibration is None:
            raise UsageError("pass 'prune': heal=ls needs calibration data: give --calib")
        spec = None if self.spec is None else read(self.spec, ctx.original)
        kept, met = _kept(model, self.keep), bool(self.goals()) and not self._missed(model, ctx)
        copies = part(model)
        doomed, note = self._planned(model, ctx, kept, met) if spec is None else self._listed(model, ctx, spec)
        _skip_others(model, ctx, copies)
        if doomed:
            note += _approximated(model.get(ChannelGroups(), ctx), doomed)
            cut(model, doomed)
        added = merge(model, copies)
        if not doomed:
            return Unchanged(note, self._missed(model, ctx))
        note += f"; constants that were shared take {added} bytes more" if added > 0 else ""
        if self.heal != "none":
            note = f"{note}; {heal(model, ctx, doomed)}"
        model.sweep()  # sizes and biases that were replaced
        return Changed(note, self._missed(model, ctx))

    def _planned(self, model: Model, ctx: Context, kept: set[Axis], met: bool) -> tuple[dict[Axis, Array], str]:
        """The slots that a plan removes, and what to say of it."""
        doomed = dict[Axis, Array]()
        candidates = list(self._candidates(model, ctx, kept, doomed))
        if met:
            return {}, "the goal is met"
        plan = self._plan(model, ctx, candidates)
        for candidate in candidates:
            candidate.apply(model, plan.amounts[candidate.where])
        return doomed, _note(candidates, plan) if doomed else "no channel can be removed"

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

    def _missed(self, model: Model, ctx: Context) -> tuple[str, ...]:
        """The budgets that the model as it is exceeds."""
        missed, why = [], "all else is pinned, kept, at its floor or between two multiples of align"
        for goal, amount in self.goals().items():
            total, left = (held(goal, each, ctx) for each in (ctx.original, model))
            if left > amount.of(total):
                missed.append(f"{goal}={amount} is out of reach: {left / total:.1%} is left; {why}")
        return tuple(missed)

    def _plan(self, model: Model, ctx: Context, candidates: list[Candidate]) -> Plan:
        if self.ratio is not None:
            return uniform(candidates, self.ratio)
        given = []
        for goal, amount in self.goals().items():
            allowed = amount.of(held(goal, ctx.original, ctx))
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
        self, model: Model, ctx: Context, kept: set[Axis], doomed: dict[Axis, Array]
    ) -> Iterator[Candidate]:
        """What every family offers; layers of which nothing can be removed are skipped with the reason."""
        shared, approximates = sharers(model), self._approximates(ctx)
        ranked = model.get(Sensitivity(self._criterion(model, ctx), tuple(sorted(kept)), approximates), ctx)
        for family in families(model, ctx):
            width, count = family.width
            floor, ranking = max(self.min, math.ceil(FLOOR * width)), ranked.get(family.where)
            free = 0 if ranking is None else len(ranking.order)
            steps = self._steps(family, min(free, len(family.atoms) - math.ceil(floor / count)))
            if ranking is not None and len(steps) > 1:
                yield family.candidate(ranking, steps, doomed, self._left_out())
                continue
            why = f"with align={self.align} and at least {floor} kept, none of its {width} channels can go"
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

    def _left_out(self) -> Reason:
        if self.ratio is None:
            return Reason("goal", "others do less harm for what they save")
        return Reason("align", f"ratio={self.ratio} of its channels is less than may go with align={self.align}")

    def _steps(self, family: Family, most: int) -> Array:
        """The numbers of atoms that may go so that the widest layer keeps a multiple of ``align`` channels."""
        width, count = family.width
        size = max(len(family.group.atoms[axis]) for axis in family.made)
        gone = count * np.arange(most + 1)
        whole = width == size  # else other families may take their part of the layer
        aligned = (size - gone if whole else gone) % self.align == 0
        return np.flatnonzero(aligned | (gone == 0))


def _skip_others(model: Model, ctx: Context, copies: Copies) -> None:
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


def _approximated(groups: tuple[Group, ...], doomed: Mapping[Axis, Array]) -> str:
    """What to say of cuts that change more than the channels removed."""
    count = 0
    for group in groups:
        slots = [group.atoms[axis][doomed[axis]] for axis in group.atoms if axis in doomed] if group.approximate else []
        count += len(np.intersect1d(np.concatenate([*slots, [-1]]), list(group.approximate)))
    return f", {count} of them approximately" if count else ""
