"""From facts to groups: the slots of many axes that fall into atoms, the smallest sets that can be removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress

import networkx as nx
import numpy as np

from onnxprune.axes.facts import Approximate, Either, Fact, Free, Pin, Tie, axes
from onnxprune.axes.reasons import Reason
from onnxprune.axes.rules import facts_of
from onnxprune.model import Model
from onnxprune.node import Array, Axis

__all__ = ["Group", "collect", "decided", "settle"]

MOST = 2**24  # slots of one axis: each takes memory, whatever a file says


@dataclass(frozen=True, eq=False)
class Group:
    """Axes whose slots are tied, directly or through each other.

    ``atoms[axis][i]`` is the atom (0 … ``size`` - 1) that slot i belongs to; ``pinned[atom]`` tells why it cannot be
    cut, ``approximate[atom]`` why cutting it changes more than the removed channels.
    """

    atoms: Mapping[Axis, Array] = field(repr=False)
    size: int
    pinned: Mapping[int, Reason] = field(repr=False)
    approximate: Mapping[int, Reason] = field(repr=False)

    @property
    def free(self) -> Array:
        """The atoms that can be cut exactly."""
        held = [*self.pinned, *self.approximate]
        return np.setdiff1d(np.arange(self.size), np.array(held, int))

    def reason(self, atom: int) -> Reason | None:
        """Why an atom cannot be cut; None when it can."""
        return self.pinned.get(atom) or self.approximate.get(atom)

    def obstacle(self, atom: int, approximate: bool) -> Reason | None:
        """Why an atom may not be cut where cuts may, or may not, change more than the channels that go."""
        return self.pinned.get(atom) if approximate else self.reason(atom)

    def held(self, axis: Axis) -> Reason | None:
        """The reason why no slot of an axis can be cut; None when some can."""
        reasons = [self.reason(atom) for atom in self.atoms[axis].tolist()]
        return next((r for r in reasons if r), None) if all(reasons) else None

    def why(self, axis: Axis) -> str | None:
        """The same in words."""
        return reason.why if (reason := self.held(axis)) is not None else None

    def slots(self, doomed: Array) -> dict[Axis, Array]:
        """The slots of every axis that go when the atoms ``doomed`` are removed; axes that keep all are left out."""
        goes = np.zeros(self.size, bool)
        goes[doomed] = True
        gone = {axis: np.flatnonzero(goes[atoms]) for axis, atoms in self.atoms.items()}
        return {axis: slots for axis, slots in gone.items() if len(slots)}


def collect(model: Model) -> list[Fact]:
    """All facts of a model: those of its nodes, and that its inputs and outputs are its signature."""
    facts: list[Fact] = [fact for node in model.nodes for fact in facts_of(node)]
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in tensors:
            made = model.producer(tensor.name)
            node, why = None if made is None else made.name, f"graph {kind} '{tensor.name}'"
            facts += [Pin(axis, why, "signature", node) for axis in tensor.axes()]
    return facts


def settle(
    facts: Iterable[Fact], sizes: Mapping[Axis, int | None], wanted: Callable[[Axis], bool] | None = None
) -> list[Group]:
    """The groups that facts imply; ``sizes`` gives the number of slots of every axis, None where it is not fixed.

    With ``wanted``, only the groups that hold such an axis.
    """
    facts = decided(facts, sizes)
    ties = [fact for fact in facts if isinstance(fact, Tie)]
    number = {axis: index for index, axis in enumerate(dict.fromkeys(axis for fact in facts for axis in axes(fact)))}
    parts: dict[int, list[Axis]] = {}
    for axis, part in zip(number, _joined(number, ties), strict=True):
        parts.setdefault(part, []).append(axis)
    members = [sorted(part) for part in parts.values() if wanted is None or any(map(wanted, part))]
    marks: dict[type, dict[Axis, Reason]] = {Pin: {}, Approximate: {}}
    for fact in facts:
        if isinstance(fact, Pin | Approximate):
            marks[type(fact)].setdefault(fact.axis, Reason(fact.kind, fact.why, fact.node, fact.axis))
    return [
        Group(atoms, size, _marked(atoms, marks[Pin]), _marked(atoms, marks[Approximate]))
        for atoms, size in _atoms(members, number, ties, sizes)
    ]


def decided(facts: Iterable[Fact], sizes: Mapping[Axis, int | None]) -> list[Fact]:
    """What is left of facts when every Either is decided, and ties that cannot be kept have become pins."""
    return [fact for fact in _decide(_fixed(facts, sizes), sizes) if _is_of_use(fact, sizes)]


def _is_of_use(fact: Fact, sizes: Mapping[Axis, int | None]) -> bool:
    return isinstance(fact, Tie | Free) or (sizes[axes(fact)[0]] or 0) <= MOST


def _fixed(facts: Iterable[Fact], sizes: Mapping[Axis, int | None]) -> list[Fact]:
    """Ties of axes of unknown size, or of sizes that do not match, are worth nothing: both ends stay whole."""
    result: list[Fact] = []
    for fact in facts:
        ties = [fact] if isinstance(fact, Tie) else [t for t, _ in fact.options] if isinstance(fact, Either) else []
        ends = [axis for tie in ties for axis in (tie.a, tie.b)]
        if any((sizes[axis] or 0) > MOST for axis in ends):
            why = f"it is tied to an axis of more than {MOST} slots"
            result += [Pin(axis, why, "unsupported", fact.node) for axis in ends]
        elif any(sizes[axis] is None for axis in ends):
            result += [Pin(axis, "its size is known at run time only", "unknown-shape", fact.node) for axis in ends]
        elif not all(_fits(tie, sizes) for tie in ties):
            result += [Pin(axis, "its size does not match what it is tied to", "tie", fact.node) for axis in ends]
        else:
            result.append(fact)
    return result


def _fits(tie: Tie, sizes: Mapping[Axis, int | None]) -> bool:
    a, b = sizes[tie.a] or 0, sizes[tie.b] or 0
    if tie.plain(b):
        return b <= a
    slots = tie.slots(b)
    return len(slots) == b and bool(slots.max(initial=-1) < a)


def _covers(tie: Tie, sizes: Mapping[Axis, int | None]) -> bool:
    a, b = sizes[tie.a] or 0, sizes[tie.b] or 0
    if tie.plain(b):
        return a == b
    slots = np.unique(tie.slots(b))
    return len(slots) == a and bool(slots.min(initial=0) >= 0)


def _decide(facts: list[Fact], sizes: Mapping[Axis, int | None]) -> list[Fact]:
    """Take of every Either the option whose axis is not pinned already and has the most slots.

    Any option is sound, so it is enough to look at whole axes here, and at ties that cover both of them.
    """
    if not any(isinstance(fact, Either) for fact in facts):
        return facts
    number = {axis: index for index, axis in enumerate(sizes)}
    covering = [fact for fact in facts if isinstance(fact, Tie) and not fact.shift and _covers(fact, sizes)]
    part = dict(zip(sizes, _joined(number, covering), strict=True))
    merged = nx.utils.UnionFind()
    pinned = {part[fact.axis] for fact in facts if isinstance(fact, Pin)}
    result: list[Fact] = []
    for fact in facts:
        if not isinstance(fact, Either):
            result.append(fact)
            continue
        tie, whole = max(fact.options, key=lambda o: (merged[part[o[0].a]] not in pinned, sizes[o[0].a] or 0))
        result += [tie, *(Pin(axis, fact.why, node=fact.node) for axis in whole)]
        pinned |= {merged[part[axis]] for axis in whole}
        both = merged[part[tie.a]] in pinned or merged[part[tie.b]] in pinned
        merged.union(part[tie.a], part[tie.b])
        pinned |= {merged[part[tie.a]]} if both else set()
    return result


def _joined(number: Mapping[Axis, int], ties: list[Tie]) -> list[int]:
    """For every axis the lowest number of all that ties join it to."""
    u, v = [number[tie.a] for tie in ties], [number[tie.b] for tie in ties]
    joined: list[int] = _components(len(number), np.array(u, int), np.array(v, int)).tolist()
    return joined


def _atoms(
    members: list[list[Axis]], number: Mapping[Axis, int], ties: list[Tie], sizes: Mapping[Axis, int | None]
) -> Iterator[tuple[dict[Axis, Array], int]]:
    """The atoms of every part, and how many they are, in the order of their first slots.

    The slots of all parts are numbered one after the other. Axes that are tied one to one, as most are, have the same
    ones, so that only the first of them counts.
    """
    plain = [tie.plain(sizes[tie.b] or 0) and sizes[tie.a] == sizes[tie.b] for tie in ties]
    alike = dict(zip(number, _joined(number, list(compress(ties, plain))), strict=True))
    start, ends = dict[int, int](), [0]
    for part in members:
        ends.append(ends[-1])
        for axis in part:
            if alike[axis] not in start:
                start[alike[axis]] = ends[-1]
                ends[-1] += sizes[axis] or 0
    u, v = [np.empty(0, int)], [np.empty(0, int)]
    for tie in (tie for tie, same in zip(ties, plain, strict=True) if not same and alike[tie.a] in start):
        slots = tie.slots(sizes[tie.b] or 0)
        u.append(start[alike[tie.a]] + slots[slots >= 0])
        v.append(start[alike[tie.b]] + np.flatnonzero(slots >= 0))
    labels = _components(ends[-1], np.concatenate(u), np.concatenate(v))
    first = labels == np.arange(ends[-1])
    atoms = (np.cumsum(first) - 1)[labels]
    for part, low, high in zip(members, ends[:-1], ends[1:], strict=True):
        own = atoms[low:high] - atoms[low:high].min(initial=ends[-1])
        own.setflags(write=False)
        place = {axis: start[alike[axis]] - low for axis in part}
        yield {axis: own[at : at + (sizes[axis] or 0)] for axis, at in place.items()}, int(first[low:high].sum())


def _marked(atoms: Mapping[Axis, Array], marks: Mapping[Axis, Reason]) -> dict[int, Reason]:
    marked: dict[int, Reason] = {}
    for axis in filter(marks.__contains__, atoms):
        for atom in np.unique(atoms[axis]).tolist():
            marked.setdefault(atom, marks[axis])
    return marked


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
