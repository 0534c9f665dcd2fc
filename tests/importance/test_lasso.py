"""The order of the LASSO is that in which coefficients wake up as λ falls, found by descent on a fine grid of λ."""

from __future__ import annotations

import numpy as np
import pytest
from readings import Rows, evidence, rows

from onnxprune.importance import CRITERIA
from onnxprune.importance.greedy import contributions
from onnxprune.importance.lasso import entered
from onnxprune.node import Array


def descent(gram: Array, b: Array, price: float, start: Array) -> Array:
    """min ½·βᵀGβ − bᵀβ + λ·Σ|β|, one coordinate after the other, until nothing moves."""
    beta = start.copy()
    for _ in range(20000):
        before = beta.copy()
        for j in range(len(b)):
            rest = b[j] - gram[j] @ beta + gram[j, j] * beta[j]
            beta[j] = np.sign(rest) * max(abs(rest) - price, 0) / gram[j, j]
        if np.abs(beta - before).max() < 1e-12:
            break
    return beta


def awake(gram: Array, b: Array) -> list[int]:
    """The order in which coefficients leave 0, λ falling by 1 % at a time."""
    order, beta = list[int](), np.zeros(len(b))
    for price in np.abs(b).max() * 0.99 ** np.arange(1500):
        beta = descent(gram, b, price, beta)
        fresh = [j for j in np.flatnonzero(beta).tolist() if j not in order]
        order += fresh
        assert len(fresh) <= 1  # else the grid is too coarse to tell
        if len(order) == len(b):
            break
    return order


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_they_enter_in_the_order_in_which_they_wake_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) * rng.uniform(0.5, 2, 6)
    gram, b = z.T @ z, z.T @ (z @ rng.normal(size=6))
    found = entered(gram, b)
    assert found == awake(gram, b)
    assert found != np.argsort(-np.abs(b)).tolist()


def test_a_coefficient_that_falls_asleep_on_the_way_counts_from_when_it_first_woke() -> None:
    """β₀ wakes up first, passes through 0 on its way from + to −, and so leaves the active ones for a while."""
    rng = np.random.default_rng(0)
    for _ in range(2000):
        z = rng.normal(size=(6, 4))
        gram, b = z.T @ z, z.T @ (z @ rng.normal(size=4))
        signs = [np.sign(descent(gram, b, price, np.zeros(4))) for price in np.abs(b).max() * 0.93 ** np.arange(60)]
        first = int(np.argmax(np.abs(b)))
        if len({float(each[first]) for each in signs} - {0.0}) == 2:
            break
    else:
        pytest.fail("no such case was drawn")
    assert entered(gram, b) == awake(gram, b)


@pytest.mark.parametrize("cases", [[rows(0, 6)], [rows(1, 6, width=3)], [rows(0, 6), rows(2, 6, biased=False)]])
def test_the_criterion_is_the_path_over_what_atoms_contribute(cases: list[Rows]) -> None:
    given = evidence(*cases)
    gram = contributions(given)[:6, :6]
    assert CRITERIA["lasso"].order(given).tolist() == awake(gram, gram.sum(axis=1))[::-1]


def test_what_cannot_go_is_there_at_no_price() -> None:
    """Least squares first takes it out of all others; without that the order is another."""
    case, atoms = rows(7, 8), np.array([0, 2, 3, 5, 6])
    parts = np.stack([np.outer(case.centred[:, j], case.w[:, j]).ravel() for j in range(8)])
    stays = parts[[1, 4, 7]].sum(axis=0)
    left = parts[atoms] - np.outer(parts[atoms] @ stays, stays) / (stays @ stays)
    expected = awake(left @ left.T, left @ left.sum(axis=0))[::-1]
    assert CRITERIA["lasso"].order(evidence(case, atoms=atoms)).tolist() == expected
    assert expected != awake(parts[atoms] @ parts[atoms].T, parts[atoms] @ parts.sum(axis=0))[::-1]


def test_what_others_express_never_enters() -> None:
    case = rows(3, 6)
    x, w = case.x.copy(), case.w.copy()
    x[:, 4], w[:, 4] = 0.5 * x[:, 1], 0.5 * w[:, 1]
    assert CRITERIA["lasso"].order(evidence(Rows(x, w, case.atoms))).tolist()[0] == 4
    assert CRITERIA["lasso"].order(evidence(case)).tolist()[0] != 4


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_of_equals_the_first_goes_first(constant: float) -> None:
    x = constant * np.random.default_rng(0).normal(size=(50, 1)) * np.ones(5)
    assert CRITERIA["lasso"].order(evidence(Rows(x, np.ones((3, 5)), np.arange(5)))).tolist() == [0, 1, 2, 3, 4]
