"""Products of matrices in every form: a weight on either side, batched or not, and equations of Einsum."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cuts import assert_cuts_are_exact, axis, removal, why
from oracle import net

from onnxprune.axes.einsum import Terms
from onnxprune.axes.facts import Fact, Pin, Tie
from onnxprune.axes.rules import facts_of

FORMS = {
    "transA": """(float[3,N] x) => (float[N,2] y) <float[3,6] w, float[6] b, float[6,2] v>
        { a = Gemm<transA=1>(x, w, b)  r = Relu(a)  y = Gemm(r, v) }""",
    "transA behind a channel": """(float[N,3] x) => (float[N,2] y) <float[3,6] w, float[6,2] v>
        { a = Gemm(x, w)  t = Transpose(a)  y = Gemm<transA=1>(t, v) }""",
    "transA and transB": """(float[3,N] x) => (float[N,2] y) <float[6,3] w, float[6] b, float[2,6] v>
        { a = Gemm<transA=1, transB=1>(x, w, b)  r = Relu(a)  y = Gemm<transB=1>(r, v) }""",
    "alpha and beta": """(float[N,3] x) => (float[N,2] y) <float[3,6] w, float[1,6] b, float[6,2] v>
        { a = Gemm<alpha=0.3, beta=-2.0>(x, w, b)  r = Relu(a)  y = Gemm<alpha=2.0>(r, v) }""",
    "Gemm with the weight first": """(float[3,5] x) => (float[2,5] y) <float[6,3] w, float[6,1] b, float[2,6] v>
        { a = Gemm(w, x, b)  r = Relu(a)  y = Gemm(v, r) }""",
    "Gemm with the weight first, transposed": """(float[5,3] x) => (float[2,5] y) <float[3,6] w, float[6,1] b,
        float[6,2] v>
        { a = Gemm<transA=1, transB=1>(w, x, b)  r = Relu(a)  y = Gemm<transA=1>(v, r) }""",
    "MatMul with the weight first": """(float[N,3,5] x) => (float[N,2,5] y) <float[6,3] w, float[6,1] b, float[2,6] v>
        { a = MatMul(w, x)  s = Add(a, b)  r = Relu(s)  y = MatMul(v, r) }""",
    "a batch of weights": """(float[4,5,3] x) => (float[4,5,2] y) <float[4,3,6] w, float[4,1,6] b, float[4,6,2] v>
        { a = MatMul(x, w)  s = Add(a, b)  r = Relu(s)  y = MatMul(r, v) }""",
    "a batch of weights first": """(float[4,3,5] x) => (float[4,2,5] y) <float[4,6,3] w, float[4,2,6] v>
        { a = MatMul(w, x)  r = Relu(a)  y = MatMul(v, r) }""",
    "one input for a batch of weights": """(float[5,3] x) => (float[5,2] y) <float[4,3,6] w, float[4,6,2] v, int64[1]
        d = {0}>
        { a = MatMul(x, w)  r = Relu(a)  m = MatMul(r, v)  y = ReduceSum<keepdims=0>(m, d) }""",
    "a vector": """(float[3] x) => (float[2] y) <float[3,6] w, float[6,2] v> { a = MatMul(x, w)  r = Tanh(a)  y =
        MatMul(r, v) }""",
    "a vector behind the weight": """(float[3] x) => (float[2] y) <float[6,3] w, float[2,6] v>
        { a = MatMul(w, x)  r = Tanh(a)  y = MatMul(v, r) }""",
    "attention": """(float[N,5,4] x) => (float[N,5,2] y) <float[4,6] q, float[4,6] k, float[4,7] w, float[7,2] v>
        { a = MatMul(x, q)  b = MatMul(x, k)  t = Transpose<perm=[0,2,1]>(b)  s = MatMul(a, t)  h = Sigmoid(s)
          c = MatMul(x, w)  m = MatMul(h, c)  y = MatMul(m, v) }""",
    "a product of weights": """(float[N,3] x) => (float[N,2] y) <float[3,4] p, float[4,6] q, float[6,2] v>
        { w = MatMul(p, q)  a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }""",
    "half": """(float16[N,3] x) => (float16[N,2] y) <float16[3,6] w, float16[6] b, float16[6,2] v>
        { a = Gemm(x, w, b)  r = Relu(a)  y = MatMul(r, v) }""",
}


@pytest.mark.parametrize("form", FORMS)
def test_products_are_cut_exactly(form: str) -> None:
    assert_cuts_are_exact(net(FORMS[form]), rtol=1e-2 if form == "half" else 1e-5)


def test_of_attention_the_values_are_cut_and_what_scores_sum_over_stays() -> None:
    model = net(FORMS["attention"])
    assert removal(model, "w[1]", 3) == {"v[0]": [3], "w[1]": [3]}
    assert (why(model, "q[1]") or "").startswith("summed over by MatMul 'MatMul_3'")
    assert (why(model, "k[1]") or "").startswith("summed over by MatMul 'MatMul_3'")


def test_the_inner_size_of_a_product_of_weights_stays() -> None:
    model = net(FORMS["a product of weights"])
    assert removal(model, "q[1]", 0) == {"q[1]": [0], "v[0]": [0]}
    assert (why(model, "p[1]") or "").startswith("summed over by MatMul 'MatMul_0'")


EQUATIONS = {  # the first makes a, of the channels c, of x and w; the second reads them with v
    "ni,ic->nc": ("nc,co->no", "2,3", "3,6", "6,4"),
    "ni,ci->cn": ("cn,co->on", "2,3", "6,3", "6,4"),
    "bthi,ic->bthc": ("bthc,oc->bhto", "2,3,2,4", "4,6", "5,6"),
    "...i,ic->...c": ("...c,co->...o", "2,5,3", "3,6", "6,4"),
    "...i,ci": ("...c,co->...o", "2,5,3", "6,3", "6,4"),  # implicit: the ellipsis before c
    "bi,bic->bc": ("bc,bco->bo", "4,3", "4,3,6", "4,6,2"),
    "bid,cid->bcd": ("bcd,oc->bod", "2,3,4", "6,3,4", "5,6"),
    "zi,ic": ("cz,co", "2,3", "3,6", "6,4"),  # implicit: c before z
    "bhwi,ic->bchw": ("bchw,co->bohw", "2,3,3,4", "4,6", "6,3"),
}


@pytest.mark.parametrize("first", EQUATIONS)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_channels_of_an_einsum_are_cut_exactly(first: str, swapped: bool) -> None:
    second, x, w, v = EQUATIONS[first]
    terms = [(first, "x", "w"), (second, "r", "v")]
    calls = []
    for equation, left, right in terms:
        operands, arrow, made = equation.partition("->")
        order = (right, left) if swapped else (left, right)
        read = ",".join(operands.split(",")[:: -1 if swapped else 1])
        calls.append(f'Einsum<equation="{read}{arrow}{made}">({order[0]}, {order[1]})')
    model = net(
        f"(float[{x}] x) => (float[] y) <float[{w}] w, float[{v}] v> {{ a = {calls[0]} r = Relu(a) y = {calls[1]} }}"
    )
    assert removal(model, f"w[{w.split(',').index('6')}]", 2)
    assert_cuts_are_exact(model)


def terms(equation: str, *shapes: str) -> Terms | None:
    inputs = ", ".join(f"float[{shape}] {name}" for shape, name in zip(shapes, "abc", strict=False))
    node = net(f'({inputs}) => (float[] y) {{ y = Einsum<equation="{equation}">({",".join("abc"[: len(shapes)])}) }}')
    return Terms.of(node.nodes[0])


def facts(equation: str, *operands: str) -> list[Fact]:
    """Of an equation of x and a weight w, or of x alone."""
    x, *w = operands
    weight = f"<float[{w[0]}] w>" if w else ""
    read = "x, w" if w else "x"
    text = f'(float[{x}] x) => (float[] z) {weight} {{ y = Einsum<equation="{equation}">({read}) z = Relu(y) }}'
    return list(facts_of(net(text).nodes[0]))


def test_an_equation_without_an_output_makes_what_occurs_once_in_the_order_of_the_alphabet() -> None:
    assert terms("ba,cb", "2,3", "4,2") == Terms((("b", "a"), ("c", "b")), ("a", "c"))
    assert terms("c...,ba", "2,3,4", "5,6") == Terms((("c", "1", "0"), ("b", "a")), ("1", "0", "a", "b", "c"))
    assert terms("ii", "3,3") == Terms((("i", "i"),), ())


def test_an_ellipsis_is_as_long_as_its_operand_has_dimensions_left() -> None:
    expected = Terms((("1", "0", "i"), ("i", "1", "0", "j")), ("1", "0", "j"))
    assert terms(" ...i , i...j -> ...j ", "2,3,4", "4,2,3,5") == expected


def test_an_index_that_occurs_twice_in_one_operand_is_its_diagonal() -> None:
    assert facts("iij->ij", "3,3,2") == [
        Tie(axis("x[0]"), axis("y[0]")),
        Tie(axis("x[1]"), axis("y[0]")),
        Tie(axis("x[2]"), axis("y[1]")),
    ]


def test_one_slot_that_an_ellipsis_stretches_is_not_tied() -> None:
    found = facts("...i,...ij->...j", "5,4", "1,4,3")
    assert Tie(axis("x[0]"), axis("y[0]")) in found
    assert not [f for f in found if isinstance(f, Tie) and axis("w[0]") in (f.a, f.b)]


SUMMED = "summed over by Einsum 'Einsum_0'"


@pytest.mark.parametrize(
    ("equation", "x", "w", "pinned"),
    [
        ("ij,jk->i", "3,4", "4,5", {"w[1]": SUMMED, "x[1]": SUMMED, "w[0]": SUMMED}),  # makes no channels
        ("ijk,jkl->il", "3,4,2", "4,2,5", {"x[1]": SUMMED, "x[2]": SUMMED, "w[0]": SUMMED, "w[1]": SUMMED}),
        ("jj,ij->i", "4,4", "3,4", {"x[0]": SUMMED, "x[1]": SUMMED, "w[1]": SUMMED}),  # a diagonal is cut on both sides
        ("ij,jk->ik", "3,5", "1,2", {"x[1]": SUMMED, "w[0]": SUMMED}),  # one slot meets all
        ("ijm,jk->ik", "3,4,2", "4,5", {"x[2]": SUMMED}),
        ("ij,jkm->ik", "3,4", "4,5,2", {"w[2]": SUMMED}),
    ],
)
def test_what_an_equation_sums_over_stays_unless_a_weight_alone_reads_it(
    equation: str, x: str, w: str, pinned: dict[str, str]
) -> None:
    found = facts(equation, x, w)
    assert {f for f in found if isinstance(f, Pin)} == {Pin(axis(where), why) for where, why in pinned.items()}


def test_what_three_operands_sum_over_stays() -> None:
    model = net("""(float[2,3] x, float[2,5] z) => (float[2,5,7] y) <float[3,6] w, float[6,7] u>
        { a = MatMul(x, w)  y = Einsum<equation="ni,ic,nz->nzc">(a, u, z) }""")
    assert why(model, "w[1]") == "summed over by Einsum 'Einsum_1'"


def test_an_equation_that_does_not_fit_is_refused() -> None:
    (node,) = net('(float[2,3] x) => (float[3,2] y) { y = Einsum<equation="ij->ji">(x) }').nodes
    other = replace(node, attrs={"equation": "ijk->ji"})
    assert {f.why for f in facts_of(other) if isinstance(f, Pin)} == {
        "Einsum 'Einsum_0': the equation 'ijk->ji' does not fit its operands"
    }
