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
from onnxprune.analyses.cost import Cost, Kind
from onnxprune.analyses.importance import Magnitude
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.errors import UsageError, unknown
from onnxprune.healing import heal
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.options import Amount, Share, option
from onnxprune.passes import Analysis, Changed, Context, Outcome, Unchanged
from onnxprune.plan import Budget, Candidate, Plan, uniform, weakest_first

__all__ = ["PruneChannels"]

FLOOR = 0.05  # of a layer's channels stay in any case
TINY = 1e-9


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
        budgets = [self._budget(model, ctx, kind, amount) for kind, amount in self.budgets().items()]
        plan = weakest_first(candidates, budgets) if self.ratio is None else uniform(candidates, self.ratio)
        missed = tuple(_missed(budget, plan) for budget in budgets if budget.name in plan.missed)
        if not plan:
            return Unchanged("no channel can be removed" if missed or not candidates else "the goal is met", missed)
        for candidate in candidates:
            candidate.apply(model, plan.amounts[candidate.where])
        cut(model, doomed)
        note = _note(candidates, plan)
        return Changed(note if self.heal == "none" else f"{note}; {heal(model, ctx, doomed)}", missed)

    def _budget(self, model: Model, ctx: Context, kind: Kind, amount: Amount) -> Budget:
        total = ctx.original.get(Cost(kind), ctx).total()
        return Budget(f"{kind}={amount}", model.get(Cost(kind), ctx), amount.of(total))

    def _candidates(
        self, model: Model, ctx: Context, kept: set[Axis], doomed: dict[Axis, Array]
    ) -> Iterator[Candidate]:
        """What every family offers; layers of which nothing can be removed are skipped with the reason."""
        for family in _families(model, ctx, self.importance):
            group, floor = family.group, max(self.min, math.ceil(FLOOR * len(family.atoms)))
            held = [np.isin(family.atoms, atoms) for axis, atoms in group.atoms.items() if axis in kept]
            free = np.isin(family.atoms, group.free) & ~np.any(held, axis=0)
            steps = self._steps(family, min(int(free.sum()), len(family.atoms) - floor))
            if len(steps) > 1:
                yield family.candidate(free, steps, doomed)
                continue
            why = f"with align={self.align} and at least {floor} kept, none of its {len(family.atoms)} channels can go"
            if not free.any():
                why = "kept by recipe" if held and np.any(held) else group.pinned[int(family.atoms[0])]
            for layer in family.layers:
                model.skip(layer, f"not pruned: {why}")

    def _steps(self, family: _Family, most: int) -> Array:
        """The numbers of atoms that may go so that the widest layer keeps a multiple of ``align`` channels."""
        size, count = max((len(family.group.atoms[axis]), family.counts[axis]) for axis in family.made)
        gone = count * np.arange(most + 1)
        whole = count * len(family.atoms) == size  # else other families may take their part of the layer
        aligned = (size - gone if whole else gone) % self.align == 0
        return np.flatnonzero(aligned | (gone == 0))


@dataclass(frozen=True, eq=False)
class _Family:
    """Atoms of a group with the same footprint: each has ``counts[axis]`` slots of every axis it is part of.

    ``shares[i, j]`` is the part of the weights of the i-th axis in ``made`` that the j-th atom holds.
    """

    where: str
    layers: tuple[str, ...]
    group: Group
    atoms: Array
    counts: Mapping[Hashable, int]
    made: tuple[Axis, ...]
    shares: Array

    def candidate(self, free: Array, steps: Array, doomed: dict[Axis, Array]) -> Candidate:
        """The offer to remove some of the atoms that are free; applying it adds their slots to ``doomed``."""
        order = np.argsort(self.shares[:, free].sum(axis=0), kind="stable")
        gone = np.cumsum(self.shares[:, free][:, order], axis=1)
        harm = (np.maximum(1 - gone, TINY) ** -2 - 1).sum(axis=0)
        weakest = self.atoms[free][order]

        def apply(model: Model, amount: int) -> None:
            for axis, slots in self.group.slots(weakest[:amount]).items():
                doomed[axis] = np.union1d(doomed.get(axis, slots), slots)

        return Candidate(self.where, self.counts, np.concatenate([[0.0], harm]), steps, apply)


def _families(model: Model, ctx: Context, norm: Literal["l1", "l2"]) -> Iterator[_Family]:
    shares, makers = model.get(Magnitude(norm), ctx), dict[Axis, list[str]]()
    for node in model.nodes:
        if (view := linear(node)) is not None:
            makers.setdefault(view.made, []).append(node.name)
    groups = model.get(ChannelGroups(), ctx)
    for index, group in enumerate(groups):
        axes = list(group.atoms)
        footprints = np.array([np.bincount(group.atoms[axis], minlength=group.size) for axis in axes])
        patterns, member = np.unique(footprints, axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            counts: dict[Hashable, int] = {a: int(n) for a, n in zip(axes, pattern, strict=True) if n}
            made = tuple(axis for axis in axes if axis in counts and axis in makers)
            atoms = np.flatnonzero(member.ravel() == number)
            held = [np.bincount(group.atoms[axis], shares[axis], group.size)[atoms] for axis in made]
            layers = tuple(dict.fromkeys(name for axis in made for name in makers[axis]))
            if made:
                where = f"{', '.join(layers)} [{index}.{number}]"
                yield _Family(where, layers, group, atoms, counts, made, np.array(held))


def _kept(model: Model, patterns: tuple[str, ...]) -> set[Axis]:
    """The axes of the outputs of the nodes that the patterns match."""
    kept: set[Axis] = set()
    for pattern in patterns:
        matched = [node for node in model.nodes if re.fullmatch(pattern, node.name)]
        if not matched:
            raise UsageError(f"pass 'prune': keep: {unknown('node', pattern, [n.name for n in model.nodes])}")
        kept.update(axis for node in matched for t in node.outputs if t is not None for axis in t.axes())
    return kept


def _missed(budget: Budget, plan: Plan) -> str:
    left = plan.left[budget.name] / budget.cost.total()
    why = "all else is pinned, kept, at its floor or between two multiples of align"
    return f"{budget.name} is out of reach: {left:.1%} is left; {why}"


def _note(candidates: list[Candidate], plan: Plan) -> str:
    removed, free = sum(plan.amounts.values()), sum(len(c.harm) - 1 for c in candidates)
    groups = sum(amount > 0 for amount in plan.amounts.values())
    return f"removed {removed} of {free} free channels in {groups} of {len(candidates)} groups"
