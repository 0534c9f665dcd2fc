"""What is constant is computed once and for all; what has no effect goes; what is stored small stays small."""

from __future__ import annotations

import numpy as np
import pytest
from folds import assert_folds, assert_stays, fold, ops
from onnx import helper
from oracle import assert_same_function, feeds, net, net_proto, run

from onnxprune.constants import constant_values
from onnxprune.model import Model

IMAGE = "(float[N,3,4,4] x) => (float[N,4,A,B] y)"


# -- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "made"),
    [
        pytest.param("float[3,4,1,1] s", "w = Transpose<perm=[1,0,2,3]>(s)", id="transposed"),
        pytest.param("float[12] s, int64[4] t = {4,3,1,1}", "w = Reshape(s, t)", id="reshaped"),
        pytest.param("float[4,3,1,1] s, float two = {2}", "w = Mul(s, two)", id="scaled"),
        pytest.param("float[2,3,1,1] s, float[2,3,1,1] t", "w = Concat<axis=0>(s, t)", id="joined"),
        pytest.param("float[6,3,1,1] s", "w, u = Split<axis=0>(s, z)", id="a part"),
        pytest.param("float16[3,4] s, int64[2] a = {2,3}", "t = Transpose(s)  u = Cast<to=1>(t)  w = Unsqueeze(u, a)",
                     id="in three steps"),
    ],
)  # fmt: skip
def test_a_weight_that_is_computed_from_constants_is_stored(declared: str, made: str) -> None:
    declared += ", int64[2] z = {4,2}" * ("Split" in made)
    text = f"{IMAGE} <{declared}, float[4] b> {{ {made}  y = Conv(x, w, b) }}"
    after = assert_folds(text, "Conv")
    assert {t.name for t in after.constants} == {"w", "b"}
    assert np.array_equal(after.tensor("w").value(), constant_values(net(text))["w"])


@pytest.mark.parametrize("reader", ["Conv(z, s)", "Conv(z, t)"])
def test_a_weight_that_is_computed_from_a_shared_one_stays_computed(reader: str) -> None:
    """Frozen it would be stored twice, and no longer be one."""
    made = "w = Transpose<perm=[1,0,2,3]>(s)" + "  t = Neg(s)" * ("t" in reader)
    assert_stays(f"""(float[N,3,4,4] x, float[N,3,4,4] z) => (float[N,3,4,4] y) <float[3,3,1,1] s>
                     {{ {made}  a = Conv(x, w)  b = {reader}  y = Add(a, b) }}""")


def test_weights_that_share_only_a_vector_on_the_way_are_stored() -> None:
    """As standardised weights do: shapes and factors that are equal stand in the file once."""
    text = """(float[N,3,4,4] x) => (float[N,5,4,4] y)
        <float[3,4] s, float[4,5] t, int64[2] dims = {2, 3}, float two = {2}>
        { a = Transpose(s)  b = Mul(a, two)  c = Unsqueeze(b, dims)  p = Conv(x, c)
          d = Transpose(t)  e = Mul(d, two)  f = Unsqueeze(e, dims)  y = Conv(p, f) }"""
    after = assert_folds(text, "Conv Conv")
    assert {t.name for t in after.constants} == {"c", "f"}


def test_a_constant_that_is_read_in_computed_and_in_plain_form_is_no_weight() -> None:
    text = """(float[N,4] x) => (float[N,4] y) <float[4] s, float[4,4] w>
        { n = Neg(s)  a = MatMul(x, w)  r = Relu(a)  b = Mul(r, n)  y = Add(b, s) }"""
    after = assert_folds(text, "MatMul Relu Mul Add")
    assert {t.name for t in after.constants} == {"s", "n", "w"}


def test_weights_behind_a_decoder_stay_small() -> None:
    text = """(float[N,4] x) => (float[N,6] y) <float[4,6] w, float s = {1}, int8 z = {0}>
        { q = QuantizeLinear(w, s, z)  d = DequantizeLinear(q, s, z)  y = MatMul(x, d) }"""
    after = assert_folds(text, "DequantizeLinear MatMul")
    assert {t.name: str(t.dtype) for t in after.constants} == {"q": "int8", "s": "float32", "z": "int8"}


# -- shapes ----------------------------------------------------------------------------------------------------------


