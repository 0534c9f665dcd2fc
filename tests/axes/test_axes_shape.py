"""What is known of the axes of operators that arrange whole axes anew, and how the sizes in them follow a cut."""

from __future__ import annotations

import pytest
from cuts import assert_cut_is_exact, group, removal, why
from oracle import net

from onnxprune.axes.facts import Pin, Tie
from onnxprune.axes.families.moving import concat, split, squeeze, transpose
from onnxprune.node import Axis, Node


def first(text: str, opset: int = 17) -> Node:
    return net(text, opset).nodes[0]


# -- Concat and Split ------------------------------------------------------------------------------------------------


def test_every_input_of_a_concat_is_a_range_of_the_output() -> None:
    found = list(concat(first("(float[2,3] a, float[2,4] b) => (float[2,7] y) { y = Concat<axis=-1>(a, b) }")))
    assert found == [
        Tie(Axis("y", 0), Axis("a", 0)),
        Tie(Axis("y", 1), Axis("a", 1)),
        Tie(Axis("y", 0), Axis("b", 0)),
        Tie(Axis("y", 1), Axis("b", 1), shift=3),
    ]


def test_every_output_of_a_split_is_a_range_of_the_input() -> None:
    text = "(float[2,7] x) => (float[2,3] a, float[2,4] b) <int64[2] s = {3,4}> { a, b = Split<axis=1>(x, s) }"
    assert list(split(first(text))) == [
        Tie(Axis("x", 0), Axis("a", 0)),
        Tie(Axis("x", 1), Axis("a", 1)),
        Tie(Axis("x", 0), Axis("b", 0)),
        Tie(Axis("x", 1), Axis("b", 1), shift=3),
    ]


def test_a_split_is_along_the_first_axis_unless_told() -> None:
    text = "(float[7,2] x) => (float[3,2] a, float[4,2] b) <int64[2] s = {3,4}> { a, b = Split(x, s) }"
    assert list(split(first(text)))[2:] == [Tie(Axis("x", 0), Axis("b", 0), shift=3), Tie(Axis("x", 1), Axis("b", 1))]
    model = net("""(float[N,3] x) => (float[2,N] y) <float[3,7] w, int64[2] s = {3,4}, float[2,3] v, float[2,4] u>
        { c = MatMul(x, w)  t = Transpose(c)  a, b = Split(t, s)  p = Transpose(a)  q = Transpose(b)
          r = Gemm<transB=1>(p, v)  o = Gemm<transB=1>(q, u)  z = Add(r, o)  y = Transpose(z) }""")
    assert removal(model, "w[1]", 3) == {"u[1]": [0], "w[1]": [3]}
    assert_cut_is_exact(model, "w[1]", 0, 3)


def test_a_join_along_an_axis_of_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match="the size of 'a' is known at run time only"):
        list(concat(first("(float[2,N] a, float[2,4] b) => (float[2,M] y) { y = Concat<axis=1>(a, b) }")))


def test_a_split_with_sizes_computed_at_run_time_is_refused() -> None:
    text = "(float[2,7] x, int64[2] s) => (float[2,A] a, float[2,B] b) { a, b = Split<axis=1>(x, s) }"
    with pytest.raises(ValueError, match="the size of 'a' is known at run time only"):
        list(split(first(text)))


def test_a_split_with_an_unnamed_output_is_refused() -> None:
    model = net("""(float[2,7] x) => (float[2,4] b) <int64[2] s = {3,4}> { a, b = Split<axis=1>(x, s) }""")
    model.set_output(model.nodes[0], 0, "")
    with pytest.raises(ValueError, match="an output is omitted"):
        list(split(model.nodes[0]))


JOIN = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] wa, float[5,3,1,1] wb, float[2,9,1,1] v>
    { a = Conv(x, wa)  b = Conv(x, wb)  c = Concat<axis=1>(a, b)  y = Conv(c, v) }"""


def test_what_is_joined_is_cut_piece_by_piece() -> None:
    model = net(JOIN)
    assert removal(model, "wa[0]", 3) == {"v[1]": [3], "wa[0]": [3]}
    assert removal(model, "wb[0]", 0) == {"v[1]": [4], "wb[0]": [0]}


def test_both_copies_of_a_tensor_joined_to_itself_go_together() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[2,8,1,1] v>
        { a = Conv(x, w)  c = Concat<axis=1>(a, a)  y = Conv(c, v) }""")
    assert group(model, "w[0]").size == 4
    assert removal(model, "w[0]", 1) == {"v[1]": [1, 5], "w[0]": [1]}
    assert_cut_is_exact(model, "w[0]", 1, 2)


