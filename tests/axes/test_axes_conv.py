"""What is known of a convolution's axes."""

from __future__ import annotations

import numpy as np
import pytest
from cuts import assert_cuts_are_exact, cut_at, group, removal, why
from oracle import assert_same_function, net, run, silenced

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.cutting import cut
from onnxprune.axes.facts import Pin, Tie
from onnxprune.axes.families.conv import conv
from onnxprune.axes.silencing import removed
from onnxprune.node import Axis

IMAGE = [
    *(Pin(Axis("w", d), "kernel window") for d in (2, 3)),
    *(Pin(Axis("x", d), "spatial: read by a kernel window") for d in (2, 3)),
    *(Pin(Axis("y", d), "spatial: written by a kernel window") for d in (2, 3)),
]


def facts(text: str) -> list[object]:
    return list(conv(net(text).nodes[0]))


def test_rows_of_the_kernel_make_channels_and_columns_read_them() -> None:
    found = facts("(float[2,3,8,8] x) => (float[2,4,8,8] y) <float[4,3,1,1] w, float[4] b> { y = Conv(x, w, b) }")
    assert [f for f in found if f not in IMAGE] == [
        Tie(Axis("w", 1), Axis("x", 1), modulo=3),
        Tie(Axis("w", 0), Axis("y", 1)),
        Tie(Axis("x", 0), Axis("y", 0)),
        Tie(Axis("b", 0), Axis("y", 1)),
    ]


def test_what_the_kernel_slides_over_stays_whole() -> None:
    found = facts("(float[2,3,8,8] x) => (float[2,4,6,6] y) <float[4,3,3,3] w> { y = Conv(x, w) }")
    assert [f for f in found if isinstance(f, Pin)] == [IMAGE[i] for i in (0, 2, 4, 1, 3, 5)]


def test_convolutions_of_rank_three_and_five_are_understood() -> None:
    signal = facts("(float[2,3,8] x) => (float[2,4,6] y) <float[4,3,3] w> { y = Conv(x, w) }")
    volume = facts("(float[2,3,8,8,8] x) => (float[2,4,6,6,6] y) <float[4,3,3,3,3] w> { y = Conv(x, w) }")
    assert [f for f in signal if isinstance(f, Tie)] == [f for f in volume if isinstance(f, Tie)]
    assert [len([f for f in found if isinstance(f, Pin)]) for found in (signal, volume)] == [3, 9]


def test_every_group_reads_with_all_columns_and_loses_the_same_rows() -> None:
    text = "(float[2,6,8,8] x) => (float[2,4,8,8] y) <float[4,3,1,1] w> { y = Conv<group=2>(x, w) }"
    assert [f for f in facts(text) if f not in IMAGE] == [
        Tie(Axis("w", 1), Axis("x", 1), modulo=3),
        Tie(Axis("w", 0), Axis("w", 0), modulo=2),
        Tie(Axis("w", 0), Axis("y", 1)),
        Tie(Axis("x", 0), Axis("y", 0)),
    ]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_channel_and_its_kernels_are_one(multiplier: int) -> None:
    rows = 4 * multiplier
    text = f"(float[2,4,8,8] x) => (float[2,{rows},8,8] y) <float[{rows},1,1,1] w> {{ y = Conv<group=4>(x, w) }}"
    assert [f for f in facts(text) if f not in IMAGE] == [
        Tie(Axis("x", 1), Axis("w", 0), repeat=multiplier),
        Pin(Axis("w", 1), "depthwise kernels have one column"),
        Tie(Axis("w", 0), Axis("y", 1)),
        Tie(Axis("x", 0), Axis("y", 0)),
    ]


def test_a_convolution_of_one_channel_is_not_depthwise() -> None:
    found = facts("(float[2,1,8,8] x) => (float[2,4,8,8] y) <float[4,1,1,1] w> { y = Conv(x, w) }")
    assert Tie(Axis("w", 1), Axis("x", 1), modulo=1) in found
    assert Pin(Axis("w", 1), "depthwise kernels have one column") not in found


