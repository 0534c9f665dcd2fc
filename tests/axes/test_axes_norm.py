"""What is known of the axes of normalisations."""

from __future__ import annotations

import pytest
from cuts import removal, why
from oracle import net

from onnxprune.axes.facts import Tie
from onnxprune.axes.families.norm import batch_normalization
from onnxprune.node import Axis

PARAMETERS = "float[3] scale, float[3] b, float[3] mean, float[3] var"


def test_every_channel_has_its_factors() -> None:
    text = f"(float[2,3,4] x) => (float[2,3,4] y) <{PARAMETERS}> {{ y = BatchNormalization(x, scale, b, mean, var) }}"
    assert list(batch_normalization(net(text).nodes[0])) == [
        *(Tie(Axis("x", d), Axis("y", d)) for d in range(3)),
        *(Tie(Axis("x", 1), Axis(name, 0)) for name in ("scale", "b", "mean", "var")),
    ]


def test_training_is_refused() -> None:
    text = f"""(float[2,3,4] x) => (float[2,3,4] y, float[3] m, float[3] v) <{PARAMETERS}>
        {{ y, m, v = BatchNormalization<training_mode=1>(x, scale, b, mean, var) }}"""
    with pytest.raises(ValueError, match="training"):
        list(batch_normalization(net(text).nodes[0]))


def test_training_is_known_by_its_outputs_too() -> None:
    text = f"""(float[2,3,4] x) => (float[2,3,4] y, float[3] m, float[3] v, float[3] sm, float[3] sv) <{PARAMETERS}>
        {{ y, m, v, sm, sv = BatchNormalization(x, scale, b, mean, var) }}"""
    with pytest.raises(ValueError, match="training"):
        list(batch_normalization(net(text, opset=9).nodes[0]))


def test_factors_per_position_are_refused() -> None:
    shapes = PARAMETERS.replace("[3]", "[3,4]")
    text = f"""(float[2,3,4] x) => (float[2,3,4] y) <{shapes}>
        {{ y = BatchNormalization<spatial=0>(x, scale, b, mean, var) }}"""
    with pytest.raises(ValueError, match="factors per position"):
        list(batch_normalization(net(text, opset=7).nodes[0]))


def test_normalised_channels_go_with_their_factors() -> None:
    model = net("""(float[1,2,8,8] x) => (float[1,2,8,8] y)
        <float[3,2,1,1] w, float[3] scale, float[3] b, float[3] mean, float[3] var, float[2,3,1,1] v>
        { a = Conv(x, w)  n = BatchNormalization(a, scale, b, mean, var)  r = Relu(n)  y = Conv(r, v) }""")
    factors = {f"{name}[0]": [2] for name in ("b", "mean", "scale", "var")}
    assert removal(model, "w[0]", 2) == {"v[1]": [2], "w[0]": [2], **factors}


def test_batch_normalisation_of_vectors_is_understood() -> None:
    model = net("""(float[N,2] x) => (float[N,2] y)
        <float[2,3] w, float[3] scale, float[3] b, float[3] mean, float[3] var, float[3,2] v>
        { a = MatMul(x, w)  n = BatchNormalization(a, scale, b, mean, var)  y = MatMul(n, v) }""")
    assert removal(model, "scale[0]", 1)["v[0]"] == [1]


@pytest.mark.parametrize(
    "mix",
    [
        "n = InstanceNormalization(a, scale, b)",
        "n = LRN<size=3>(a)",
        "n = Softmax<axis=1>(a)",
        "t = Transpose<perm=[0,2,3,1]>(a)  l = LayerNormalization(t, scale, b)  n = Transpose<perm=[0,3,1,2]>(l)",
    ],
)
def test_normalisations_without_a_rule_pin_their_channels(mix: str) -> None:
    model = net(f"""(float[1,2,8,8] x) => (float[1,2,8,8] y)
        <float[3,2,1,1] w, float[3] scale, float[3] b, float[2,3,1,1] v>
        {{ a = Conv(x, w)  {mix}  r = Relu(n)  y = Conv(r, v) }}""")
    assert (why(model, "w[0]") or "").startswith("no rule for ")
