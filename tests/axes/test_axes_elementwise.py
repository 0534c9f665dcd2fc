"""What is known of the axes of operators that work slot by slot."""

from __future__ import annotations

import pytest
from cuts import cut_at, removal, why
from oracle import assert_same_function, net, silenced

from onnxprune.axes.facts import Pin, Tie
from onnxprune.axes.families.elementwise import broadcasting, clip, dropout, unary
from onnxprune.node import Axis


def test_a_unary_operator_ties_every_axis_to_itself() -> None:
    node = net("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }").nodes[0]
    assert list(unary(node)) == [Tie(Axis("x", 0), Axis("y", 0)), Tie(Axis("x", 1), Axis("y", 1))]


@pytest.mark.parametrize(
    ("shape", "ties"),
    [
        ("float[3]", []),
        ("float[4,1,1]", [Tie(Axis("c", 0), Axis("y", 1))]),
        ("float[1,4,1,1]", [Tie(Axis("c", 1), Axis("y", 1))]),
        ("float", []),
        ("float[1]", []),
    ],
)
def test_an_operand_is_aligned_from_the_right_and_size_one_is_stretched(shape: str, ties: list[Tie]) -> None:
    node = net(f"(float[2,4,5,3] x) => (float[2,4,5,3] y) <{shape} c> {{ y = Add(c, x) }}").nodes[0]
    own = [Tie(Axis("x", d), Axis("y", d)) for d in (3, 2, 1, 0)]
    expected = [Tie(Axis("c", 0), Axis("y", 3))] if shape == "float[3]" else ties
    assert list(broadcasting(node)) == [*expected, *own]


def test_both_operands_may_be_stretched() -> None:
    node = net("(float[4,1] x, float[1,5] z) => (float[4,5] y) { y = Mul(x, z) }").nodes[0]
    assert list(broadcasting(node)) == [Tie(Axis("x", 0), Axis("y", 0)), Tie(Axis("z", 1), Axis("y", 1))]


def test_size_one_ties_where_the_output_has_size_one_too() -> None:
    node = net("(float[1,5] x, float[1,5] z) => (float[1,5] y) { y = Mul(x, z) }").nodes[0]
    assert Tie(Axis("z", 0), Axis("y", 0)) in list(broadcasting(node))


def test_a_clip_pins_bounds_that_have_an_axis() -> None:
    text = "(float[2] x) => (float[2] y) <float[1] lo = {-1}, float hi = {1}> { y = Clip(x, lo, hi) }"
    assert list(clip(net(text).nodes[0])) == [Tie(Axis("x", 0), Axis("y", 0)), Pin(Axis("lo", 0), "bound of a Clip")]
    text = "(float[2] x) => (float[2] y) <float lo = {-1}, float[1] hi = {1}> { y = Clip(x, lo, hi) }"
    assert list(clip(net(text).nodes[0]))[1:] == [Pin(Axis("hi", 0), "bound of a Clip")]
    open_below = "(float[2] x) => (float[2] y) <float hi = {1}> { y = Clip(x, , hi) }"
    assert list(clip(net(open_below).nodes[0])) == [Tie(Axis("x", 0), Axis("y", 0))]


def test_a_dropout_ties_its_mask_and_refuses_training() -> None:
    text = """(float[2] x) => (float[2] y, bool[2] m) <float r = {0.5}, bool t = {0}> { y, m = Dropout(x, r, t) }"""
    assert list(dropout(net(text).nodes[0])) == [Tie(Axis("x", 0), Axis("y", 0)), Tie(Axis("x", 0), Axis("m", 0))]
    with pytest.raises(ValueError, match="training"):
        list(dropout(net(text.replace("{0}", "{1}")).nodes[0]))


