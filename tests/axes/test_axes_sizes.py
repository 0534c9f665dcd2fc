"""Sizes that the graph computes from shapes: what is made by them follows a cut, what counts by them does not."""

from __future__ import annotations

import pytest
from cuts import assert_cuts_are_exact, cut_at, removal, why
from oracle import assert_same_function, net, silenced

from onnxprune.axes.facts import Free, Pin
from onnxprune.axes.rules import facts_of
from onnxprune.model import Model
from onnxprune.node import Axis

SIZES = "".join(f", int64[1] o{k} = {{{k}}}" for k in range(5)) + ", int64[1] rest = {-1}"
READ = "".join(f"  {name} = Gather(s, o{dim})" for dim, name in enumerate(("n", "c", "h", "wide")))
SHAPED = """(float[{}] x) => (float[{}] y) <float[6,3,1,1] w, float[2,6,1,1] v, float[96,5] f, float[6] six{}>
    {{ a = Conv(x, w)  r = Relu(a)  s = Shape(r){}  {}  y = {} }}"""
IMAGE = ("N,3,H,W", "N,2,A,B")
FLAT = ("N,3,4,4", "N,5")


def shaped(sides: tuple[str, str], body: str, end: str, opset: int = 17) -> Model:
    """Six channels r, their shape s, and its parts n, c, h and wide, from which the body makes what is read last."""
    return net(SHAPED.format(*sides, SIZES, READ, body, end), opset)


CASES = {
    "flattened by the batch": (FLAT, "t = Concat<axis=0>(n, rest)  b = Reshape(r, t)", "MatMul(b, f)"),
    "flattened by all sizes": (
        FLAT, "i = Mul(h, wide)  j = Mul(i, c)  t = Concat<axis=0>(rest, j)  b = Reshape(r, t)", "MatMul(b, f)"),
    "tokens and back": (
        IMAGE, "t = Concat<axis=0>(n, c, rest)  b = Reshape(r, t)  g = Neg(b)  e = Reshape(g, s)", "Conv(e, v)"),
    "shuffled": (
        IMAGE, "t = Concat<axis=0>(n, o2, o3, h, wide)  b = Reshape(r, t)"
               "  p = Transpose<perm=[0,2,1,3,4]>(b)  e = Reshape(p, s)", "Conv(e, v)"),
    "a part of the shape": (
        IMAGE, "q = Slice(s, o0, o2)  t = Concat<axis=0>(q, rest)  b = Reshape(r, t)  e = Reshape(b, s)", "Conv(e, v)"),
    "of the shape of another": (IMAGE, "g = Neg(r)  z = Shape(g)  e = Reshape(r, z)", "Conv(e, v)"),
    "expanded": (IMAGE, "g = GlobalAveragePool(r)  e = Expand(g, s)  u = Sub(r, e)", "Conv(u, v)"),
    "expanded by a short shape": (IMAGE, "q = Slice(s, o1, o4)  e = Expand(r, q)", "Conv(e, v)"),
    "expanded from a vector": (
        IMAGE, "z = Transpose<perm=[0,2,3,1]>(r)  t = Shape(z)  e = Expand(six, t)  u = Mul(z, e)"
               "  k = Transpose<perm=[0,3,1,2]>(u)", "Conv(k, v)"),
    "zeros of the shape": (IMAGE, "z = ConstantOfShape(s)  u = Max(a, z)", "Conv(u, v)"),
    "a size of a size": (IMAGE, "z = ConstantOfShape(s)  t = Shape(z)  e = Expand(z, t)  u = Max(a, e)", "Conv(u, v)"),
    "divided by the number of channels": (
        IMAGE, "g = ReduceSum<keepdims=1>(m, o1)  k = Cast<to=1>(c)  d = Div(g, k)  u = Sigmoid(d)", "Mul(m, u)"),
    "scaled by the number of channels": (IMAGE, "k = Cast<to=1>(c)  q = Sqrt(k)  u = Div(r, q)", "Conv(u, v)"),
}  # fmt: skip


def case(name: str) -> Model:
    sides, body, end = CASES[name]
    return shaped(sides, body if "m," not in body else "m = Conv(r, v)  " + body, end)


@pytest.mark.parametrize("name", CASES)
def test_what_is_shaped_by_sizes_is_cut_exactly(name: str) -> None:
    model = case(name)
    assert removal(model, "w[0]", 2).keys() >= {"w[0]"}
    assert_cuts_are_exact(model, seeds=5)