def test_channels_joined_along_the_width_are_the_same_channels() -> None:
    model = net(
        JOIN.replace("axis=1", "axis=3")
        .replace("5,3,1,1", "4,3,1,1")
        .replace("2,9", "2,4")
        .replace("float[1,2,8,8] y", "float[1,2,8,16] y")
    )
    assert removal(model, "wa[0]", 3) == {"v[1]": [3], "wa[0]": [3], "wb[0]": [3]}


SPLIT = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[6,3,1,1] w, int64[2] s = {2,4}, float[2,2,1,1] va,
    float[2,4,1,1] vb> { c = Conv(x, w)  SPLIT  d = Conv(a, va)  e = Conv(b, vb)  y = Add(d, e) }"""


def test_what_is_split_is_cut_piece_by_piece() -> None:
    model = net(SPLIT.replace("SPLIT", "a, b = Split<axis=1>(c, s)"))
    assert removal(model, "w[0]", 1) == {"va[1]": [1], "w[0]": [1]}
    assert removal(model, "w[0]", 2) == {"vb[1]": [0], "w[0]": [2]}
    assert why(model, "s[0]") == "kept whole by Split 'Split_1'"


def test_a_split_by_attribute_keeps_its_sizes_there() -> None:
    model = net(SPLIT.replace("SPLIT", "a, b = Split<axis=1, split=[2,4]>(c)"), opset=11)
    after = assert_cut_is_exact(model, "w[0]", 0, 4, 5)
    assert after.node("Split_1").attrs["split"] == (1, 2)


def test_a_split_by_input_keeps_its_sizes_there() -> None:
    model = net(SPLIT.replace("SPLIT", "a, b = Split<axis=-3>(c, s)"), opset=13)
    after = assert_cut_is_exact(model, "w[0]", 0, 4, 5)
    assert after.node("Split_1").x(1).value().tolist() == [1, 2]


@pytest.mark.parametrize(("form", "opset"), [("axis=1, num_outputs=2", 18), ("axis=1", 13), ("axis=1", 11)])
def test_a_split_in_equal_parts_may_become_unequal(form: str, opset: int) -> None:
    text = SPLIT.replace("SPLIT", f"a, b = Split<{form}>(c)").replace("2,2,1,1] va", "2,3,1,1] va")
    model = net(text.replace("2,4,1,1] vb", "2,3,1,1] vb"), opset)
    assert_cut_is_exact(model, "w[0]", 0, 1, 5)


def test_two_splits_that_share_their_sizes_are_cut_apart() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,3,8,8] y) <float[4,3,1,1] w, float[4,3,1,1] u, int64[2] s = {2,2},
        float[3,2,1,1] v1, float[3,2,1,1] v2>
        { c = Conv(x, w)  a, b = Split<axis=1>(c, s)  f = Conv(x, u)  d, e = Split<axis=1>(f, s)
          m = Mul(a, b)  n = Mul(d, e)  o = Conv(m, v1)  p = Conv(n, v2)  y = Add(o, p) }""")
    assert removal(model, "w[0]", 0) == {"v1[1]": [0], "w[0]": [0, 2]}
    assert_cut_is_exact(model, "w[0]", 0)


def test_a_split_that_is_joined_in_another_order_is_followed() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[6,3,1,1] w, int64[2] s = {2,4}, float[2,6,1,1] v>
        { c = Conv(x, w)  a, b = Split<axis=1>(c, s)  r = Relu(a)  j = Concat<axis=1>(b, r)  y = Conv(j, v) }""")
    assert removal(model, "w[0]", 0) == {"v[1]": [4], "w[0]": [0]}
    assert_cut_is_exact(model, "w[0]", 0, 3, 5)


def test_gated_linear_units_lose_both_halves() -> None:
    model = net("""(float[N,3] x) => (float[N,2] y) <float[3,8] w, float[8] b, float[4,2] v>
        { c = Gemm(x, w, b)  p, q = Split<axis=1>(c)  g = Sigmoid(q)  m = Mul(p, g)  y = Gemm(m, v) }""")
    assert removal(model, "w[1]", 1) == {"b[0]": [1, 5], "v[0]": [1], "w[1]": [1, 5]}
    assert_cut_is_exact(model, "w[1]", 1, 2)


# -- Transpose, Squeeze, Unsqueeze -----------------------------------------------------------------------------------


def test_a_transpose_moves_axes() -> None:
    assert list(transpose(first("(float[2,3,4] x) => (float[4,2,3] y) { y = Transpose<perm=[2,0,1]>(x) }"))) == [
        Tie(Axis("x", 2), Axis("y", 0)),
        Tie(Axis("x", 0), Axis("y", 1)),
        Tie(Axis("x", 1), Axis("y", 2)),
    ]


def test_a_transpose_without_order_reverses_it() -> None:
    found = list(transpose(first("(float[2,3] x) => (float[3,2] y) { y = Transpose(x) }")))
    assert found == [Tie(Axis("x", 1), Axis("y", 0)), Tie(Axis("x", 0), Axis("y", 1))]


def test_work_with_the_channels_last_is_seen_through() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[4] b, float[4,5] m,
        float[2,5,1,1] v> { a = Conv(x, w)  t = Transpose<perm=[0,2,3,1]>(a)  s = Add(t, b)  p = MatMul(s, m)
          u = Transpose<perm=[0,3,1,2]>(p)  y = Conv(u, v) }""")
    assert removal(model, "w[0]", 3) == {"b[0]": [3], "m[0]": [3], "w[0]": [3]}
    assert removal(model, "m[1]", 0) == {"m[1]": [0], "v[1]": [0]}