RESIDUAL = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[8,3,3,3] wa, float[8,3,1,1] wb, float[2,8,1,1] wy>
    { a = Conv<pads=[1,1,1,1]>(x, wa)  b = Conv(x, wb)  s = Add(a, b)  r = Relu(s)  y = Conv(r, wy) }"""


def test_branches_that_meet_in_a_sum_lose_the_same_channels() -> None:
    assert removal(net(RESIDUAL), "wb[0]", 5) == {"wa[0]": [5], "wb[0]": [5], "wy[1]": [5]}


@pytest.mark.parametrize("op", ["Mul", "Sub", "Div", "Max", "Where"])
def test_so_do_branches_that_meet_otherwise(op: str) -> None:
    meet = "p = Greater(a, b)  s = Where(p, a, b)" if op == "Where" else f"s = {op}(a, b)"
    model = net(RESIDUAL.replace("s = Add(a, b)", meet))
    assert removal(model, "wa[0]", 0) == {"wa[0]": [0], "wb[0]": [0], "wy[1]": [0]}


def test_a_branch_that_meets_the_input_stays_whole() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[3,3,1,1] w, float[2,3,1,1] v>
        { a = Conv(x, w)  s = Add(a, x)  y = Conv(s, v) }""")
    assert why(model, "w[0]") == "graph input 'x'"


@pytest.mark.parametrize("meet", ["Add(a, a)", "Mul(a, a)", "Sub(a, a)"])
def test_a_tensor_may_meet_itself(meet: str) -> None:
    model = net(f"""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[2,4,1,1] v>
        {{ a = Conv(x, w)  s = {meet}  y = Conv(s, v) }}""")
    assert removal(model, "w[0]", 1) == {"v[1]": [1], "w[0]": [1]}


def test_a_swish_is_seen_through() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[2,4,1,1] v>
        { a = Conv(x, w)  g = Sigmoid(a)  s = Mul(a, g)  y = Conv(s, v) }""")
    assert removal(model, "w[0]", 1) == {"v[1]": [1], "w[0]": [1]}


@pytest.mark.parametrize("shape", ["4,1,1", "1,1", "1", "1,4,1,1"])
def test_slopes_of_a_prelu_go_with_their_channels(shape: str) -> None:
    model = net(f"""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[{shape}] slope, float[2,4,1,1] v>
        {{ a = Conv(x, w)  p = PRelu(a, slope)  y = Conv(p, v) }}""")
    own = {f"slope[{shape.split(',').index('4')}]": [3]} if "4" in shape else {}
    assert removal(model, "w[0]", 3) == {"v[1]": [3], "w[0]": [3], **own}


def test_a_gate_of_one_channel_is_no_tie() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[1,4,1,1] g, float[2,4,1,1] v>
        { a = Conv(x, w)  b = Conv(a, g)  s = Sigmoid(b)  m = Mul(a, s)  y = Conv(m, v) }""")
    assert removal(model, "w[0]", 3) == {"g[1]": [3], "v[1]": [3], "w[0]": [3]}


def test_squeeze_and_excite_goes_with_the_channels_it_scales() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y)
        <float[4,3,1,1] w, float[2,4,1,1] down, float[4,2,1,1] up, float[2,4,1,1] v>
        { a = Conv(x, w)  m = GlobalAveragePool(a)  d = Conv(m, down)  r = Relu(d)  u = Conv(r, up)
          g = Sigmoid(u)  s = Mul(a, g)  y = Conv(s, v) }""")
    assert removal(model, "w[0]", 1) == {"down[1]": [1], "up[0]": [1], "v[1]": [1], "w[0]": [1]}
    assert removal(model, "down[0]", 0) == {"down[0]": [0], "up[1]": [0]}


def test_a_sum_that_is_cut_to_one_channel_is_not_stretched() -> None:
    model = net(RESIDUAL)
    after, spec = cut_at(model, "wa[0]", *range(7))
    assert after.tensor("s").shape == (1, 1, 8, 8)
    assert_same_function(after, silenced(model, spec))


def test_a_sum_over_a_dynamic_axis_is_understood() -> None:
    model = net(RESIDUAL.replace("float[1,", "float[N,"))
    assert removal(model, "wb[0]", 5) == {"wa[0]": [5], "wb[0]": [5], "wy[1]": [5]}
