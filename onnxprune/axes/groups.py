"""From facts to groups: the slots of many axes that fall into atoms, the smallest sets that can be removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from onnxprune.axes.facts import Approximate, Either, Fact, Free, Pin, Tie
from onnxprune.axes.rules import facts_of
from onnxprune.model import Model
from onnxprune.node import Array, Axis

__all__ = ["Group", "collect", "settle"]

MOST = 2**24  # slots of one axis: each takes memory, whatever a file says


@dataclass(frozen=True, eq=False)
class Group:
    """Axes whose slots are tied, directly or through each other.

    ``atoms[axis][i]`` is the atom (0 … ``size`` - 1) that slot i belongs to; ``pinned[atom]`` tells why it cannot be
    cut, ``approximate[atom]`` why cutting it changes more than the removed channels.
    """

    atoms: Mapping[Axis, Array] = field(repr=False)
    size: int
    pinned: Mapping[int, str] = field(repr=False)
    approximate: Mapping[int, str] = field(repr=False)

    @property
    def free(self) -> Array:
        """The atoms that can be cut exactly."""
        held = [*self.pinned, *self.approximate]
        return np.setdiff1d(np.arange(self.size), np.array(held, int))

    def reason(self, atom: int) -> str | None:
        """Why an atom cannot be cut; None when it can."""
        return self.pinned.get(atom) or self.approximate.get(atom)

    def why(self, axis: Axis) -> str | None:
        """The reason why no slot of an axis can be cut; None when some can."""
        reasons = [self.reason(int(atom)) for atom in self.atoms[axis]]
        return next((r for r in reasons if r), None) if all(reasons) else None

    def slots(self, doomed: Array) -> dict[Axis, Array]:
        """The slots of every axis that go when the atoms ``doomed`` are removed; axes that keep all are left out."""
        gone = {axis: np.flatnonzero(np.isin(atoms, doomed)) for axis, atoms in self.atoms.items()}
        return {axis: slots for axis, slots in gone.items() if len(slots)}


def collect(model: Model) -> list[Fact]:
    """All facts of a model: those of its nodes, and that its inputs and outputs are its signature."""
    facts: list[Fact] = [fact for node in model.nodes for fact in facts_of(node)]
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        facts += [Pin(axis, f"graph {kind} '{t.name}'") for t in tensors for axis in t.axes()]
    return facts


def settle(facts: Iterable[Fact], sizes: Mapping[Axis, int | None]) -> list[Group]:
    """The groups that facts imply; ``sizes`` gives the number of slots of every axis, None where it is not fixed."""
    facts = _decide(_fixed(facts, sizes), sizes)
    axes = nx.MultiGraph()  # Concat(a, a) ties one pair of axes twice
    for fact in facts:
        if isinstance(fact, Tie):
            axes.add_edge(fact.a, fact.b, tie=fact)
        elif isinstance(fact, Free):
            axes.add_node(fact.axis)
        elif isinstance(fact, Pin | Approximate) and (sizes[fact.axis] or 0) <= MOST:
            axes.add_node(fact.axis)
            axes.nodes[fact.axis].setdefault(type(fact), fact.why)
    return [_group(axes.subgraph(part), sizes) for part in map(sorted, nx.connected_components(axes))]


def _fixed(facts: Iterable[Fact], sizes: Mapping[Axis, int | None]) -> list[Fact]:
    """Ties of axes of unknown size, or of sizes that do not match, are worth nothing: both ends stay whole."""
    result: list[Fact] = []
    for fact in facts:
        ties = [fact] if isinstance(fact, Tie) else [t for t, _ in fact.options] if isinstance(fact, Either) else []
        ends = [axis for tie in ties for axis in (tie.a, tie.b)]
        if any((sizes[axis] or 0) > MOST for axis in ends):
            result += [Pin(axis, f"it is tied to an axis of more than {MOST} slots") for axis in ends]
        elif any(sizes[axis] is None for axis in ends):
            result += [Pin(axis, "its size is known at run time only") for axis in ends]
        elif not all(_fits(tie, sizes) for tie in ties):
            result += [Pin(axis, "its size does not match what it is tied to") for axis in ends]
        else:
            result.append(fact)
    return result


def _fits(tie: Tie, sizes: Mapping[Axis, int | None]) -> bool:
    slots = tie.slots(sizes[tie.b] or 0)
    return len(slots) == (sizes[tie.b] or 0) and bool(slots.max(initial=0) < max(sizes[tie.a] or 0, 1))


def _decide(facts: list[Fact], sizes: Mapping[Axis, int | None]) -> list[Fact]:
    """Take of every Either the option whose axis is not pinned already and has the most slots.

    Any option is sound, so it is enough to look at whole axes here, and at ties that cover both of them.
    """
    merged = nx.utils.UnionFind(sizes)
    for fact in facts:
        if isinstance(fact, Tie) and not fact.shift and _covers(fact, sizes):
            merged.union(fact.a, fact.b)
    pinned = {merged[fact.axis] for fact in facts if isinstance(fact, Pin)}
    result: list[Fact] = []
    for fact in facts:
        if not isinstance(fact, Either):
            result.append(fact)
            continue
        tie, whole = max(fact.options, key=lambda o: (merged[o[0].a] not in pinned, sizes[o[0].a] or 0))
        result += [tie, *(Pin(axis, fact.why) for axis in whole)]
        pinned |= {merged[axis] for axis in whole}
        both = merged[tie.a] in pinned or merged[tie.b] in pinned
        merged.union(tie.a, tie.b)
        pinned |= {merged[tie.a]} if both else set()
    return result


def _covers(tie: Tie, sizes: Mapping[Axis, int | None]) -> bool:
    slots = np.unique(tie.slots(sizes[tie.b] or 0))
    return len(slots) == sizes[tie.a] and bool(slots.min(initial=0) >= 0)


def _group(axes: nx.MultiGraph, sizes: Mapping[Axis, int | None]) -> Group:
    names = sorted(axes)
    size = np.array([sizes[a] or 0 for a in names], int)
    start = dict(zip(names, np.cumsum(size) - size, strict=True))
    u, v = [], []
    for a, b, tie in axes.edges(data="tie"):
        a, b = tie.a, tie.b
        reach = np.arange(sizes[b] or 0)
        slots = tie.slots(len(reach))
        u.append(start[a] + slots[slots >= 0])
        v.append(start[b] + reach[slots >= 0])
    labels = _components(int(size.sum()), np.concatenate(u or [[]]).astype(int), np.concatenate(v or [[]]).astype(int))
    _, atoms = np.unique(labels, return_inverse=True)
    member = {a: atoms[start[a] : start[a] + n] for a, n in zip(names, size, strict=True)}
    return Group(member, int(atoms.max(initial=-1)) + 1, _marks(axes, member, Pin), _marks(axes, member, Approximate))


def _marks(axes: nx.MultiGraph, member: Mapping[Axis, Array], kind: type) -> dict[int, str]:
    marks: dict[int, str] = {}
    for axis, atoms in member.items():
        if (why := axes.nodes[axis].get(kind)) is not None:
            for atom in np.unique(atoms):
                marks.setdefault(int(atom), why)
    return marks


def _components(count: int, u: Array, v: Array) -> Array:
    """Label every slot with the smallest slot it is tied to, hooking and pointer jumping until nothing moves."""
    labels = np.arange(count)
    while True:
        low = np.minimum(labels[u], labels[v])
        hooked = labels.copy()
        np.minimum.at(hooked, labels[u], low)
        np.minimum.at(hooked, labels[v], low)
        while not np.array_equal(hooked, hooked[hooked]):
            hooked = hooked[hooked]
        if np.array_equal(hooked, labels):
            return labels
        labels = hooked