def test_the_usual_detour_of_an_exporter_is_cut_short() -> None:
    """x.view(x.shape[0], -1), and x.reshape of fixed sizes."""
    text = """(float[N,3,4,4] x) => (float[N,2] y) <float[5,3,1,1] w, int64[1] nil = {0}, int64[1] rest = {-1},
        int64[1] one = {1}, float[80,2] v>
        { a = Conv(x, w)  s = Shape(a)  n = Gather(s, nil)  c = Gather(s, one)  t = Concat<axis=0>(n, c, rest)
          b = Reshape(a, t)  u = Concat<axis=0>(n, rest)  d = Reshape(b, u)  y = MatMul(d, v) }"""
    after = assert_folds(text, "Conv Shape Gather Concat Reshape Concat Reshape MatMul")
    assert after.tensor("c").value().tolist() == [5]
    fixed = assert_folds(text.replace("[N,3", "[2,3").replace("[N,2", "[2,2"), "Conv Reshape Reshape MatMul")
    assert {t.name for t in fixed.constants} == {"w", "v", "t", "u"}


# -- what stays computed ---------------------------------------------------------------------------------------------

LARGE, SMALL = 257, 256  # floats: 1 KiB and a little more


@pytest.mark.parametrize("made", ["ConstantOfShape<value=float[1] {2}>(n)", "Expand(s, n)", "Range(nil, m, one)"])
@pytest.mark.parametrize(("size", "expected"), [(SMALL, "Add"), (LARGE, "{op} Add")])
def test_what_is_larger_than_a_kilobyte_and_what_it_is_made_of_is_not_stored(
    made: str, size: int, expected: str
) -> None:
    op, _, inputs = made.replace("<value=float[1] {2}>", "").rstrip(")").partition("(")
    given = {"s": "float s = {3}", "n": f"int64[1] n = {{{size}}}", "nil": "float nil = {0}", "one": "float one = {1}",
             "m": f"float m = {{{size}}}"}  # fmt: skip
    declared = ", ".join(given[name] for name in inputs.split(", "))
    model = net(f"(float[{size}] x) => (float[{size}] y) <{declared}> {{ c = {made}  y = Add(x, c) }}")
    after, record = fold(model)
    assert ops(after) == expected.format(op=op)
    assert record.changed is (size == SMALL)
    assert_same_function(after, model)


def test_a_large_constant_that_is_made_of_a_larger_one_is_stored() -> None:
    after = assert_folds("(float[600] x) => (float[600] y) <float[600] s> { c = Neg(s)  y = Add(x, c) }", "Add")
    assert {t.name for t in after.constants} == {"c"}


@pytest.mark.parametrize(
    "made",
    [
        pytest.param("RandomNormalLike(s)", id="random"),
        pytest.param("RandomUniform<shape=[4]>()", id="random of nothing"),
        pytest.param("Bernoulli(h)", id="drawn"),
        pytest.param("Dropout(s, h1, yes)", id="dropped in training"),
        pytest.param("""If (yes) <then_branch = t () => (float[4] p) { p = RandomUniform<shape=[4]>() },
                                  else_branch = e () => (float[4] q) { q = RandomUniform<shape=[4]>() }>""",
                     id="random in a subgraph"),
    ],
)  # fmt: skip
def test_chance_is_left_to_the_day(made: str) -> None:
    text = f"""(float[4] x) => (float[4] y) <float[4] s = {{1,1,1,1}}, float[4] h = {{0.5,0.5,0.5,0.5}},
        float h1 = {{0.5}}, bool yes = {{1}}> {{ c = {made}  y = Add(x, c) }}"""
    model = net(text)
    after, _ = fold(model)
    assert ops(after) == f"{made.split('<')[0].split('(')[0].strip()} Add"
    assert "c" not in constant_values(model)


def test_operators_of_other_domains_are_not_evaluated() -> None:
    proto = net_proto("(float[4] x) => (float[4] y) <float[4] s> { c = Gelu(s)  y = Add(x, c) }", opset=20)
    proto.graph.node[0].domain = "com.microsoft"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    after, record = fold(Model.load(proto))
    assert (ops(after), record.changed) == ("Gelu Add", False)


def test_a_constant_result_that_is_an_output_stays_computed_and_what_reads_it_does_not() -> None:
    text = "(float[2,3] x) => (int64[2] s, float[2] y) { s = Shape(x)  y = Cast<to=1>(s) }"
    assert_stays(text)
    text = "(float[2,3] x) => (int64[2] s, float[2] y) { s = Shape(x)  c = Cast<to=1>(s)  y = Neg(c) }"
    assert_stays(text)
    text = "(float[2] x) => (int64[1] s, float[2] y) { s = Shape(x)  y = Expand(x, s) }"
    assert_stays(text)
    text = "(float[2] x) => (int64[1] s, float[2] y) { s = Shape(x)  c = Cast<to=1>(s)  y = Add(x, c) }"
    after = assert_folds(text, "Shape Add")
    assert after.tensor("c").value().tolist() == [2]


