"""Criteria that choose one atom after the other choose what their definitions choose, computed from the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from readings import Rows, evidence, rows

from onnxprune.importance import CRITERIA, greedy
from onnxprune.node import Array

SIZE = 9
WITH_BIAS, WITHOUT = rows(channels=SIZE), rows(1, SIZE, biased=False)
WIDE = rows(2, SIZE, width=3)
OTHER = Rows(rows(3, SIZE).x, rows(3, SIZE).w, np.arange(SIZE)[::-1].copy())
CASES = {
    "one reader": [WITH_BIAS],
    "without bias": [WITHOUT],
    "three columns each": [WIDE],
    "several readers": [WITH_BIAS, WIDE, OTHER],
}


def parts(case: Rows, atoms: Sequence[int]) -> Array:
    """What each atom contributes to the layer's outputs, over all rows: [atoms, rows · outputs], as shares."""
    scale = np.sqrt(np.sum((case.centred @ case.w.T) ** 2))
    return np.stack([(case.centred[:, case.atoms == a] @ case.w[:, case.atoms == a].T).ravel() / scale for a in atoms])


def together(cases: Sequence[Rows], atoms: Sequence[int]) -> Array:
    """The same for several layers at once: one long vector for each atom."""
    return np.hstack([parts(case, atoms) for case in cases])


def brute_surgeon(cases: Sequence[Rows], atoms: Sequence[int]) -> list[int]:
    """The atom goes without which all rows, solved anew, cost least."""
    order: list[int] = []
    while len(order) < len(atoms):
        left = [a for a in atoms if a not in order]
        order.append(min(left, key=lambda a: sum(case.solved(np.array([*order, a]))[1] for case in cases)))
    return order


def brute_thinet(cases: Sequence[Rows], atoms: Sequence[int]) -> list[int]:
    """The atom goes with which the sum of all that went is shortest."""
    vectors, order = together(cases, atoms), list[int]()
    while len(order) < len(atoms):
        left = [a for a in range(len(atoms)) if a not in order]
        order.append(min(left, key=lambda a: float(np.sum(vectors[[*order, a]].sum(axis=0) ** 2))))
    return [atoms[a] for a in order]


def brute_pursuit(cases: Sequence[Rows], atoms: Sequence[int]) -> list[int]:
    """The atom stays that, beside those that stay already, leaves least over once all of them are refitted."""
    vectors, chosen = together(cases, atoms), list[int]()
    y = vectors.sum(axis=0)
    while len(chosen) < len(atoms):
        left = [a for a in range(len(atoms)) if a not in chosen]
        chosen.append(min(left, key=lambda a: _left_over(vectors[[*chosen, a]], y)))
    return [atoms[a] for a in chosen[::-1]]


def _left_over(vectors: Array, y: Array) -> float:
    return float(np.sum((y - np.linalg.lstsq(vectors.T, y, rcond=None)[0] @ vectors) ** 2))


BRUTE = {"obs": brute_surgeon, "thinet": brute_thinet, "thinet-omp": brute_pursuit}


@pytest.mark.parametrize("name", BRUTE)
@pytest.mark.parametrize("cases", CASES.values(), ids=CASES.keys())
def test_the_order_is_that_of_the_definition(name: str, cases: list[Rows]) -> None:
    expected = BRUTE[name](cases, range(SIZE))
    assert CRITERIA[name].order(evidence(*cases)).tolist() == expected
    others = {other: BRUTE[other](cases, range(SIZE)) for other in BRUTE if other != name}
    assert expected not in others.values()


@pytest.mark.parametrize("name", ["obs", "thinet"])
def test_some_atoms_may_not_go(name: str) -> None:
    """They stay in the layers, and count there; places are those among the atoms that may."""
    atoms = np.array([1, 3, 4])
    found = CRITERIA[name].order(evidence(WITH_BIAS, atoms=atoms))
    assert atoms[found].tolist() == BRUTE[name]([WITH_BIAS], atoms.tolist())


def test_what_cannot_go_explains_first() -> None:
    atoms = np.array([1, 3, 4])
    stays = parts(WITH_BIAS, [0, 2, 5, 6, 7, 8]).sum(axis=0)
    vectors = parts(WITH_BIAS, atoms.tolist())
    y, chosen = stays + vectors.sum(axis=0), list[int]()
    while len(chosen) < 3:
        left = [a for a in range(3) if a not in chosen]
        chosen.append(min(left, key=lambda a: _left_over(np.vstack([stays, vectors[[*chosen, a]]]), y)))
    assert CRITERIA["thinet-omp"].order(evidence(WITH_BIAS, atoms=atoms)).tolist() == chosen[::-1]


def planted(what: str) -> Rows:
    """Channels that do not hang together, but for channel 4."""
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(300, 6)), rng.normal(size=(4, 6))
    w[:, 4] *= 3
    x[:, 4] = {"redundant": 0.5 * x[:, 0] - x[:, 1] + 0.2, "constant": 3.0, "own": x[:, 4]}[what]
    return Rows(x, w, np.arange(6))


@pytest.mark.parametrize(("what", "first"), [("redundant", {0, 1, 4}), ("constant", {4})])
def test_what_others_make_up_for_goes_first(what: str, first: set[int]) -> None:
    given = evidence(planted(what))
    order = CRITERIA["obs"].order(given)
    assert order[0] in first
    assert given.readers[0].lost(order)[1] < 0.01
    control = evidence(planted("own"))
    order = CRITERIA["obs"].order(control)
    assert order.tolist()[-1] == 4
    assert control.readers[0].lost(order)[1] > 0.01


def test_without_a_bias_a_constant_channel_counts() -> None:
    case = planted("constant")
    assert CRITERIA["obs"].order(evidence(Rows(case.x, case.w, case.atoms, biased=False))).tolist()[-1] == 4


@pytest.mark.parametrize("name", BRUTE)
def test_of_equals_the_first_goes_first(name: str) -> None:
    case = Rows(np.ones((50, 5)), np.ones((3, 5)), np.arange(5))
    assert CRITERIA[name].order(evidence(case)).tolist() == [0, 1, 2, 3, 4]


def test_of_very_wide_layers_some_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three that cost least alone, then the three that cost least without those."""
    monkeypatch.setattr(greedy, "MOST", 0)
    monkeypatch.setattr(greedy, "STEPS", 3)
    order = list[int]()
    while len(order) < SIZE:
        left = [a for a in range(SIZE) if a not in order]
        base = WITH_BIAS.solved(np.array(order))[1] if order else 0
        cost = {a: WITH_BIAS.solved(np.array([*order, a]))[1] - base for a in left}
        order += sorted(left, key=cost.__getitem__)[:3]
    assert CRITERIA["obs"].order(evidence(WITH_BIAS)).tolist() == order
    assert order != brute_surgeon([WITH_BIAS], range(SIZE))
