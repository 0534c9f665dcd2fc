"""Every case of the standard corpora that onnxruntime runs comes through loading, saving and folding as it was."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from corpora.cases import CORPORA, Case
from corpora.journey import ROUNDING, Tally, fold, travel
from corpora.sessions import difference
from onnxprune.manager import PassRecord
from onnxprune.model import Model

CASES = {"node": 1884, "simple": 23, "pytorch-converted": 82, "pytorch-operator": 35, "light": 9, "light, filled": 6}
SAMPLE = 40


@cache
def sample() -> tuple[Case, ...]:
    """Cases evenly chosen from those of the nodes."""
    cases = list(CORPORA["node"]())
    return tuple(cases[len(cases) * k // SAMPLE] for k in range(SAMPLE))


@pytest.mark.corpora
@pytest.mark.parametrize("corpus", CORPORA)
def test_every_case_comes_through(corpus: str, tallies: list[Tally]) -> None:
    tally = travel(corpus, CORPORA[corpus]())
    tallies.append(tally)
    assert tally.failures == []
    assert tally.counts["cases"] == CASES[corpus]


def test_a_sample_comes_through(tallies: list[Tally]) -> None:
    tally = travel("a sample", sample())
    tallies.append(tally)
    assert tally.failures == []
    assert tally.counts["folded"] > SAMPLE / 2


# -- the controls: what is wrong is found ------------------------------------------------------------------------------


def spoilt(model: Model) -> Model:
    """The last operator taken for an Identity, where the types allow it."""
    last = model.nodes[-1]
    (y, *others), x = last.outputs, last.input(0)
    plain = not (others or last.domain or x is None or y is None or last.op == "Identity")
    if plain and (x.dtype, x.shape) == (y.dtype, y.shape) != (None, None):
        model.drop(last)
        model.insert("Identity", [x.name], [y.name], name="wrong")
    return model


def wrong_fold(model: Model) -> PassRecord:
    record = fold(model)
    spoilt(model)
    return record


def test_a_wrong_load_and_a_wrong_fold_are_found() -> None:
    loaded = travel("control", sample(), load=lambda proto: spoilt(Model.load(proto)))
    folded = travel("control", sample(), fold=wrong_fold)
    assert min(len(loaded.failures), len(folded.failures)) > SAMPLE / 5


def test_a_wrong_lift_is_found() -> None:
    (case,) = (case for case in CORPORA["pytorch-operator"]() if case.name == "test_operator_addmm")
    wrong = replace(case, expected=[1.01 * value for value in case.expected])
    assert travel("control", [case]).counts["as expected"] == 1
    assert travel("control", [wrong]).failures == ["test_operator_addmm: lifted: not what onnx expects"]


ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (ONES.astype(np.float64), ONES),
        (ONES[:1], ONES),
        (ONES * np.float32(1 + 2**-23), ONES),
        (np.array([np.nan, 1]), np.array([1, np.nan])),
        (np.array([np.inf]), np.array([-np.inf])),
        (np.array([2]), np.array([3])),
        (np.array(["a"], object), np.array(["b"], object)),
        ([ONES], [ONES, ONES]),
        ([ONES, 2 * ONES], [ONES, ONES]),
        (None, ONES),
        (ONES, None),
        ({"a": 1.0}, {"a": 2.0}),
        ("a", "b"),
    ],
)
def test_outputs_that_differ_are_told_apart(got: object, want: object) -> None:
    assert difference(got, want)
    assert difference(want, got)
    assert difference(got, got) is difference(want, want) is None


def test_a_tolerance_is_for_its_type_alone() -> None:
    one = np.array([1, 0.5], np.float16)
    near, far = one + np.float16([0, 2**-10]), one + np.float16([0, 2**-9])
    assert difference(near, one) == "0.00098 of the largest off"
    assert difference(near, one, ROUNDING) is None
    assert difference(far, one, ROUNDING) == "0.002 of the largest off"
    single = one.astype(np.float32)
    assert difference(single + np.float32([0, 5e-7]), single, ROUNDING) is None
    assert difference(single + np.float32([0, 2e-6]), single, ROUNDING)
    double = one.astype(np.float64)
    assert difference(double * (1 + 1e-15), double, ROUNDING)
