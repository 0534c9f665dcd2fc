"""What is known of the axes of normalisations."""

from __future__ import annotations

import pytest
from cuts import axis, cut_at, group, removal, why
from oracle import assert_same_function, net, silenced

from onnxprune.axes.facts import Tie
from onnxprune.axes.families.norm import batch_normalization
from onnxprune.model import Model
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


BETWEEN = """(float[1,2,8,8] x) => (float[1,2,8,8] y)
    <float[4,2,1,1] w, float[4] scale, float[4] b, float[2,4,1,1] v>
    {{ a = Conv(x, w)  {}  y = Conv(n, v) }}"""


def between(mix: str, opset: int = 21) -> Model:
    """A normalisation of four channels between two convolutions."""
    return net(BETWEEN.format(mix), opset)


def test_an_instance_normalisation_loses_channels_exactly() -> None:
    model = between("n = InstanceNormalization(a, scale, b)")
    assert removal(model, "w[0]", 2) == {"w[0]": [2], "v[1]": [2], "scale[0]": [2], "b[0]": [2]}


@pytest.mark.parametrize(
    "mix",
    [
        "n = LRN<size=3>(a)",
        "t = Transpose<perm=[0,2,3,1]>(a)  l = LayerNormalization(t, scale, b)  n = Transpose<perm=[0,3,1,2]>(l)",
        "n = GroupNormalization<num_groups=1>(a, scale, b)",
        "n = LpNormalization<axis=1>(a)",
        "n = MeanVarianceNormalization<axes=[1]>(a)",
    ],
)
def test_statistics_over_channels_change_with_every_channel(mix: str) -> None:
    found = group(between(mix), "w[0]")
    assert found.size == len(found.approximate) == 4
    assert not found.pinned
    assert "takes statistics over it" in found.approximate[0].why


def test_every_group_loses_the_same_channels() -> None:
    found = group(between("n = GroupNormalization<num_groups=2>(a, scale, b)"), "w[0]")
    assert found.atoms[axis("w[0]")].tolist() == [0, 1, 0, 1]
    assert found.atoms[axis("scale[0]")].tolist() == [0, 1, 0, 1]


def test_groups_of_one_channel_go_one_by_one() -> None:
    model = between("n = GroupNormalization<num_groups=4>(a, scale, b)")
    after, spec = cut_at(model, "w[0]", 1)
    assert spec["scale"] == {0: [1]}
    assert after.node("GroupNormalization_1").attrs["num_groups"] == 3
    assert_same_function(after, silenced(model, spec))


SHARED = "shared out by Softmax 'Softmax_1'"


@pytest.mark.parametrize(
    ("opset", "axis", "reason"), [(12, 1, SHARED), (12, 0, SHARED), (13, 1, SHARED), (13, 0, None)]
)
def test_a_softmax_keeps_its_axis_whole_and_before_opset_13_all_after_it(
    opset: int, axis: int, reason: str | None
) -> None:
    assert why(between(f"n = Softmax<axis={axis}>(a)", opset), "w[0]") == reason


def test_a_layer_normalisation_that_is_written_out_changes_with_every_channel() -> None:
    model = net("""(float[1,2] x) => (float[1,2] y)
        <float[2,4] w, float[4] scale, float[4] b, float two = {2}, float[4,2] v>
        { a = MatMul(x, w)  m = ReduceMean<axes=[-1]>(a)  c = Sub(a, m)  q = Pow(c, two)  s = ReduceMean<axes=[-1]>(q)
          d = Sqrt(s)  n = Div(c, d)  f = Mul(n, scale)  g = Add(f, b)  y = MatMul(g, v) }""")
    found = group(model, "w[1]")
    assert not found.pinned
    assert len(found.approximate) == found.size == 4
    assert {str(a) for a in found.atoms} >= {"w[1]", "scale[0]", "b[0]", "v[0]"}
