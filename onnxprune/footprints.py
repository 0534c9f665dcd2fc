"""Families: the atoms of a group that have the same footprint, which cost the same and are offered together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.analyses.importance import Magnitude
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.axes.reasons import Reason
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.plan import Candidate

__all__ = ["Family", "families"]

TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Family:
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

    def removed(self, doomed: Mapping[Axis, Array]) -> int:
        """How many of the atoms go with these slots."""
        axis = next(iter(self.made))
        return len(np.intersect1d(self.group.atoms[axis][doomed.get(axis, np.zeros(0, int))], self.atoms))

    def skip(self, model: Model, reason: Reason, shared: Mapping[str, str] = MappingProxyType({})) -> None:
        """Record why the channels stay, for every layer that makes some of them; ``shared`` has more on some layers."""
        for axis, layers in self.made.items():
            held, size = self.counts[axis] * len(self.atoms), len(self.group.atoms[axis])
            what = "not pruned" if held == size else f"{held} of {size} channels not pruned"
            for layer in layers:
                model.skip(layer, f"{what}: {reason.why}{shared.get(layer, '')}", reason)


def families(model: Model, ctx: Context, norm: Literal["l1", "l2"]) -> Iterator[Family]:
    """Of every group, the families that hold channels of a linear operator, in the order of the graph."""
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
                yield Family(where, group, atoms, counts, made, np.array(held))
