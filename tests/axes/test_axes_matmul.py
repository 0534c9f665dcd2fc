"""What is known of the axes of Gemm and MatMul."""

from __future__ import annotations

import pytest
from cuts import assert_cuts_are_exact, axis, cut_at, removal, why
from oracle import assert_same_function, net, silenced

from onnxprune.axes.facts import Pin, Tie
from onnxprune.axes.families.matmul import gemm, matmul
from onnxprune.axes.linear import linear
from onnxprune.axes.rules import facts_of
from onnxprune.node import Axis


def of_gemm(text: str) -> list[object]:
    return list(gemm(net(text).nodes[0]))


def of_matmul(text: str) -> list[object]:
    return list(matmul(net(text).nodes[0]))


def test_a_gemm_reads_with_rows_and_makes_columns() -> None:
    found = of_gemm("(float[2,3] x) => (float[2,4] y) <float[3,4] w, float[4] b> { y = Gemm(x, w, b) }")
    assert found == [
        Tie(Axis("x", 0), Axis("y", 0)),
        Tie(Axis("w", 1), Axis("y", 1)),
        Tie(Axis("x", 1), Axis("w", 0)),
        Tie(Axis("b", 0), Axis("y", 1)),
    ]


def test_a_gemm_with_transposed_weight_reads_with_columns_and_makes_rows() -> None:
    text = "(float[2,3] x) => (float[2,4] y) <float[4,3] w> { y = Gemm<transB=1, alpha=0.5>(x, w) }"
    assert of_gemm(text)[1:] == [Tie(Axis("w", 0), Axis("y", 1)), Tie(Axis("x", 1), Axis("w", 1))]


@pytest.mark.parametrize(
    ("bias", "ties"),
    [
        ("float", []),
        ("float[1]", []),
        ("float[4]", [Tie(Axis("b", 0), Axis("y", 1))]),
        ("float[1,4]", [Tie(Axis("b", 1), Axis("y", 1))]),
        ("float[2,1]", [Tie(Axis("b", 0), Axis("y", 0))]),
        ("float[2,4]", [Tie(Axis("b", 1), Axis("y", 1)), Tie(Axis("b", 0), Axis("y", 0))]),
    ],
)
def test_the_bias_of_a_gemm_is_aligned_from_the_right(bias: str, ties: list[Tie]) -> None:
    assert of_gemm(f"(float[2,3] x) => (float[2,4] y) <float[3,4] w, {bias} b> {{ y = Gemm(x, w, b) }}")[3:] == ties


@pytest.mark.parametrize(
    ("text", "summed"),
    [
        ("(float[3,2] x) => (float[2,4] y) <float[3,4] w> { y = Gemm<transA=1>(x, w) }", ("x[0]", "w[0]")),
        ("(float[4,2] x) => (float[3,2] y) <float[3,4] w> { y = Gemm(w, x) }", ("w[1]", "x[0]")),
        ("(float[2,4] x) => (float[3,2] y) <float[4,3] w> { y = Gemm<transA=1, transB=1>(w, x) }", ("w[0]", "x[1]")),
    ],
)
def test_a_gemm_sums_over_the_same_slots_of_x_and_a_weight_on_either_side(text: str, summed: tuple[str, str]) -> None:
    assert Tie(axis(summed[0]), axis(summed[1])) in of_gemm(text)


WEIGHTLESS = "which has no weight of rank 2 or more on one side alone"


@pytest.mark.parametrize("operator", ["Gemm", "MatMul"])
def test_what_two_computed_operands_sum_over_stays_and_the_rest_passes(operator: str) -> None:
    found = list(facts_of(net(f"(float[2,4] x, float[4,3] z) => (float[2,3] y) {{ y = {operator}(x, z) }}").nodes[0]))
    why = f"summed over by {operator} '{operator}_0', {WEIGHTLESS}"
    assert {fact for fact in found if isinstance(fact, Pin)} == {Pin(axis("x[1]"), why), Pin(axis("z[0]"), why)}
    assert {fact for fact in found if isinstance(fact, Tie)} == {
        Tie(axis("x[0]"), axis("y[0]")),
        Tie(axis("z[1]"), axis("y[1]")),
    }