def test_a_kernel_computed_at_run_time_is_refused() -> None:
    node = net("""(float[2,3,8,8] x, float[3,4,1,1] u) => (float[2,4,8,8] y)
                  { w = Transpose<perm=[1,0,2,3]>(u)  y = Conv(x, w) }""").nodes[1]
    with pytest.raises(ValueError, match="the weight is computed at run time"):
        list(conv(node))


CHAIN = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,3,3] wa, float[4] b, float[2,4,1,1] wy>
    { a = Conv<pads=[1,1,1,1]>(x, wa, b)  r = Relu(a)  y = Conv(r, wy) }"""


def test_a_channel_goes_with_its_bias_and_the_column_that_reads_it() -> None:
    assert removal(net(CHAIN), "wa[0]", 2) == {"wa[0]": [2], "b[0]": [2], "wy[1]": [2]}


def test_the_signature_of_the_graph_stays() -> None:
    model = net(CHAIN)
    assert why(model, "wa[1]") == "graph input 'x'"
    assert why(model, "wy[0]") == "graph output 'y'"


GROUPED = """(float[1,3,8,8] x) => (float[1,3,8,8] y) <float[6,3,1,1] w1, float[4,3,1,1] w2, float[3,4,1,1] w3>
    { a = Conv(x, w1)  b = Conv<group=2>(a, w2)  y = Conv(b, w3) }"""


def test_groups_lose_the_same_columns_and_the_same_rows() -> None:
    model = net(GROUPED)
    assert removal(model, "w1[0]", 1) == {"w1[0]": [1, 4], "w2[1]": [1]}
    assert removal(model, "w2[0]", 3) == {"w2[0]": [1, 3], "w3[1]": [1, 3]}


def test_a_grouped_convolution_keeps_its_groups_when_cut() -> None:
    after, _ = cut_at(net(GROUPED), "w1[0]", 0)
    assert after.node("Conv_1").attrs["group"] == 2
    assert (after.tensor("a").shape, after.tensor("w2").shape) == ((1, 4, 8, 8), (4, 2, 1, 1))


def test_grouped_rows_that_are_one_atom_cannot_all_go() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,3,8,8] y) <float[6,3,1,1] w1, float[2,3,1,1] w2, float[3,2,1,1] w3>
        { a = Conv(x, w1)  b = Conv<group=2>(a, w2)  y = Conv(b, w3) }""")
    found = group(model, "w2[0]")
    assert found.size == 1
    assert len(found.free) == 1


def depthwise(multiplier: int) -> str:
    rows = 4 * multiplier
    return f"""(float[1,3,8,8] x) => (float[1,2,6,6] y)
        <float[4,3,1,1] w1, float[{rows},1,3,3] w2, float[{rows}] b2, float[2,{rows},1,1] w3>
        {{ a = Conv(x, w1)  c = Conv<group=4>(a, w2, b2)  y = Conv(c, w3) }}"""


def test_a_depthwise_kernel_ties_what_is_before_it_to_what_is_behind_it() -> None:
    assert removal(net(depthwise(1)), "w1[0]", 3) == {"w1[0]": [3], "w2[0]": [3], "b2[0]": [3], "w3[1]": [3]}


