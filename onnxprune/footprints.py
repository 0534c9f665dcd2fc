"""Families: the atoms of a group that have the same footprint, which cost the same and are offered together."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from onnxprune.alignment import Grain
from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.axes.reasons import Reason
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.plan import Candidate

__all__ = ["Family", "Ranking", "families"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Atoms in the order in which they go, and the harm done by the first k of them, from 0 on."""

    order: Array
    harm: Array


@dataclass(frozen=True, eq=False)
class Family:
    """Atoms of a group with the same footprint: each has ``counts[axis]`` slots of every axis it is part of.

    ``made`` are the axes that make channels, each with its layers.
    """

    where: str
    group: Group
    atoms: Array
    counts: Mapping[Hashable, int]
    made: Mapping[Axis, list[str]]

    @property
    def width(self) -> tuple[int, int]:
        """How many channels of the widest layer the atoms hold, all and each."""
        _, count = max((len(self.group.atoms[axis]), self.counts[axis]) for axis in self.made)
        return count * len(self.atoms), count

    def candidate(self, ranking: Ranking, steps: Array, doomed: dict[Axis, Array], left_out: Reason) -> Candidate:
        """The offer to remove the atoms that were ranked; applying it adds their slots to ``doomed``."""

        def apply(model: Model, amount: int) -> None:
            if not amount:
                self.skip(model, left_out)
            for axis, slots in self.group.slots(ranking.order[:amount]).items():
                doomed[axis] = np.union1d(doomed.get(axis, slots), slots)

        never = np.full(len(self.atoms) - len(ranking.order), np.inf)
        return Candidate(self.where, self.counts, np.concatenate([ranking.harm, never]), steps, apply)

    def steps(self, most: int, grain: Grain) -> Array:
        """The numbers of atoms, up to ``most``, that may go so that the widest layer keeps what the grain permits."""
        width, count = self.width
        size = max(len(self.group.atoms[axis]) for axis in self.made)
        gone = count * np.arange(most + 1)
        whole = width == size  # else other families may take their part of the layer
        return np.flatnonzero(grain.permits(size - gone if whole else gone, size) | (gone == 0))

    def free(self, kept: Collection[Axis], approximate: bool) -> Array:
        """The atoms that may be cut, no slot of the axes ``kept`` among them."""
        whole = [np.isin(self.atoms, self.group.atoms[axis]) for axis in kept if axis in self.group.atoms]
        free = [self.group.obstacle(atom, approximate) is None for atom in self.atoms.tolist()]
        return np.asarray(self.atoms[np.array(free, bool) & ~np.any([np.zeros(len(free), bool), *whole], axis=0)])

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


def families(model: Model, ctx: Context) -> Iterator[Family]:
    """Of every group, the families that hold channels of a linear operator, in the order of the graph."""
    makers = dict[Axis, list[str]]()
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
            if made:
                where = f"{', '.join(name for layers in made.values() for name in layers)} [{index}.{number}]"
                yield Family(where, group, atoms, counts, made)
