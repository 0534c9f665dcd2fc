"""Cuts for tests: of one slot, to see what goes with it, or of random atoms, to see whether the function stays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from oracle import RTOL, assert_same_function, distance

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.axes.silencing import removed, silenced
from onnxprune.model import Model
from onnxprune.node import Axis

Spec = dict[str, dict[int, list[int]]]


def axis(text: str) -> Axis:
    """``"w[0]"`` as an axis."""
    tensor, _, dim = text.removesuffix("]").rpartition("[")
    return Axis(tensor, int(dim))


def group(model: Model, where: str) -> Group:
    """The group that an axis belongs to."""
    (found,) = (g for g in ChannelGroups().compute(model) if axis(where) in g.atoms)
    return found


def why(model: Model, where: str) -> str | None:
    """Why nothing of an axis can be cut, None when something can."""
    return group(model, where).why(axis(where))


def removal(model: Model, where: str, *slots: int) -> dict[str, list[int]]:
    """All slots of constants that go with slots of an axis, which must be free."""
    found = group(model, where)
    doomed = np.unique(found.atoms[axis(where)][list(slots)])
    assert set(doomed) <= set(found.free), f"{where} is pinned: {found.pinned}"
    constants = {t.name for t in model.constants}
    return {str(a): s.tolist() for a, s in sorted(found.slots(doomed).items()) if a.tensor in constants}


def cut_at(model: Model, where: str, *slots: int) -> tuple[Model, Spec]:
    """A copy without the atoms that slots of an axis belong to, and what it lacks."""
    found, after = group(model, where), model.copy()
    cut(after, found.slots(np.unique(found.atoms[axis(where)][list(slots)])))
    return after, removed(after)


def random_cut(model: Model, seed: int, share: float = 1.0) -> tuple[Model, Spec]:
    """A copy without up to ``share`` of the free atoms of every group, one at least, and what it lacks."""
    rng, doomed = np.random.default_rng(seed), {}
    for found in ChannelGroups().compute(model):
        most = int(share * len(found.free))
        take = rng.permutation(found.free)[: rng.integers(1, max(2, most))]
        doomed |= next((slots for slots in _shrinking(found, take) if _leaves_some(model, slots)), {})
    after = model.copy()
    cut(after, doomed)
    return after, removed(after)


def assert_cut_is_exact(model: Model, where: str, *slots: int) -> Model:
    """The model without slots of an axis and all that goes with them, which equals the silenced original."""
    after, spec = cut_at(model, where, *slots)
    assert_same_function(after, silenced(model, spec))
    return after


def assert_cuts_are_exact(model: Model, seeds: int = 3, rtol: float = RTOL) -> None:
    """Random cuts equal the silenced original, and neither what it was nor what other silenced channels make of it."""
    changed, others = 0.0, 0.0
    for seed in range(seeds):
        after, spec = random_cut(model, seed)
        assert spec, "nothing can be cut"
        quiet = silenced(model, spec)
        assert_same_function(after, quiet, rtol)
        changed = max(changed, distance(after, model))
        others = max(others, distance(silenced(model, shifted(model, spec)), quiet))
    assert min(changed, others) > max(100 * RTOL, 3 * rtol)


def shifted(model: Model, spec: Spec) -> Spec:
    """As many slots of the same axes, but others: the neighbours."""
    return {
        name: {dim: sorted((s + 1) % (model.tensor(name).size(dim) or 1) for s in gone) for dim, gone in dims.items()}
        for name, dims in spec.items()
    }


def _shrinking(found: Group, take: np.ndarray) -> Iterator[dict[Axis, np.ndarray]]:
    for count in range(len(take), 0, -1):
        yield found.slots(take[:count])


def _leaves_some(model: Model, slots: dict[Axis, np.ndarray]) -> bool:
    return all(len(gone) < (model.tensor(a.tensor).size(a.dim) or 0) for a, gone in slots.items())
