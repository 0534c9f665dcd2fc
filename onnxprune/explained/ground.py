"""What is known of a network before anything is asked: facts, groups, layers, and where each axis belongs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from onnxprune.analyses.channels import ChannelGroups, stated
from onnxprune.axes.facts import Approximate, Fact, Pin, Tie
from onnxprune.axes.groups import Group, decided, settle
from onnxprune.axes.linear import Linear, linear
from onnxprune.axes.reasons import Reason
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node

__all__ = ["Ground"]


@dataclass(frozen=True, eq=False)
class Ground:
    """A model, and the groups of its channels; those that a layer makes or reads are numbered from 1."""

    model: Model
    groups: tuple[Group, ...]
    facts: tuple[Fact, ...]
    sizes: Mapping[Axis, int | None]
    layers: tuple[Linear, ...]

    @classmethod
    def of(cls, model: Model) -> Ground:
        """State and settle the facts."""
        layers = tuple(view for node in model.nodes if (view := linear(node)) is not None)
        facts, sizes = stated(model)
        return cls(model, ChannelGroups().compute(model), tuple(decided(facts, sizes)), sizes, layers)

    @cached_property
    def home(self) -> dict[Axis, Group]:
        """The group of every axis that is tied to a constant."""
        return {axis: group for group in self.groups for axis in group.atoms}

    @cached_property
    def numbers(self) -> dict[Group, int]:
        """The numbered groups, in the order of the graph."""
        wide = {view.read for view in self.layers if (view.weight.size(view.columns) or 0) > 1} | self.makers
        return {group: number for number, group in enumerate((g for g in self.groups if wide & g.atoms.keys()), 1)}

    @cached_property
    def makers(self) -> frozenset[Axis]:
        """The axes that make channels."""
        return frozenset(view.made for view in self.layers)

    @cached_property
    def made_in(self) -> dict[Group, list[Linear]]:
        """The layers that make the channels of a group."""
        return self._by_group((view.made, view) for view in self.layers)

    @cached_property
    def read_in(self) -> dict[Group, list[Linear]]:
        """The layers that read them."""
        return self._by_group((view.read, view) for view in self.layers)

    def _by_group(self, places: Iterable[tuple[Axis, Linear]]) -> dict[Group, list[Linear]]:
        found: dict[Group, list[Linear]] = {}
        for axis, view in places:
            if axis in self.home:
                found.setdefault(self.home[axis], []).append(view)
        return found

    @cached_property
    def _users(self) -> dict[str, list[tuple[int, Node]]]:
        """The nodes that read or write a tensor, by its name, with their place in the graph."""
        users: dict[str, list[tuple[int, Node]]] = {t.name: [] for t in (*self.model.inputs, *self.model.outputs)}
        for place in enumerate(self.model.nodes):
            for name in {t.name for t in place[1].tensors()}:
                users.setdefault(name, []).append(place)
        return users

    def users(self, group: Group) -> list[Node]:
        """The nodes that read or write a tensor with an axis of the group, in the order of the graph."""
        found = {index: node for axis in group.atoms for index, node in self._users[axis.tensor]}
        return [found[index] for index in sorted(found)]

    def of_axis(self, axis: Axis) -> Group | None:
        """The group of an axis, whether or not it is tied to a constant; None where no fact names it."""
        if axis in self.home:
            return self.home[axis]
        found = settle(self.facts, self.sizes, axis.__eq__) if axis in self.sizes else []
        return found[0] if found else None

    def carried(self, tensor: str, rank: int | None) -> Axis | None:
        """The axis of a tensor along which numbered channels lie: those that a layer makes, if there are several."""
        axes = [axis for d in range(rank or 0) if self.home.get(axis := Axis(tensor, d)) in self.numbers]
        return max(axes, key=lambda axis: not self.makers.isdisjoint(self.home[axis].atoms), default=None)

    def blockers(self, axis: Axis, group: Group) -> list[tuple[Reason, int]]:
        """All that holds slots of an axis, the nearest first, with how many slots it holds."""
        held = group.atoms[axis]
        reach = nx.single_source_shortest_path_length(self._ties(group, held), axis)
        found: dict[Reason, int] = {}
        for reason in self._reasons(group):
            if reason.axis is not None and (count := int(np.isin(held, group.atoms[reason.axis]).sum())):
                found[reason] = count
        far = len(reach)
        return sorted(found.items(), key=lambda item: (reach.get(item[0].axis, far), item[0].why))

    def _reasons(self, group: Group) -> Iterator[Reason]:
        for fact in self.facts:
            if isinstance(fact, Pin | Approximate) and fact.axis in group.atoms:
                yield Reason(fact.kind, fact.why, fact.node, fact.axis)

    def path(self, axis: Axis, group: Group, reason: Reason) -> list[tuple[Axis, Axis, str | None]]:
        """The shortest way over ties from an axis to what holds it: each step with the node that ties both ends."""
        if reason.axis is None:
            return []
        both = np.intersect1d(group.atoms[axis], group.atoms[reason.axis])
        ties = self._ties(group, both)
        steps = nx.utils.pairwise(nx.shortest_path(ties, axis, reason.axis))
        return [(a, b, ties.edges[a, b]["node"]) for a, b in steps]

    def _ties(self, group: Group, atoms: Array) -> nx.Graph:
        """The axes of a group, joined where a tie carries one of the atoms."""
        graph, wanted = nx.Graph(), np.zeros(group.size, bool)
        wanted[atoms] = True
        graph.add_nodes_from(group.atoms)
        for tie in (fact for fact in self.facts if isinstance(fact, Tie) and fact.a in group.atoms):
            ends = group.atoms[tie.b]
            if wanted[ends[tie.slots(len(ends)) >= 0]].any():
                graph.add_edge(tie.a, tie.b, node=tie.node)
        return graph
