"""Criteria that look at weights say what their definitions say of each filter."""

from __future__ import annotations

import numpy as np
import pytest
from readings import evidence, rows

from onnxprune.importance import CRITERIA, Evidence, Maker
from onnxprune.importance.evidence import Scored
from onnxprune.node import Array

WEIGHTS = np.random.default_rng(0).normal(size=(7, 12)) * np.linspace(1, 3, 7)[::-1, None]


def scores(name: str, given: Evidence) -> Array:
    criterion = CRITERIA[name]
    assert isinstance(criterion, Scored)
    return criterion.scores(given)


def maker(weights: Array, atoms: Array | None = None, power: int = 2) -> Maker:
    norms = np.sum(np.abs(weights) ** power, axis=1)
    return Maker(np.arange(len(weights)) if atoms is None else atoms, norms / norms.sum(), lambda: weights)


def shares(values: Array) -> Array:
    return values / values.sum()


def distances(weights: Array) -> Array:
    """Σⱼ‖Fᵢ − Fⱼ‖, pair by pair."""
    return np.array([sum(np.linalg.norm(one - other) for other in weights) for one in weights])


def mean_variance(weights: Array) -> Array:
    mean, variance = np.abs(weights.mean(axis=1)), weights.var(axis=1)
    return mean / mean.std() + variance / variance.std()


DEFINED = {
    "l1": lambda w: np.abs(w).sum(axis=1),
    "l2": lambda w: np.square(w).sum(axis=1),
    "fpgm": distances,
    "meanvar": mean_variance,
}


@pytest.mark.parametrize("name", DEFINED)
def test_the_score_is_that_of_the_definition(name: str) -> None:
    atoms, power = np.arange(7), 1 if CRITERIA[name].norm == "l1" else 2
    found = scores(name, Evidence(atoms, [maker(WEIGHTS, power=power)], []))
    np.testing.assert_allclose(found, shares(DEFINED[name](WEIGHTS)), rtol=1e-6)
    others = [shares(DEFINED[other](WEIGHTS)) for other in DEFINED if other != name]
    assert min(np.abs(found - other).max() for other in others) > 1e-3


@pytest.mark.parametrize("name", DEFINED)
def test_layers_add_up_as_shares_and_so_do_channels_of_an_atom(name: str) -> None:
    """The second layer is a thousand times the first, and has two channels of each atom."""
    atoms, other = np.array([0, 2, 3]), 1000 * np.random.default_rng(1).normal(size=(8, 4))
    power, two = 1 if CRITERIA[name].norm == "l1" else 2, np.repeat(np.arange(4), 2)
    given = Evidence(atoms, [maker(WEIGHTS[:4], power=power), maker(other, two, power)], [])
    first, second = shares(DEFINED[name](WEIGHTS[:4])), shares(DEFINED[name](other))
    np.testing.assert_allclose(scores(name, given), (first + second[::2] + second[1::2])[atoms], rtol=1e-6)
    assert np.abs(scores(name, given) - first[atoms]).max() > 0.05


@pytest.mark.parametrize("name", DEFINED)
def test_the_least_goes_first_and_of_equals_the_first(name: str) -> None:
    weights = WEIGHTS[[6, 0, 6, 3]]
    order = CRITERIA[name].order(Evidence(np.arange(4), [maker(weights)], []))
    assert order.tolist() == np.argsort(DEFINED[name](weights).round(9), kind="stable").tolist()
    assert order.tolist().index(0) < order.tolist().index(2)


def test_the_lot_falls_by_the_seed_and_for_every_family_anew() -> None:
    one = evidence(rows())
    seeded = Evidence(one.atoms, one.makers, one.readers, seed=1)
    elsewhere = Evidence(one.atoms + 6, one.makers, one.readers)
    drawn = [CRITERIA["random"].order(each).tolist() for each in (one, one, seeded, elsewhere)]
    assert drawn[0] == drawn[1]
    assert drawn[2] != drawn[0] != drawn[3]
    assert sorted(drawn[0]) == list(range(6))


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_names_its_source(name: str) -> None:
    """A year in brackets, or that it has none: a criterion by lot, or one of statistics as such."""
    text = type(CRITERIA[name]).__doc__ or ""
    assert any(year in text for year in map(str, range(1980, 2030))) != (name in ("random", "variance"))
