"""Doing exactly what a prune spec says: the slots it names go, with all that is tied to them, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.groups import Group
from onnxprune.axes.reasons import Reason
from onnxprune.errors import UsageError
from onnxprune.footprints import families
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.spec import Spec

__all__ = ["doomed_by", "listed"]


@dataclass(frozen=True)
class _Slot:
    """A slot of the input file, as the spec names it."""

    axis: Axis
    slot: int

    def __str__(self) -> str:
        return f"{self.axis} slot {self.slot}"


@dataclass(frozen=True)
class _Wish:
    """What the spec wants of the atoms of one group; of each, one slot that says so."""

    gone: dict[int, _Slot] = field(default_factory=dict)
    kept: dict[int, _Slot] = field(default_factory=dict)


def doomed_by(
    spec: Spec, model: Model, original: Model, groups: Iterable[Group], obstacle: Callable[[Group, int], Reason | None]
) -> dict[Axis, Array]:
    """The slots of every axis of the model that go when the spec is obeyed.

    Axes that the spec names lose the slots it lists, and no others; those that it does not name follow by the ties.
    ``original`` is the model as in the input file; ``obstacle`` tells why an atom may not be cut. Raises UsageError
    where the spec cannot be obeyed.
    """
    doomed: dict[Axis, Array] = {}
    found = set[Axis]()
    for group in groups:
        wish = _Wish()
        for axis in group.atoms:
            found |= set(_hear(spec, model, original, axis, group.atoms[axis], wish))
        _check(wish, group, obstacle)
        slots = group.slots(np.array(sorted(wish.gone), int))
        _check_rest(slots, group, wish)
        doomed |= slots
    _check_found(spec, model, found)
    return doomed


def _hear(spec: Spec, model: Model, original: Model, axis: Axis, atoms: Array, wish: _Wish) -> Iterator[Axis]:
    """Note what is wanted of an axis; the axes of the input file that it stems from."""
    for source in model.provenance.sources(axis, len(atoms)):
        if (listed := spec.get(source.axis.tensor, {}).get(source.axis.dim)) is not None:
            gone = np.isin(source.slots, np.array(listed, int))
            for atom, slot, goes in zip(atoms.tolist(), source.slots.tolist(), gone.tolist(), strict=True):
                (wish.gone if goes else wish.kept).setdefault(atom, _Slot(source.axis, slot))
            every = np.arange(original.tensor(source.axis.tensor).size(source.axis.dim) or 0)
            if len(lost := np.setdiff1d(every, [*source.slots, *listed])):
                raise UsageError(f"{_Slot(source.axis, lost[0])} went before 'prune', and the spec keeps it; list it")
            yield source.axis


def _check(wish: _Wish, group: Group, obstacle: Callable[[Group, int], Reason | None]) -> None:
    for atom, slot in wish.gone.items():
        if (kept := wish.kept.get(atom)) is not None:
            raise UsageError(f"{slot} lives or dies with {kept}, which the spec keeps; list both or neither")
        if (reason := obstacle(group, atom)) is not None:
            raise UsageError(f"{slot} cannot be removed: {reason.why}")


def _check_rest(slots: Mapping[Axis, Array], group: Group, wish: _Wish) -> None:
    for axis, gone in slots.items():
        if len(gone) == len(group.atoms[axis]):
            last = wish.gone[int(group.atoms[axis][0])]
            raise UsageError(f"nothing would be left of {axis}, which {last} takes along; keep at least one slot")


def _check_found(spec: Spec, model: Model, found: set[Axis]) -> None:
    """Whatever the spec removes has to be there, or to be gone already."""
    held = {t.name for node in model.nodes for t in node.tensors()}
    for name, axes in spec.items():
        for dim, slots in axes.items():
            if not slots or Axis(name, dim) in found:
                continue
            if name in held:
                raise UsageError(f"{_Slot(Axis(name, dim), slots[0])} cannot be removed: it is no channel of a weight")
            way_out = "leave it out, or run the passes that the spec was made with"
            raise UsageError(f"there is no '{name}' any more after the passes before 'prune'; {way_out}")


def listed(
    spec: Spec, model: Model, ctx: Context, obstacle: Callable[[Group, int], Reason | None]
) -> tuple[dict[Axis, Array], str]:
    """The slots that the spec lists and all that is tied to them (``doomed_by``), and what to say of it."""
    groups, count = model.get(ChannelGroups(), ctx), 0
    doomed = doomed_by(spec, model, ctx.original, groups, obstacle)
    for family in families(model, ctx):
        count += (gone := family.removed(doomed))
        if not gone:
            family.skip(model, Reason("recipe", "the prune spec keeps it"))
    if not doomed:
        return {}, "the prune spec removes nothing"
    return doomed, f"removed {count} channel{'s' * (count != 1)}, as the prune spec says"