def test_a_matmul_of_a_matrix_reads_with_rows_and_makes_columns() -> None:
    assert of_matmul("(float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = MatMul(x, w) }") == [
        Tie(Axis("x", 1), Axis("w", 0)),
        Tie(Axis("x", 0), Axis("y", 0)),
        Tie(Axis("w", 1), Axis("y", 1)),
    ]


def test_the_leading_axes_of_a_matmul_pass() -> None:
    assert of_matmul("(float[2,5,6,3] x) => (float[2,5,6,4] y) <float[3,4] w> { y = MatMul(x, w) }") == [
        Tie(Axis("x", 3), Axis("w", 0)),
        Tie(Axis("x", 2), Axis("y", 2)),
        Tie(Axis("w", 1), Axis("y", 3)),
        Tie(Axis("x", 1), Axis("y", 1)),
        Tie(Axis("x", 0), Axis("y", 0)),
    ]


def test_the_batch_of_a_weight_is_that_of_what_it_reads_and_makes() -> None:
    found = of_matmul("(float[2,5,3] x) => (float[2,5,4] y) <float[2,3,4] w> { y = MatMul(x, w) }")
    assert found == [
        Tie(Axis("x", 2), Axis("w", 1)),
        Tie(Axis("x", 1), Axis("y", 1)),
        Tie(Axis("w", 2), Axis("y", 2)),
        Tie(Axis("x", 0), Axis("y", 0)),
        Tie(Axis("w", 0), Axis("y", 0)),
    ]


def test_a_matmul_of_a_vector_has_no_row_axis() -> None:
    assert of_matmul("(float[3] x) => (float[4] y) <float[3,4] w> { y = MatMul(x, w) }") == [
        Tie(Axis("x", 0), Axis("w", 0)),
        Tie(Axis("w", 1), Axis("y", 0)),
    ]


def test_a_vector_meets_every_weight_of_a_batch() -> None:
    assert of_matmul("(float[3] x) => (float[2,4] y) <float[2,3,4] w> { y = MatMul(x, w) }") == [
        Tie(Axis("x", 0), Axis("w", 1)),
        Tie(Axis("w", 2), Axis("y", 1)),
        Tie(Axis("w", 0), Axis("y", 0)),
    ]


def test_a_left_hand_weight_reads_rows_of_x() -> None:
    assert of_matmul("(float[2,3,5] x) => (float[2,4,5] y) <float[4,3] w> { y = MatMul(w, x) }") == [
        Tie(Axis("w", 1), Axis("x", 1)),
        Tie(Axis("w", 0), Axis("y", 1)),
        Tie(Axis("x", 2), Axis("y", 2)),
        Tie(Axis("x", 0), Axis("y", 0)),
    ]


def test_a_product_with_a_constant_vector_keeps_what_it_sums_over() -> None:
    found = of_matmul("(float[2,3] x) => (float[2] y) <float[3] w> { y = MatMul(x, w) }")
    why = f"summed over by MatMul 'MatMul_0', {WEIGHTLESS}"
    assert found == [Pin(Axis("x", 1), why), Pin(Axis("w", 0), why), Tie(Axis("x", 0), Axis("y", 0))]


def test_the_linear_view_says_which_axis_makes_and_which_reads() -> None:
    views = [
        linear(net(text).nodes[0])
        for text in (
            "(float[2,6,8,8] x) => (float[2,4,8,8] y) <float[4,3,1,1] w> { y = Conv<group=2>(x, w) }",
            "(float[2,6,8,8] x) => (float[2,4,8,8] y) <float[4,6,1,1] w> { y = Conv(x, w) }",
            "(float[2,3] x) => (float[2,4] y) <float[4,3] w> { y = Gemm<transB=1>(x, w) }",
            "(float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = Gemm(x, w) }",
            "(float[2,5,3] x) => (float[2,5,4] y) <float[2,3,4] w> { y = MatMul(x, w) }",
            "(float[2,3] x) => (float[4,2] y) <float[4,3] w> { y = Gemm<transB=1>(w, x) }",
            "(float[3,2] x) => (float[2,4] y) <float[3,4] w> { y = Gemm<transA=1>(x, w) }",
            "(float[2,3,5] x) => (float[2,4,5] y) <float[4,3] w> { y = MatMul(w, x) }",
            "(float[2,6,8,8] x) => (float[2,4,8,8] y) <float[6,2,1,1] w> { y = ConvTranspose<group=2>(x, w) }",
            "(float[2,6,8,8] x) => (float[2,6,8,8] y) <float[6,1,1,1] w> { y = ConvTranspose<group=6>(x, w) }",
            '(float[2,3,5] x) => (float[2,5,4] y) <float[4,3] w> { y = Einsum<equation="oi,bij->bjo">(w, x) }',
        )
    ]
    assert [(v.made.dim, v.read.dim, v.groups, v.x_channel, v.y_channel) for v in views if v is not None] == [
        (0, 1, 2, 1, 1),
        (0, 1, 1, 1, 1),
        (0, 1, 1, -1, -1),
        (1, 0, 1, -1, -1),
        (2, 1, 1, -1, -1),
        (0, 1, 1, -1, -2),
        (1, 0, 1, -2, -1),
        (0, 1, 1, -2, -2),
        (1, 0, 2, 1, 1),
        (0, 1, 6, 1, 1),
        (0, 1, 1, 1, 2),
    ]


