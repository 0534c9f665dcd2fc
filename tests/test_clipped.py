"""Refits in front of an operator that clips: what is beyond the limit on both sides is no error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracle import net
from prunes import IMAGE, calibrated, quarter, redundant, samples, sqnr, unseen

from onnxprune import clipped, ridge
from onnxprune.aims import waves
from onnxprune.clipped import Clipped, Limits, Recorder
from onnxprune.data.columns import Spool
from onnxprune.node import Array
from onnxprune.patches import Rows

RELU, RELU6 = Limits(0.0, math.inf), Limits(0.0, 6.0)


def drawn(seed: int, rows: int = 60) -> tuple[Rows, Array]:
    """Rows of two groups, five columns and three outputs, and what another branch adds."""
    rng = np.random.default_rng(seed)
    return Rows(rng.normal(size=(2, rows, 5)), 3 * rng.normal(size=(2, rows, 3))), rng.normal(size=(2, rows, 3))


def kept(limits: Limits, *parts: tuple[Rows, Array | None]) -> Clipped | None:
    with Spool() as spool:
        recorder = Recorder(limits, spool)
        for rows, other in parts:
            recorder.add(rows, other)
        return recorder.rows()


def behind(rows: Rows, other: Array, weights: Array, limits: Limits) -> tuple[Array, Array]:
    """What comes out behind the operator: wanted, and made."""
    made = rows.augmented @ weights.swapaxes(1, 2)
    return np.clip(rows.y + other, *limits), np.clip(made + other, *limits)


@pytest.mark.parametrize("limits", [RELU, RELU6, Limits(-1.0, 1.0), Limits(-math.inf, 0.5)])
@pytest.mark.parametrize("summed", [True, False])
def test_the_error_is_that_behind_the_operator(limits: Limits, summed: bool) -> None:
    rows, other = drawn(0)
    weights = np.random.default_rng(1).normal(size=(2, 3, 6))
    wanted, made = behind(rows, other if summed else np.zeros_like(other), weights, limits)
    halves = [(Rows(rows.x[:, s], rows.y[:, s]), other[:, s] if summed else None) for s in (slice(40), slice(40, None))]
    found = kept(limits, *halves)
    assert found is not None
    assert found.error(weights) == pytest.approx(np.sum((wanted - made) ** 2) / np.sum(wanted**2), rel=1e-5)
    one, two = kept(limits, halves[0]), kept(limits, halves[1])
    assert one is not None
    assert two is not None
    assert (one + two).error(weights) == pytest.approx(found.error(weights), rel=1e-6)


def test_where_nothing_is_clipped_what_is_missing_is_what_least_squares_asks_for() -> None:
    rows, other = drawn(0)
    found = kept(Limits(-math.inf, math.inf), (rows, other))
    assert found is not None
    weights = np.random.default_rng(1).normal(size=(2, 3, 6))
    x = rows.augmented
    expected = (rows.y - x @ weights.swapaxes(1, 2)).swapaxes(1, 2) @ x
    np.testing.assert_allclose(found.missing(weights), expected, rtol=1e-4, atol=1e-3)


def test_what_is_beyond_the_limit_on_both_sides_asks_for_nothing() -> None:
    rows, _ = drawn(0)
    low, inside = Rows(rows.x, -1 - np.abs(rows.y)), Rows(rows.x, 1 + np.abs(rows.y))
    weights = np.zeros((2, 3, 6))
    weights[..., -1] = -1  # what is made is −1 everywhere
    beyond, within = kept(RELU, (low, None)), kept(RELU, (inside, None))
    assert beyond is not None
    assert within is not None
    assert not beyond.missing(weights).any()
    assert np.abs(within.missing(weights)).max() > 1


def test_more_rows_than_there_is_room_for_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, other = drawn(0)
    size = 4 * 2 * 60 * (6 + 3 + 3)
    for room, there in ((size, True), (size - 1, False)):
        monkeypatch.setattr(clipped, "ROOM", room)
        assert (kept(RELU, (rows, other)) is not None) is there


TAIL = "e = Conv(r, v, c)  {}  y = Conv(s, u)"
DECLARED = "float[6,8,3,3] v, float[6] c, float[6,6,1,1] u"


@pytest.mark.parametrize("summed", [False, True])
def test_a_layer_before_a_relu_is_nearer_behind_it(summed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels that no others can express: least squares alone spends its weights on what the Relu then takes away."""
    side = "p = Conv<strides=[1,1]>(x, q)  d = Add(e, p)  s = Relu(d)" if summed else "s = Relu(e)"
    declared = f"{DECLARED}, float[6,3,5,5] q" if summed else DECLARED
    model = net(IMAGE.format(declared, TAIL.format(side)))
    model.put("c", model.tensor("c").value() - 1)  # most is clipped
    ctx = calibrated(model, samples(model, 400))
    after, record = quarter(model, ctx, keep="Conv_2")
    (repair,) = (each for each in record.repairs if each.where == "Conv_2")
    assert repair.how.endswith(f", {ridge.STEPS} steps towards what is not clipped")
    monkeypatch.setattr(ridge, "STEPS", 0)
    plain, without = quarter(model, ctx, keep="Conv_2")
    (other,) = (each for each in without.repairs if each.where == "Conv_2")
    assert repair.before == pytest.approx(other.before)
    assert repair.after < other.after
    assert sqnr(after, ctx) > sqnr(plain, ctx)


ENDS = {
    "Relu": ("s = Relu(e)", RELU),
    "Clip": ("s = Clip(e, low, high)", RELU6),
    "Clip, from above alone": ("s = Clip(e, , high)", Limits(-math.inf, 6.0)),
    "Clip at what is computed": ("m = ReduceMax<keepdims=0>(x)  s = Clip(e, low, m)", None),
    "Tanh": ("s = Tanh(e)", None),
    "Relu beside another": ("f = Relu(e)  h = Tanh(e)  s = Add(f, h)", None),
}


@pytest.mark.parametrize(("end", "limits"), ENDS.values(), ids=ENDS.keys())
def test_limits_are_those_of_the_one_operator_that_reads_it(end: str, limits: Limits | None) -> None:
    model = net(IMAGE.format(f"{DECLARED}, float low = {{0.0}}, float high = {{6.0}}", TAIL.format(end)))
    (wave,) = waves(model, model, ["Conv_2"])
    assert wave[0].limits == limits


def test_before_opset_11_limits_are_attributes() -> None:
    text = IMAGE.format(DECLARED, TAIL.format("s = Clip<min=0.0, max=6.0>(e)"))
    model = net(text, opset=10)
    (wave,) = waves(model, model, ["Conv_2"])
    assert wave[0].limits == RELU6


def test_a_redundant_layer_before_a_relu_is_expressed_too() -> None:
    model = redundant(IMAGE.format(DECLARED, TAIL.format("s = Relu(e)")))
    after, _ = quarter(model, calibrated(model), keep="Conv_2")
    assert unseen(after, model) < 1e-3