SQUEEZE = "(float[2,3,1,1] x) => (float[2,3] y) <int64[2] axes = {2,-1}> { y = %s }"


@pytest.mark.parametrize(
    ("form", "opset"), [("Squeeze(x, axes)", 13), ("Squeeze<axes=[2,3]>(x)", 11), ("Squeeze(x)", 13), ("Squeeze(x)", 7)]
)
def test_a_squeeze_drops_axes_of_size_one(form: str, opset: int) -> None:
    assert list(squeeze(first(SQUEEZE % form, opset))) == [
        Tie(Axis("x", 0), Axis("y", 0)),
        Tie(Axis("x", 1), Axis("y", 1)),
        *(Pin(Axis("x", d), "kept for Squeeze 'Squeeze_0'") for d in (2, 3)),
    ]


@pytest.mark.parametrize(("form", "opset"), [("Unsqueeze(x, axes)", 13), ("Unsqueeze<axes=[0,2]>(x)", 11)])
def test_an_unsqueeze_adds_axes_of_size_one(form: str, opset: int) -> None:
    text = f"(float[2,3] x) => (float[1,2,1,3] y) <int64[2] axes = {{0,2}}> {{ y = {form} }}"
    assert list(squeeze(first(text, opset))) == [
        Tie(Axis("y", 1), Axis("x", 0)),
        Tie(Axis("y", 3), Axis("x", 1)),
        *(Pin(Axis("y", d), "kept for Unsqueeze 'Unsqueeze_0'") for d in (0, 2)),
    ]


def test_a_squeeze_keeps_axes_of_size_one_that_it_does_not_name() -> None:
    text = "(float[1,3,1,1] x) => (float[1,3] y) <int64[2] axes = {2,-1}> { y = Squeeze(x, axes) }"
    assert Tie(Axis("x", 0), Axis("y", 0)) in list(squeeze(first(text)))


POOLED = """(float[2,3,8,8] x) => (float[2,5] y) <float[4,3,1,1] w, float[4,5] v, int64[2] axes = {2,3}>
    { a = Conv(x, w)  p = GlobalAveragePool(a)  s = %s  y = MatMul(s, v) }"""


@pytest.mark.parametrize(
    ("form", "opset"), [("Squeeze(p, axes)", 17), ("Squeeze(p)", 13), ("Squeeze(p)", 12), ("Squeeze(p)", 7)]
)
def test_a_squeeze_drops_the_same_axes_when_one_channel_is_left(form: str, opset: int) -> None:
    model = net(POOLED % form, opset)
    assert removal(model, "w[0]", 2) == {"v[0]": [2], "w[0]": [2]}
    after = assert_cut_is_exact(model, "w[0]", 0, 1, 3)
    assert after.tensor("s").shape == (2, 1)


def test_a_squeeze_by_name_is_left_as_it_is() -> None:
    model = net(POOLED.replace("[2,3,8,8] x", "[1,3,8,8] x").replace("[2,5] y", "[1,5] y") % "Squeeze(p, axes)")
    after = assert_cut_is_exact(model, "w[0]", 0, 1, 3)
    assert after.tensor("s").shape == (1, 1)


def test_a_constant_vector_may_get_its_axes_in_the_graph() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[4] g, int64[2] axes = {1,2},
        float[2,4,1,1] v> { a = Conv(x, w)  u = Unsqueeze(g, axes)  m = Mul(a, u)  y = Conv(m, v) }""")
    assert removal(model, "g[0]", 1) == {"g[0]": [1], "v[1]": [1], "w[0]": [1]}
    assert_cut_is_exact(model, "g[0]", 0, 3)