def test_a_constant_result_that_a_subgraph_reads_is_stored_under_its_name() -> None:
    text = """(float[4] x, bool b) => (float[4] y) <float[4] s> { c = Neg(s)
        y = If (b) <then_branch = t () => (float[4] p) { p = Add(x, c) },
                    else_branch = e () => (float[4] q) { q = Sub(x, c) }> }"""
    after = assert_folds(text, "If")
    assert {t.name for t in after.constants} == {"c"}


# -- what has no effect ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opset", "body", "expected"),
    [
        pytest.param(17, "a = Identity(x)  y = Relu(a)", "Relu", id="an Identity"),
        pytest.param(17, "a = Identity(x)  b = Identity(a)  c = Identity(b)  y = Relu(c)", "Relu", id="three of them"),
        pytest.param(17, "a = Relu(x)  y = Identity(a)", "Relu", id="the one that writes the output"),
        pytest.param(17, "a = Relu(x)  b = Identity(a)  y = Identity(b)", "Relu", id="two that write the output"),
        pytest.param(17, "a = Relu(x)  y = Identity(a)  z = Neg(a)", "Relu Neg", id="one beside a reader"),
        pytest.param(17, "a = Relu(x)  y = Identity(a)  z = Identity(a)", "Relu Identity", id="one of two outputs"),
        pytest.param(17, "y = Identity(x)", "Identity", id="not the one from input to output"),
        pytest.param(17, "y = Relu(x)  z = Identity(y)", "Relu Identity", id="not the one between outputs"),
        pytest.param(17, "a = Cast<to=1>(x)  y = Relu(a)", "Relu", id="a Cast to the type at hand"),
        pytest.param(17, "a = Cast<to=11>(x)  b = Relu(a)  y = Cast<to=1>(b)", "Cast Relu Cast", id="no other Cast"),
        pytest.param(17, "a = Dropout(x)  y = Relu(a)", "Relu", id="a Dropout"),
        pytest.param(7, "a = Dropout<ratio=0.5>(x)  y = Relu(a)", "Relu", id="an old Dropout"),
        pytest.param(17, "a, m = Dropout(x, half, no)  y = Relu(a)", "Relu", id="a Dropout not in training"),
        pytest.param(17, "a, m = Dropout(x)  n = Not(m)  y = Relu(a)", "Relu", id="one whose mask goes nowhere"),
        pytest.param(17, "a, m = Dropout(x)  n = Cast<to=1>(m)  y = Mul(a, n)", "Dropout Cast Mul",
                     id="not the one whose mask is used"),
        pytest.param(17, "a, z = Dropout(x)  y = Relu(a)", "Dropout Relu", id="not the one whose mask is an output"),
        pytest.param(17, "a = Relu(x)  b, c = Dropout(a)  y = Identity(b)", "Relu", id="a Dropout and an Identity"),
    ],
)  # fmt: skip
def test_what_has_no_effect_goes(opset: int, body: str, expected: str) -> None:
    kind = "bool" if "a, z = Dropout" in body else "float"
    outputs = f"float[2,3] y, {kind}[2,3] z" if "z =" in body else "float[2,3] y"
    declared = "<float half = {0.5}, bool no = {0}>" if "half" in body else ""
    text = f"(float[2,3] x) => ({outputs}) {declared} {{ {body} }}"
    model = net(text, opset)
    if ops(model) == expected:
        assert_stays(text, opset)
    else:
        assert_folds(text, expected, opset)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("a = Reshape(x, same)  y = Relu(a)", "Relu", id="a Reshape to the shape at hand"),
        pytest.param("a = Reshape(x, rest)  y = Relu(a)", "Relu", id="of a batch of any size"),
        pytest.param("a = Flatten(x)  y = Relu(a)", "Relu", id="a Flatten of a matrix"),
        pytest.param("a = Reshape(x, other)  y = Relu(a)", "Reshape Relu", id="no other Reshape"),
        pytest.param("a = Flatten<axis=0>(x)  y = Relu(a)", "Flatten Relu", id="no other Flatten"),
        pytest.param("a = Where(yes, x, one)  y = Relu(a)", "Where Relu", id="not a Where of a batch of any size"),
        pytest.param("a = Where(mixed, x, one)  y = Relu(a)", "Where Relu", id="not one that takes both"),
    ],
)
def test_a_shape_that_is_at_hand_is_not_made_again(body: str, expected: str) -> None:
    text = f"""(float[N,3] x) => (float[] y)
        <int64[2] same = {{0,3}}, int64[2] rest = {{-1,3}}, int64[2] other = {{3,-1}}, bool[3] yes = {{1,1,1}},
        bool[3] mixed = {{1,0,1}}, float[1] one = {{1}}> {{ {body} }}"""
    after, _ = fold(net(text))
    assert ops(after) == expected
    assert_same_function(after, net(text))


