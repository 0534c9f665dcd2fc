"""Remove channels, and refit what reads them.

Slots of many axes that live or die together form atoms (``ChannelGroups``). Atoms of a group with the same footprint
cost the same and form a *family*, which is offered to the planner weakest atom first. With eᵢ the share of layer i's
weights that the removed atoms hold, the harm of a family is

    Σᵢ (1 − eᵢ)⁻² − 1

over the layers that make its channels: a small cut costs what it removes, and the last channels of a layer cost more
than those of any other. The planner takes the least harm per saved cost until the budget is met.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.analyses.cost import Cost, Kind, Polynomial, Term
from onnxprune.analyses.importance import Magnitude
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.axes.reasons import Reason
from onnxprune.constants import constants_behind
from onnxprune.errors import UsageError, unknown
from onnxprune.healing import heal, unbiased
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.options import Amount, Share, option
from onnxprune.passes import Analysis, Changed, Context, Outcome, Unchanged
from onnxprune.plan import Budget, Candidate, Plan, uniform, weakest_first

__all__ = ["PruneChannels"]

FLOOR = 0.05  # of a layer's channels stay in any case
TINY = 1e-9
WEIGHTY = re.compile("Attention|Conv|Einsum|Gemm|GRU|LSTM|MatMul|RNN")  # in the names of operators with weights


@dataclass(frozen=True, kw_only=True)
class PruneChannels:
    """Remove the channels that matter least until at most the given cost is left, and heal what read them.

    macs=50%, params=1.2M or bytes=400K say what is left, of the original or absolute; ratio=30% removes that share of
    the channels of every layer instead.
    """

    name: ClassVar[str] = "prune"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()

    macs: Amount | None = option(None, "multiply-accumulates left")
    params: Amount | None = option(None, "parameters left")
    bytes: Amount | None = option(None, "bytes of weights left")
    ratio: Share | None = option(None, "share of the channels that every layer loses")
    align: int = option(8, "layers that are cut keep a multiple of so many channels, as fast kernels want")
    keep: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches keep their channels")
    min: int = option(2, "every layer keeps so many channels, and 5% of them")
    importance: Literal["l1", "l2"] = option("l2", "the norm by which a channel's weights count")
    heal: Literal["auto", "ls", "none"] = option("auto", "least-squares healing; auto: where there is calibration data")

    def __post_init__(self) -> None:
        budgets = self.budgets()
        if bool(budgets) == (self.ratio is not None):
            raise UsageError("give either budgets (macs=, params=, bytes=: what is left) or ratio= (what is removed)")
        if timed := [kind for kind, amount in budgets.items() if amount.unit]:
            raise UsageError(f"{timed[0]}={budgets[timed[0]]} is a time; give a share or a count")
        if self.align < 1 or self.min < 1:
            raise UsageError("align and min take a whole number, 1 or more")
        for pattern in self.keep:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"keep={pattern} is not a regular expression: {error}") from error

    def budgets(self) -> dict[Kind, Amount]:
        """The budgets that were given, by kind of cost."""
        given: dict[Kind, Amount | None] = {"macs": self.macs, "params": self.params, "bytes": self.bytes}
        return {kind: amount for kind, amount in given.items() if amount is not None}

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Plan, cut, heal."""
        if self.heal == "ls" and ctx.calibration is None:
            raise UsageError("pass 'prune': heal=ls needs calibration data: give --calib")
        kept, doomed = _kept(model, self.keep), dict[Axis, Array]()
        candidates = list(self._candidates(model, ctx, kept, doomed))
        _skip_others(model, ctx)
        if self.ratio is None and not self._missed(model, ctx):
            return Unchanged("the goal is met")
        plan = self._plan(model, ctx, candidates)
        for candidate in candidates:
            candidate.apply(model, plan.amounts[candidate.where])
        if not doomed:
            return Unchanged("no channel can be removed", self._missed(model, ctx))
        cut(model, doomed)
        note = _note(candidates, plan)
        if self.heal != "none":
            note = f"{note}; {heal(model, ctx, doomed)}"
        model.sweep()  # sizes and biases that were replaced
        return Changed(note, self._missed(model, ctx))

    def _missed(self, model: Model, ctx: Context) -> tuple[str, ...]:
        """The budgets that the model as it is exceeds."""
        missed, why = [], "all else is pinned, kept, at its floor or between two multiples of align"
        for kind, amount in self.budgets().items():
            total, left = (each.get(Cost(kind), ctx).total() for each in (ctx.original, model))
            if left > amount.of(total):
                missed.append(f"{kind}={amount} is out of reach: {left / total:.1%} is left; {why}")
        return tuple(missed)

    def _plan(self, model: Model, ctx: Context, candidates: list[Candidate]) -> Plan:
        if self.ratio is not None:
            return uniform(candidates, self.ratio)
        given = self.budgets().items()
        totals = {kind: ctx.original.get(Cost(kind), ctx).total() for kind, _ in given}
        costs = {kind: self._cost(model, ctx, kind, candidates) for kind, _ in given}
        return weakest_first(candidates, [Budget(kind, costs[kind], amount.of(totals[kind])) for kind, amount in given])

    def _cost(self, model: Model, ctx: Context, kind: Kind, candidates: list[Candidate]) -> Polynomial:
        """The cost to plan with: that of the model, and of the biases that healing may add."""
        cost = model.get(Cost(kind), ctx)
        if kind == "macs" or self.heal == "none" or ctx.calibration is None:
            return cost
        layers = unbiased(model, {axis for candidate in candidates for axis in candidate.saves})
        sizes = {v.made: v.weight.value().itemsize if kind == "bytes" else 1 for v in layers if v.made in cost.sizes}
        extra = (Term(axis.tensor, size, (axis,)) for axis, size in sizes.items())
        return Polynomial((*cost.terms, *extra), cost.sizes)

    def _candidates(
        self, model: Model, ctx: Context, kept: set[Axis], doomed: dict[Axis, Array]
    ) -> Iterator[Candidate]:
        """What every family offers; layers of which nothing can be removed are skipped with the reason."""
        for family in _families(model, ctx, self.importance):
            group, (width, count) = family.group, family.width
            floor = max(self.min, math.ceil(FLOOR * width))
            held = [np.isin(family.atoms, atoms) for axis, atoms in group.atoms.items() if axis in kept]
            free = np.isin(family.atoms, group.free) & ~np.any(held, axis=0)
            steps = self._steps(family, min(int(free.sum()), len(family.atoms) - math.ceil(floor / count)))
            if len(steps) > 1:
                yield family.candidate(free, steps, doomed, self._left_out())
                continue
            why = f"with align={self.align} and at least {floor} kept, none of its {width} channels can go"
            reason = Reason("floor" if floor + count > width else "align", why)
            if not free.any():
                reasons = (group.reason(int(atom)) for atom in family.atoms)
                reason = next(filter(None, reasons), Reason("recipe", "kept by recipe"))
            family.skip(model, reason)

    def _left_out(self) -> Reason:
        if self.ratio is None:
            return Reason("goal", "others do less harm for what they save")
        return Reason("align", f"ratio={self.ratio} of its channels is less than may go with align={self.align}")

    def _steps(self, family: _Family, most: int) -> Array:
        """The numbers of atoms that may go so that the widest layer keeps a multiple of ``align`` channels."""
        width, count = family.width
        size = max(len(family.group.atoms[axis]) for axis in family.made)
        gone = count * np.arange(most + 1)
        whole = width == size  # else other families may take their part of the layer
        aligned = (size - gone if whole else gone) % self.align == 0
        return np.flatnonzero(aligned | (gone == 0))


