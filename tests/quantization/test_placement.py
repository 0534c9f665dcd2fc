"""What is computed on integers: the layers, and what lies between them; each net is a sentence about a rule."""

from __future__ import annotations

import pytest
from oracle import net

from onnxprune.model import Model
from onnxprune.quantization.placement import Placement, placed

WEIGHTS = "<float[6,3,3,3] w, float[6] b, float[2,6,1,1] v, float[6,3,1,1] u>"


def conv(body: str, outputs: str = "float[1,2,A,B] y") -> Model:
    return net(f"(float[1,3,6,6] x) => ({outputs}) {WEIGHTS} {{ {body} }}")


def tensors(model: Model, *excluded: str) -> str:
    """The tensors on grids, in order; an apostrophe marks those that only kernels read so."""
    found = placed(model, excluded)
    return " ".join(site.tensor + ("" if site.made else "'") for site in found.sites)


def ops(model: Model, found: Placement) -> str:
    return " ".join(model.node(name).op for name in found.nodes)


def test_a_layer_reads_and_makes_what_is_on_a_grid() -> None:
    assert tensors(conv("y = Conv(x, w)", "float[1,6,4,4] y")) == "x' y"


@pytest.mark.parametrize("clip", ["Relu(a)", "Clip(a)"])
def test_nothing_stands_between_a_layer_and_its_activation(clip: str) -> None:
    assert tensors(conv(f"a = Conv(x, w, b)  r = {clip}  y = Conv(r, v)")) == "x' r y"


def test_an_activation_that_is_no_clip_is_computed_in_float() -> None:
    assert tensors(conv("a = Conv(x, w, b)  r = Elu(a)  y = Conv(r, v)")) == "x' a r' y"


def test_an_activation_is_a_step_of_its_own_where_somebody_else_reads_what_it_reads() -> None:
    model = conv("a = Conv(x, w, b)  r = Relu(a)  s = Elu(a)  t = Add(r, s)  y = Conv(t, v)")
    assert tensors(model) == "x' a t' y"


def test_a_sum_joins_where_it_reads_integers_alone() -> None:
    model = conv("a = Conv(x, u)  c = Conv(x, u)  s = Add(a, c)  r = Relu(s)  y = Conv(r, v)")
    assert tensors(model) == "x' a c r y"
    assert ops(model, placed(model)) == "Conv Conv Add Conv"
    model = conv("a = Conv(x, u)  e = Exp(a)  s = Add(a, e)  y = Conv(s, v)")
    assert ops(model, placed(model)) == "Conv Conv"


def test_what_leads_to_no_layer_stays_in_float() -> None:
    model = conv("a = Conv(x, u)  c = Conv(x, u)  s = Add(a, c)  y = Relu(s)", "float[1,6,6,6] y")
    assert tensors(model) == "x' a c"


def test_what_is_only_moved_stays_on_its_grid() -> None:
    model = conv(
        "a = Conv(x, w, b)  m = MaxPool<kernel_shape=[2,2]>(a)  t = Transpose<perm=[0,1,3,2]>(m)  y = Conv(t, v)"
    )
    assert tensors(model) == "x' a m t y"
    assert sorted(map(len, placed(model).grids.values())) == [1, 1, 3]


def test_what_is_put_together_shares_a_grid_where_nobody_else_reads_it() -> None:
    model = conv("a = Conv(x, u)  c = Conv(x, u)  s = Concat<axis=2>(a, c)  y = Conv(s, v)")
    assert sorted(map(len, placed(model).grids.values())) == [1, 1, 3]
    model = conv("a = Conv(x, u)  c = Conv(x, u)  s = Concat<axis=2>(a, c)  e = Elu(a)  t = Add(s, s)  y = Conv(t, v)")
    assert "a" not in placed(model).grids[next(site.grid for site in placed(model).sites if site.tensor == "s")]


def test_what_is_clipped_shares_no_grid_with_what_is_not() -> None:
    """On the grid of both it could not end where the Relu ends."""
    model = conv("a = Conv(x, u)  r = Relu(a)  c = Conv(x, u)  s = Concat<axis=2>(r, c)  y = Conv(s, v)")
    assert sorted(map(len, placed(model).grids.values())) == [1, 1, 1, 2]
    model = conv("a = Conv(x, u)  r = Relu(a)  c = Conv(x, u)  q = Relu(c)  s = Concat<axis=2>(r, q)  y = Conv(s, v)")
    assert sorted(map(len, placed(model).grids.values())) == [1, 1, 3]


def test_a_dense_layer_leaves_its_output_in_float_unless_integers_are_needed_next() -> None:
    model = net("(float[1,4] x) => (float[1,2] y) <float[4,4] w, float[4,2] v> { a = MatMul(x, w)  y = MatMul(a, v) }")
    assert tensors(model) == "x' a"


def test_what_is_excluded_stays_in_float_and_so_does_what_only_it_needs() -> None:
    model = conv("a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v)")
    first, _, last = (node.name for node in model.nodes)
    assert tensors(model, last) == "x' r"
    assert tensors(model, first) == "r' y"
    assert placed(model, [first, last]).nodes == ()
    assert placed(model, [first]).floats == {first: "excluded"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(float16[1,3,6,6] x) => (float16[1,6,4,4] y) <float16[6,3,3,3] w> { y = Conv(x, w) }", "float16"),
        ("(float[2,3] x, float[3,4] w) => (float[2,4] y) { y = Gemm(x, w) }", "computed at run time"),
        ("(float[3,2] x) => (float[2,4] y) <float[3,4] w> { y = Gemm<transA=1>(x, w) }", "from the right"),
        ("(float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = Gemm<alpha=0.5>(x, w) }", "alpha"),
        ("(float[2,3] x) => (float[2,4] y) <float[3,4] w, float[2,4] c> { y = Gemm(x, w, c) }", "bias 'c'"),
    ],
)
def test_a_layer_without_a_kernel_stays_in_float_and_says_why(text: str, why: str) -> None:
    found = placed(net(text))
    (said,) = found.floats.values()
    assert (found.nodes, found.sites) == ((), ())
    assert why in said
