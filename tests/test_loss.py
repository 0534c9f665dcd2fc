"""The loss of a network is what its definition says, computed from the outputs at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from oracle import net

from onnxprune.calibrate import Calibration
from onnxprune.loss import FAINT, losses
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.reference import Reference
from onnxprune.runtime import Session

SCORES = "(float[N,4] x) => (float[N,5] y) <float[4,5] w> { y = MatMul(x, w) }"
CHANCES = "(float[N,4] x) => (float[N,5] y) <float[4,5] w> { a = MatMul(x, w)  y = Softmax<axis=1>(a) }"
MAPS = "(float[N,4,3] x) => (float[N,5,3] y) <float[5,4,1] w> { y = Conv(x, w) }"
ONE = "(float[N,4] x) => (float[N,1] y) <float[4,1] w> { y = MatMul(x, w) }"
BOTH = """(float[N,4] x) => (float[N,5] y, float[N,1] z) <float[4,5] w, float[4,1] v>
    { y = MatMul(x, w)  z = MatMul(x, v) }"""


def other(model: Model, factor: float = 1.3) -> Model:
    """The network with other weights."""
    result = model.copy()
    weight = model.tensor("w").value()
    result.put("w", (weight * factor + 0.1 * np.sign(weight)).astype(np.float32))
    return result


def data(model: Model, count: int = 70) -> Calibration:
    shape = [d if isinstance(d, int) else count for d in model.inputs[0].shape or ()]
    return Calibration.load({"x": np.random.default_rng(3).normal(size=shape).astype(np.float32)}, model)


def outputs(model: Model, given: Calibration, name: str = "y") -> Array:
    session = Session(model.proto())
    runs = [dict(zip(session.outputs, session(feeds), strict=True))[name] for feeds in given.batches()]
    return np.concatenate(runs).astype(np.float64)


def softmax(scores: Array) -> Array:
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def divergence(p: Array, q: Array) -> float:
    return float(np.mean(np.sum(p * np.log(p / q), axis=1)))


def scatter(y: Array, z: Array) -> float:
    return float(np.sum((z - y) ** 2) / np.sum((y - y.mean(axis=0)) ** 2))


@pytest.mark.parametrize(
    ("text", "defined"),
    [
        pytest.param(SCORES, lambda y, z: divergence(softmax(y), softmax(z)), id="scores"),
        pytest.param(CHANCES, divergence, id="probabilities"),
        pytest.param(MAPS, scatter, id="maps"),
        pytest.param(ONE, scatter, id="a number"),
    ],
)
def test_it_is_what_the_definition_says(text: str, defined: Callable[[Array, Array], float]) -> None:
    model = net(text)
    result, given = other(model), data(model)
    (found,) = losses(model, [result], given)
    y, z = outputs(model, given), outputs(result, given)
    assert found == pytest.approx(defined(y, z), rel=1e-5)
    assert found > 0.001
    assert found != pytest.approx(defined(z, y), rel=1e-2)


def test_what_stands_for_probabilities_is_some_too_where_rounding_changed_its_sum() -> None:
    model = net(CHANCES)
    result = net(CHANCES.replace("y = Softmax<axis=1>(a)", "s = Softmax<axis=1>(a)  y = Mul(s, k)").replace(
        "float[4,5] w>", "float[4,5] w, float k = {1.01}>"))  # fmt: skip
    assert losses(model, [result], data(model)) == pytest.approx([0], abs=1e-6)


def test_probabilities_are_not_put_through_a_softmax_again() -> None:
    model = net(CHANCES)
    result, given = other(model), data(model)
    y, z = outputs(model, given), outputs(result, given)
    assert losses(model, [result], given) != pytest.approx([divergence(softmax(y), softmax(z))], rel=1e-2)


@pytest.mark.parametrize("text", [SCORES, CHANCES, MAPS, ONE, BOTH])
def test_the_same_network_loses_nothing_and_results_do_not_touch_each_other(text: str) -> None:
    model = net(text)
    one, two, given = other(model), other(model, 2), data(model)
    found = losses(model, [model, one, two], given)
    assert found[0] == 0
    assert found[1:] == [*losses(model, [one], given), *losses(model, [two], given)]
    assert found[2] > found[1] > 0


def test_outputs_add_up() -> None:
    model = net(BOTH)
    result, given = other(model), data(model)
    result.put("v", 0.5 * model.tensor("v").value())
    y, z = ((outputs(model, given, name), outputs(result, given, name)) for name in "yz")
    assert losses(model, [result], given)[0] == pytest.approx(divergence(*map(softmax, y)) + scatter(*z), rel=1e-5)
    assert losses(model, [result], given)[0] != pytest.approx(scatter(*z), rel=1e-2)


@pytest.mark.parametrize("text", [SCORES, CHANCES, MAPS])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_an_infinite_loss(text: str, bad: float) -> None:
    model, broken = net(text), net(text)
    weight = np.array(model.tensor("w").value())
    weight[0] = bad
    broken.put("w", weight)
    given = data(model)
    assert losses(model, [broken, model], given) == [np.inf, 0.0]
    assert losses(broken, [model], given) == [np.inf]


@pytest.mark.parametrize("text", [SCORES, MAPS])
def test_of_one_sample_something_can_be_said(text: str) -> None:
    """It has no spread about its mean: what is made of it is measured against all of it."""
    model = net(text)
    result, given = other(model), data(model, 1)
    (found,) = losses(model, [result], given)
    y, z = outputs(model, given), outputs(result, given)
    expected = divergence(softmax(y), softmax(z)) if text is SCORES else np.sum((z - y) ** 2) / np.sum(y**2)
    assert found == pytest.approx(float(expected), rel=1e-5)
    assert 0 < found < 1


def test_scores_that_are_sure_of_themselves_lose_much_but_not_everything() -> None:
    model, wrong = net(SCORES), net(SCORES)
    wrong.put("w", -1000 * model.tensor("w").value())
    (found,) = losses(model, [wrong], data(model))
    assert 5 < found < 30  # -log of the least probability is 27.6


@pytest.mark.parametrize(
    ("text", "each"),
    [
        (SCORES, lambda y, z: [divergence(softmax(a[None]), softmax(b[None])) for a, b in pairs(y, z)]),
        (
            MAPS,
            lambda y, z: [len(y) * np.sum((b - a) ** 2) / np.sum((y - y.mean(axis=0)) ** 2) for a, b in pairs(y, z)],
        ),
    ],
    ids=["scores", "maps"],
)
def test_the_typical_loss_is_the_geometric_mean_over_samples(
    text: str, each: Callable[[Array, Array], list[float]]
) -> None:
    model = net(text)
    result, given = other(model), data(model)
    y, z = (outputs(network, given) for network in (model, result))
    expected = np.exp(np.mean(np.log(np.array(each(y, z)) + FAINT)))
    assert Reference(model, given).typical(result) == pytest.approx(expected, rel=1e-5)
    assert expected < losses(model, [result], given)[0]


def pairs(y: Array, z: Array) -> list[tuple[Array, Array]]:
    return list(zip(y, z, strict=True))


def test_a_typical_loss_is_infinite_too_where_something_is_not_finite() -> None:
    model = net(SCORES)
    result = model.copy()
    result.put("w", np.full((4, 5), np.nan, np.float32))
    assert Reference(model, data(model)).typical(result) == np.inf
    assert Reference(model, data(model)).typical(model) == pytest.approx(FAINT)