@dataclass(frozen=True, eq=False)
class _Family:
    """Atoms of a group with the same footprint: each has ``counts[axis]`` slots of every axis it is part of.

    ``made`` are the axes that make channels, each with its layers; ``shares[i, j]`` is the part of the weights of the
    i-th of them that the j-th atom holds.
    """

    where: str
    group: Group
    atoms: Array
    counts: Mapping[Hashable, int]
    made: Mapping[Axis, list[str]]
    shares: Array

    @property
    def width(self) -> tuple[int, int]:
        """How many channels of the widest layer the atoms hold, all and each."""
        _, count = max((len(self.group.atoms[axis]), self.counts[axis]) for axis in self.made)
        return count * len(self.atoms), count

    def candidate(self, free: Array, steps: Array, doomed: dict[Axis, Array], left_out: Reason) -> Candidate:
        """The offer to remove some of the atoms that are free; applying it adds their slots to ``doomed``."""
        order = np.argsort(self.shares[:, free].sum(axis=0), kind="stable")
        gone = np.cumsum(self.shares[:, free][:, order], axis=1)
        harm = (np.maximum(1 - gone, TINY) ** -2 - 1).sum(axis=0)
        weakest = self.atoms[free][order]

        def apply(model: Model, amount: int) -> None:
            if not amount:
                self.skip(model, left_out)
            for axis, slots in self.group.slots(weakest[:amount]).items():
                doomed[axis] = np.union1d(doomed.get(axis, slots), slots)

        never = np.full(len(self.atoms) - len(weakest), np.inf)
        return Candidate(self.where, self.counts, np.concatenate([[0.0], harm, never]), steps, apply)

    def skip(self, model: Model, reason: Reason) -> None:
        """Record why the channels stay, for every layer that makes some of them."""
        for axis, layers in self.made.items():
            held, size = self.counts[axis] * len(self.atoms), len(self.group.atoms[axis])
            what = "not pruned" if held == size else f"{held} of {size} channels not pruned"
            for layer in layers:
                model.skip(layer, f"{what}: {reason.why}", reason)


def _families(model: Model, ctx: Context, norm: Literal["l1", "l2"]) -> Iterator[_Family]:
    shares, makers = model.get(Magnitude(norm), ctx), dict[Axis, list[str]]()
    for node in model.nodes:
        if (view := linear(node)) is not None:
            makers.setdefault(view.made, []).append(node.name)
    groups = model.get(ChannelGroups(), ctx)
    for index, group in enumerate(groups):
        if makers.keys().isdisjoint(group.atoms):
            continue
        axes = list(group.atoms)
        footprints = np.array([np.bincount(group.atoms[axis], minlength=group.size) for axis in axes])
        patterns, member = np.unique(footprints, axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            counts: dict[Hashable, int] = {a: int(n) for a, n in zip(axes, pattern, strict=True) if n}
            made = {axis: makers[axis] for axis in axes if axis in counts and axis in makers}
            atoms = np.flatnonzero(member.ravel() == number)
            held = [np.bincount(group.atoms[axis], shares[axis], group.size)[atoms] for axis in made]
            if made:
                where = f"{', '.join(name for layers in made.values() for name in layers)} [{index}.{number}]"
                yield _Family(where, group, atoms, counts, made, np.array(held))


def _skip_others(model: Model, ctx: Context) -> None:
    """Say of every other operator with weights why its channels stay."""
    constant = constants_behind(model)
    home = {axis: group for group in model.get(ChannelGroups(), ctx) for axis in group.atoms}
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