def test_a_where_that_always_takes_the_same_side_goes() -> None:
    text = """(float[2] x) => (float[2] y) <bool[2] yes = {1,1}, bool[2] no = {0,0}>
        { r = Relu(x)  n = Neg(x)  a = Where(yes, n, r)  y = Where(no, r, a) }"""
    assert_folds(text, "Neg")


def test_sizes_are_not_negative() -> None:
    """How PyTorch writes an Expand: what is -1 would be 1, but no size is, known or not."""
    text = """(float[N,2,3] x) => (float[N,2,3] y) <int64 zero = {0}, int64[1] row = {0}, int64[1] two = {2},
        int64[1] three = {3}, int64[3] minus = {-1,-1,-1}, int64[3] ones = {1,1,1}, int64[1] flat = {-1},
        float[1,2,1] w>
        { s = Shape(x)  n = Gather(s, zero)  u = Unsqueeze(n, row)  c = Concat<axis=0>(u, two, three)
          d = Reshape(c, flat)  e = Equal(d, minus)  f = Where(e, ones, d)  g = Expand(w, f)  y = Add(x, g) }"""
    after = assert_folds(text, "Shape Gather Unsqueeze Concat Expand Add")
    assert after.tensor("g").shape == ("N", 2, 3)


@pytest.mark.parametrize("other", ["2,2,2", "-1,2,-1"])
def test_sizes_may_be_anything_else(other: str) -> None:
    text = f"""(float[N,2,3] x) => (float[3] y) <int64[3] other = {{{other}}}>
        {{ s = Shape(x)  e = Equal(s, other)  y = Cast<to=1>(e) }}"""
    assert_stays(text)


@pytest.mark.parametrize("training", ["bool t = {1}", "bool t"])
def test_a_dropout_in_training_stays(training: str) -> None:
    declared, given = (training, "") if "=" in training else ("", f", {training}")
    text = f"(float[2,3] x{given}) => (float[2,3] y) <float half = {{0.5}}{', ' * bool(declared)}{declared}> "
    model = net(text + "{ a = Dropout(x, half, t)  y = Relu(a) }")
    assert (ops(fold(model)[0]), fold(model)[1].changed) == ("Dropout Relu", False)


def test_an_identity_that_a_subgraph_reads_by_name_keeps_that_name() -> None:
    text = """(float[4] x, bool b) => (float[4] y) { r = Relu(x)  c = Identity(r)
        y = If (b) <then_branch = t () => (float[4] p) { p = Neg(c) },
                    else_branch = e () => (float[4] q) { q = Abs(c) }> }"""
    after = assert_folds(text, "Relu If")
    assert after.nodes[0].y().name == "c"
    assert_stays(text.replace("c = Identity(r)", "c = Identity(x)").replace("r = Relu(x)", ""))


def test_an_identity_after_a_part_of_a_split_renames_that_part() -> None:
    text = """(float[2,6] x) => (float[2,2] y, float[2,4] z) <int64[2] s = {2,4}>
        { a, b = Split<axis=1>(x, s)  y = Identity(a)  z = Neg(b) }"""
    after = assert_folds(text, "Split Neg")
    assert [t.name for t in after.nodes[0].outputs if t is not None] == ["y", "b"]


# -- what is dead ----------------------------------------------------------------------------------------------------


def test_what_nobody_reads_goes_back_to_its_source() -> None:
    text = """(float[2,3] x) => (float[2,3] y) <float[3,4] w, float[3] unread>
        { a = MatMul(x, w)  b = Relu(a)  c, d = Split<axis=0>(b, s)  y = Neg(x) }"""
    after = assert_folds(text.replace("unread>", "unread, int64[2] s = {1,1}>"), "Neg")
    assert after.constants == ()


def test_a_second_output_that_is_read_keeps_the_node() -> None:
    assert_stays("(float[2,3] x) => (int64[2,1] y) <int64[1] k = {1}> { v, y = TopK(x, k) }")


def test_a_value_is_what_the_graph_would_compute() -> None:
    """The control: the stored value, and no other."""
    text = "(float[2,3] x) => (float[2,3] y) <float[3,2] s> { t = Transpose(s)  u = Neg(t)  y = Add(x, u) }"
    before, after = net(text), assert_folds(text, "Add")
    inputs = feeds(before)
    np.testing.assert_array_equal(run(after, inputs)[0], inputs["x"] - before.tensor("s").value().T)
    after.put("u", -after.tensor("u").value())
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(after, before)