def test_two_depthwise_channels_are_two_atoms() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,3,8,8] y) <float[2,3,1,1] w1, float[2,1,1,1] w2, float[3,2,1,1] w3>
        { a = Conv(x, w1)  c = Conv<group=2>(a, w2)  y = Conv(c, w3) }""")
    assert removal(model, "w1[0]", 1) == {"w1[0]": [1], "w2[0]": [1], "w3[1]": [1]}


def test_all_kernels_of_a_depthwise_channel_go_with_it() -> None:
    expected = {"w1[0]": [2], "w2[0]": [4, 5], "b2[0]": [4, 5], "w3[1]": [4, 5]}
    assert removal(net(depthwise(2)), "w1[0]", 2) == expected
    assert removal(net(depthwise(2)), "w2[0]", 5) == expected


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_convolution_has_as_many_groups_as_channels_left(multiplier: int) -> None:
    model = net(depthwise(multiplier))
    for gone in ([1], [0, 1, 3]):
        after, spec = cut_at(model, "w1[0]", *gone)
        assert after.node("Conv_1").attrs["group"] == 4 - len(gone)
        assert_same_function(after, silenced(model, spec))


def test_a_weight_shared_by_two_convolutions_is_cut_once_for_both() -> None:
    model = net("""(float[1,4,8,8] x) => (float[1,3,8,8] y) <float[4,4,1,1] w, float[4] b, float[3,4,1,1] wy>
        { a = Conv(x, w, b)  r = Relu(a)  c = Conv(r, w, b)  d = Conv(c, wy)  y = Tanh(d) }""")
    assert why(model, "w[1]") == "graph input 'x'"
    assert why(model, "w[0]") == "graph input 'x'"


def test_a_weight_shared_by_branches_is_cut_in_both() -> None:
    model = net("""(float[1,3,8,8] x, float[1,3,8,8] z) => (float[1,2,8,8] y)
        <float[4,3,1,1] w, float[2,4,1,1] va, float[2,4,1,1] vb>
        { a = Conv(x, w)  b = Conv(z, w)  c = Conv(a, va)  d = Conv(b, vb)  y = Sub(c, d) }""")
    assert removal(model, "w[0]", 0) == {"w[0]": [0], "va[1]": [0], "vb[1]": [0]}


def test_layers_that_share_a_bias_lose_the_same_channels() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y)
        <float[4,3,1,1] w1, float[4,4,1,1] w2, float[4] b, float[2,4,1,1] w3>
        { a = Conv(x, w1, b)  r = Relu(a)  c = Conv(r, w2, b)  s = Relu(c)  y = Conv(s, w3) }""")
    assert removal(model, "w1[0]", 1) == {"b[0]": [1], "w1[0]": [1], "w2[0]": [1], "w2[1]": [1], "w3[1]": [1]}


def test_a_convolution_that_is_also_an_output_keeps_its_channels() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y, float[1,4,8,8] a) <float[4,3,1,1] w, float[2,4,1,1] v>
        { a = Conv(x, w)  y = Conv(a, v) }""")
    assert why(model, "w[0]") == "graph output 'a'"
    assert why(model, "v[1]") == "graph output 'a'"


def test_a_transposed_convolution_reads_with_rows_and_makes_columns() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[4,5,1,1] t, float[2,5,1,1] v>
        { a = Conv(x, w)  b = ConvTranspose(a, t)  y = Conv(b, v) }""")
    assert removal(model, "w[0]", 2) == {"t[0]": [2], "w[0]": [2]}
    assert removal(model, "t[1]", 4) == {"t[1]": [4], "v[1]": [4]}
    assert_cuts_are_exact(model)


def test_a_dynamic_batch_is_no_hindrance() -> None:
    model = net(CHAIN.replace("float[1,", "float[N,"))
    after, spec = cut_at(model, "wa[0]", 0, 3)
    assert after.tensor("a").shape == ("N", 2, 8, 8)
    assert_same_function(after, silenced(model, spec))


def test_the_values_left_are_those_that_were_there() -> None:
    model = net(CHAIN)
    after, spec = cut_at(model, "wa[0]", 1)
    assert np.array_equal(after.tensor("wa").value(), np.delete(model.tensor("wa").value(), 1, 0))
    assert np.array_equal(after.tensor("wy").value(), np.delete(model.tensor("wy").value(), 1, 1))
    assert spec == {"b": {0: [1]}, "wa": {0: [1]}, "wy": {1: [1]}}


@pytest.mark.parametrize("channels", ["?", "C"])
def test_groups_stay_where_the_input_has_an_open_number_of_channels(channels: str) -> None:
    model = net(
        f"(float[N,{channels},H,W] x) => (float[A,B,D,E] y) <float[8,3,1,1] w, float[2,8,1,1] v>"
        "{ a = Conv<group=2>(x, w)  y = Conv(a, v) }"
    )
    after = model.copy()
    (group,) = [g for g in ChannelGroups().compute(model) if len(g.free)]
    cut(after, group.slots(group.free[:1]))
    x = {"x": np.random.default_rng(0).normal(size=(2, 6, 3, 3)).astype(np.float32)}
    (got,), (want,) = run(after, x), run(silenced(model, removed(after)), x)
    assert after.nodes[0].attrs["group"] == 2
    np.testing.assert_allclose(got, want, atol=1e-5)
