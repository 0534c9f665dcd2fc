"""Criteria that look at values say what direct statistics of the values say."""

from __future__ import annotations

import numpy as np
import pytest
from readings import Rows, evidence, rows

from onnxprune.importance import CRITERIA
from onnxprune.importance.evidence import Scored
from onnxprune.node import Array

ONE, WIDE, ABOUT_ZERO = rows(channels=7), rows(1, channels=7, width=3), rows(2, channels=7, biased=False)
CASES = {"one reader": [ONE], "three columns each": [WIDE], "several, one without bias": [ONE, WIDE, ABOUT_ZERO]}


def not_zero(case: Rows) -> Array:
    """How many values of each atom are not 0, as shares."""
    counts = np.array([np.count_nonzero(case.x[:, case.atoms == atom]) for atom in range(7)])
    return counts / counts.sum()


def variance(case: Rows) -> Array:
    """How much the columns of each atom vary, about 0 where there is no bias, as shares."""
    own = np.var(case.x, axis=0) if case.biased else np.mean(case.x**2, axis=0)
    sums = np.array([own[case.atoms == atom].sum() for atom in range(7)])
    return sums / sums.sum()


DEFINED = {"apoz": not_zero, "variance": variance}


@pytest.mark.parametrize("name", DEFINED)
@pytest.mark.parametrize("cases", CASES.values(), ids=CASES.keys())
def test_the_score_is_that_of_the_definition(name: str, cases: list[Rows]) -> None:
    criterion, given = CRITERIA[name], evidence(*cases)
    assert isinstance(criterion, Scored)
    expected = np.sum([DEFINED[name](case) for case in cases], axis=0)
    np.testing.assert_allclose(criterion.scores(given), expected)
    assert criterion.order(given).tolist() == np.argsort(expected).tolist()
    other = DEFINED["variance" if name == "apoz" else "apoz"]
    assert np.abs(expected - np.sum([other(case) for case in cases], axis=0)).max() > 0.01


def pair_by_pair(case: Rows) -> list[int]:
    """Of the two channels that are most alike goes the one that varies less, by numpy's own correlation."""
    order, left = list[int](), set(range(7))
    alike = np.abs(np.corrcoef(case.x.T))
    while len(left) > 1:
        pair = max(((a, b) for a in left for b in left if a < b), key=lambda p: float(alike[p]))
        order.append(min(pair, key=lambda a: float(case.x[:, a].var())))
        left.remove(order[-1])
    return [*order, *left]


def test_of_the_pair_that_is_most_alike_goes_the_one_that_varies_less() -> None:
    found = CRITERIA["correlation"].order(evidence(ONE)).tolist()
    assert found == pair_by_pair(ONE)
    assert found != CRITERIA["variance"].order(evidence(ONE)).tolist()


@pytest.mark.parametrize("width", [1, 3])
def test_a_scaled_copy_goes_first_whatever_its_sign(width: int) -> None:
    case = rows(3, channels=7, width=width)
    x, of = case.x.copy(), case.atoms
    x[:, of == 4] = 2 - 0.5 * x[:, of == 1]
    assert CRITERIA["correlation"].order(evidence(Rows(x, case.w, of))).tolist()[0] == 4
    assert CRITERIA["correlation"].order(evidence(case)).tolist()[0] != 4


@pytest.mark.parametrize("name", ["variance", "correlation"])
def test_a_constant_channel_goes_first(name: str) -> None:
    x = ONE.x.copy()
    x[:, 5] = 4.0
    assert CRITERIA[name].order(evidence(Rows(x, ONE.w, ONE.atoms))).tolist()[0] == 5
    assert CRITERIA[name].order(evidence(Rows(x + ONE.x, ONE.w, ONE.atoms))).tolist()[0] != 5