def test_a_shape_does_not_mind_which_channels_go() -> None:
    (node,) = (node for node in case("expanded").nodes if node.op == "Shape")
    assert [f for f in facts_of(node) if isinstance(f, Free)] == [Free(Axis("r", d)) for d in range(4)]
    assert [f.axis for f in facts_of(node) if isinstance(f, Pin)] == [Axis("s", 0)]


def test_a_shape_that_is_a_number_goes_on_saying_the_size_of_before() -> None:
    model = case("scaled by the number of channels")
    after, spec = cut_at(model, "w[0]", 0, 3)
    assert after.tensor("r").shape[1:2] == (4,)
    assert_same_function(after, silenced(model, spec))
    (concat,) = (node for node in after.nodes if node.y().name == "s")
    told = [t.value().tolist() for t in concat.inputs if t is not None and t.constant]
    assert told == [[6]]


@pytest.mark.parametrize(
    ("form", "cut"),
    [("start=1, end=2", True), ("start=-3, end=-2", True), ("start=1", True), ("end=2", True), ("start=2", False)],
)
def test_a_part_of_a_shape_is_held_where_it_has_the_channels(form: str, cut: bool) -> None:
    text = f"z = Shape<{form}>(r)  k = Cast<to=1>(z)  q = ReduceSum<keepdims=0>(k)  u = Div(r, q)"
    model = shaped(IMAGE, text, "Conv(u, v)")
    assert_cuts_are_exact(model)
    after, _ = cut_at(model, "w[0]", 1)
    assert [node.op for node in after.nodes if node.y().name == "z"] == ["Concat" if cut else "Shape"]


@pytest.mark.parametrize("opset", [8, 9, 11, 13])
def test_sizes_are_written_in_the_form_of_the_opset(opset: int) -> None:
    model = shaped(IMAGE, "k = Cast<to=1>(c)  q = Sqrt(k)  u = Div(r, q)  e = Expand(u, s)", "Conv(e, v)", opset)
    assert_cuts_are_exact(model)


def test_the_number_of_elements_is_part_of_the_function() -> None:
    model = shaped(IMAGE, "k = Size(r)  q = Cast<to=1>(k)  u = Div(r, q)", "Conv(u, v)")
    assert why(model, "w[0]") == "Size 'Size_7': the number of elements is part of the function"


def test_a_reshape_that_may_mix_dynamic_sizes_keeps_the_channels() -> None:
    """Here the batch takes half of the rows: names of sizes tell it, numbers do not."""
    body = "n2 = Mul(n, o2)  h2 = Div(h, o2)  t = Concat<axis=0>(n2, c, h2, wide)  b = Reshape(r, t)"
    model = shaped(("N,3,H,W", "M,2,A,B"), body, "Conv(b, v)")
    assert why(model, "w[0]") == "kept whole by Reshape 'Reshape_10': it merges or splits sizes known at run time only"


def test_a_range_keeps_what_it_counts() -> None:
    model = net("""(float[2,3] x) => (float[2,6] y) <float[3,6] w, int64 zero = {0}, int64 one = {1}, int64 six = {6}>
        { a = MatMul(x, w)  i = Range(zero, six, one)  k = Cast<to=1>(i)  y = Add(a, k) }""")
    assert (why(model, "w[1]") or "") != ""
    (node,) = (node for node in model.nodes if node.op == "Range")
    (reason,) = {f.why for f in facts_of(node) if isinstance(f, Pin)}
    assert reason == "Range 'Range_1': every slot has a value that no other range has"


def test_sizes_that_two_share_are_written_for_each() -> None:
    model = net("""(float[N,3,4,4] x) => (float[N,5] y) <float[6,3,1,1] w, float[6,3,1,1] u, int64[1] o0 = {0},
        int64[1] o1 = {1}, int64[1] rest = {96}, float[96,5] f, float[96,5] g>
        { a = Conv(x, w)  b = Conv(x, u)  s = Shape(a)  n = Slice(s, o0, o1)  t = Concat<axis=0>(n, rest)
          c = Reshape(a, t)  d = Reshape(b, t)  p = MatMul(c, f)  q = MatMul(d, g)  y = Add(p, q) }""")
    after, spec = cut_at(model, "w[0]", 1, 4)
    assert [after.tensor(name).shape[1:] for name in ("c", "d")] == [(64,), (96,)]
    assert_same_function(after, silenced(model, spec))
    assert_cuts_are_exact(model)