def test_other_operators_are_not_linear() -> None:
    for text in ("{ y = Relu(x) }", "<float[2,3] w> { y = Add(x, w) }", "<float[3] w> { y = PRelu(x, w) }"):
        assert linear(net(f"(float[2,3] x) => (float[2,3] y) {text}").nodes[0]) is None


LAYERS = """(float[N,3] x) => (float[N,2] y) <float[3,6] w1, float[1,6] b1, float[5,6] w2, float[5] b2, float[5,2] w3>
    { a = Gemm(x, w1, b1)  r = Relu(a)  c = Gemm<transB=1, alpha=0.5, beta=2.0>(r, w2, b2)  y = MatMul(c, w3) }"""


def test_units_go_with_their_bias_and_what_reads_them() -> None:
    model = net(LAYERS)
    assert removal(model, "w1[1]", 4) == {"b1[1]": [4], "w1[1]": [4], "w2[1]": [4]}
    assert removal(model, "w2[0]", 0) == {"b2[0]": [0], "w2[0]": [0], "w3[0]": [0]}


def test_tokens_share_the_features_of_a_dense_layer() -> None:
    model = net("""(float[N,7,3] x) => (float[N,7,2] y) <float[3,6] w1, float[6] b1, float[6,2] w2>
        { a = MatMul(x, w1)  b = Add(b1, a)  r = Relu(b)  y = MatMul(r, w2) }""")
    assert removal(model, "b1[0]", 5) == {"b1[0]": [5], "w1[1]": [5], "w2[0]": [5]}


def test_a_matmul_over_positions_lets_channels_pass() -> None:
    model = net("""(float[N,3,8] x) => (float[N,2,5] y) <float[4,3,1] w, float[8,5] m, float[2,4,1] v>
        { a = Conv(x, w)  b = MatMul(a, m)  y = Conv(b, v) }""")
    assert removal(model, "w[0]", 2) == {"v[1]": [2], "w[0]": [2]}
    assert why(model, "m[0]") is not None


def test_heads_of_a_batched_weight_stay_and_their_features_go_in_all() -> None:
    model = net("""(float[3,5,4] x) => (float[3,5,2] y) <float[3,4,6] w, float[3,6,2] v>
        { a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }""")
    assert removal(model, "w[2]", 1) == {"v[1]": [1], "w[2]": [1]}
    assert why(model, "w[0]") == "graph input 'x'"
    after, spec = cut_at(model, "w[2]", 1, 4)
    assert_same_function(after, silenced(model, spec))


def test_attention_scores_pin_queries_and_keys() -> None:
    model = net("""(float[2,5,4] x) => (float[2,5,5] y) <float[4,6] q, float[4,6] k>
        { a = MatMul(x, q)  b = MatMul(x, k)  t = Transpose<perm=[0,2,1]>(b)  y = MatMul(a, t) }""")
    assert WEIGHTLESS in (why(model, "q[1]") or "")
    assert WEIGHTLESS in (why(model, "k[1]") or "")


def test_an_embedding_that_is_also_the_output_layer_is_cut_once_for_both() -> None:
    model = net("""(float[2,6] x) => (float[2,6] y) <float[6,4] w>
        { a = MatMul(x, w)  t = Transpose(w)  y = MatMul(a, t) }""")
    assert removal(model, "w[1]", 2) == {"w[1]": [2]}
    assert_cuts_are_exact(model)
