"""A criterion that lacks what it goes by is refused in one message, which names all that would do; others are taken."""

from __future__ import annotations

import re

import pytest
from contexts import context
from oracle import net
from prunes import calibrated, channels, prune

from onnxprune.errors import UsageError
from onnxprune.importance import CRITERIA
from onnxprune.model import Model
from onnxprune.passes import Context

CHAIN = """(float[N,3,6,6] x) => (float[N,4,A,B] y) <float[8,3,3,3] w, float[8] b, float[4,8,1,1] v>
    {{ a = Conv(x, w, b)  {}  y = Conv(r, v) }}"""
RELU = CHAIN.format("r = Relu(a)")
NORM = "<float[8,3,3,3] w, float[8] scale, float[8] d, float[8] mean, float[8] var"
NORMED = (
    RELU.replace("<float[8,3,3,3] w", NORM).replace("Relu(a)", "Relu(n)")
    .replace("Conv(x, w, b)", "Conv(x, w, b)  n = BatchNormalization(a, scale, d, mean, var)")
)  # fmt: skip


def refused(model: Model, ctx: Context, name: str) -> tuple[str, set[str]]:
    """Why a criterion is refused, and the names of those that are offered instead."""
    before = model.fingerprint()
    with pytest.raises(UsageError) as caught:
        prune(model, ctx, ratio="50%", align=1, importance=name)
    assert model.fingerprint() == before
    found = re.fullmatch(rf"pass 'prune': importance={name} (.*) take one of (.*)", str(caught.value))
    assert found is not None
    return found[1], set(found[2].split(", "))


def taken(model: Model, ctx: Context, name: str) -> bool:
    return channels(prune(model, ctx, ratio="50%", align=1, importance=name)[0])["w"] == 4


FREE = {"l1", "l2", "fpgm", "meanvar", "random"}


@pytest.mark.parametrize("name", [name for name, each in CRITERIA.items() if "data" in each.needs])
def test_without_data_only_what_looks_at_weights_is_offered(name: str) -> None:
    model = net(RELU)
    why, others = refused(model, context(model), name)
    assert why == "judges channels by what they do on data: give --calib, or"
    assert others == FREE
    assert taken(model, calibrated(model), name)


@pytest.mark.parametrize("name", sorted(FREE))
def test_what_is_offered_is_taken(name: str) -> None:
    model = net(RELU)
    assert taken(model, context(model), name)


def test_without_data_gamma_is_taken_where_it_stands_and_named_where_it_does_not() -> None:
    model = net(RELU)
    why, others = refused(model, context(model), "bn")
    assert "'Conv_0' has none behind it" in why
    assert others == FREE
    assert taken(model, calibrated(model), "bn")
    assert taken(net(NORMED), context(net(NORMED)), "bn")
    assert refused(net(NORMED), context(net(NORMED)), "obs")[1] == FREE | {"bn"}


@pytest.mark.parametrize("text", ["r = Sigmoid(a)", "r = LeakyRelu(a)", "r = Clip(a, low, high)"])
def test_where_no_relu_makes_zeros_they_are_not_counted(text: str) -> None:
    bounds = ", float low = {-1}, float high = {6}>" if "Clip" in text else ">"
    model = net(CHAIN.format(text).replace("v>", f"v{bounds}"))
    why, others = refused(model, calibrated(model), "apoz")
    assert why == "counts zeros, and no ReLU (Relu, or Clip from 0) makes any that a layer reads:"
    assert others == set(CRITERIA) - {"apoz"}


@pytest.mark.parametrize(
    "text",
    [
        "r = Relu(a)",
        "q = Relu(a)  r = MaxPool<kernel_shape=[2,2]>(q)",
        "q = Relu(a)  f = Tanh(q)  r = Add(f, f)",
        "r = Clip(a, low, high)",
        "r = Clip(a, low)",
    ],
)
def test_where_a_relu_makes_zeros_they_are_counted(text: str) -> None:
    low = ", float low = {0}, float high = {6}>" if "high" in text else ", float low = {0}>" if "low" in text else ">"
    model = net(CHAIN.format(text).replace("v>", f"v{low}"))
    assert taken(model, calibrated(model), "apoz")


def test_a_clip_of_old_is_known_too() -> None:
    for low, known in ((0.0, True), (-1.0, False)):
        model = net(CHAIN.format(f"r = Clip<min={low}, max=6.0>(a)"), opset=10)
        if known:
            assert taken(model, calibrated(model), "apoz")
        else:
            refused(model, calibrated(model), "apoz")


def test_a_relu_behind_the_last_layer_makes_no_zeros_that_are_read() -> None:
    model = net(CHAIN.format("r = Tanh(a)").replace("y = Conv(r, v)", "z = Conv(r, v)  y = Relu(z)"))
    assert refused(model, calibrated(model), "apoz")[1] == set(CRITERIA) - {"apoz"}
