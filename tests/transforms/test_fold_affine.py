"""Scales and offsets per channel go into the Conv, Gemm or MatMul before; where they cannot, the report says why."""

from __future__ import annotations

import numpy as np
import pytest
from folds import assert_every_weight_counts, assert_folds, assert_stays, fold, ops
from onnx import helper
from oracle import assert_different_function, assert_same_function, net, net_proto

from onnxprune.model import Model

BN = "float[6] scale, float[6] o, float[6] mean, float[6] var"
NORM = "BatchNormalization({}, scale, o, mean, var)"
IMAGE = "(float[2,4,5,5] x) => (float[2,6,A,B] y)"
ROWS = "(float[N,4] x) => (float[N,6] y)"
TOKENS = "(float[2,3,4] x) => (float[2,3,6] y)"
AFFINE = {
    "batch normalisation": (BN, "y = " + NORM.format("a")),
    "batch normalisation, its own epsilon": (BN, "y = BatchNormalization<epsilon=0.5>(a, scale, o, mean, var)"),
    "a factor per channel": ("float[6,1,1] f", "y = Mul(a, f)"),
    "a factor per channel of full rank, first": ("float[1,6,1,1] f", "y = Mul(f, a)"),
    "one factor": ("float f", "y = Mul(a, f)"),
    "one factor of full rank": ("float[1,1,1,1] f", "y = Mul(f, a)"),
    "a divisor per channel": ("float[6,1,1] scale", "y = Div(a, scale)"),
    "an offset per channel": ("float[1,6,1,1] f", "y = Add(a, f)"),
    "one offset, first": ("float[1] f", "y = Add(f, a)"),
    "less a constant": ("float[6,1,1] f", "y = Sub(a, f)"),
    "a constant less it": ("float[6,1,1] f", "y = Sub(f, a)"),
    "a chain of them": (
        BN + ", float[6,1,1] f, float[1,6,1,1] g, float h, float[6,1,1] scale2",
        f"n = {NORM.format('a')}  m = Mul(n, f)  s = Sub(g, m)  t = Add(h, s)  y = Div(t, scale2)",
    ),
    "through an Identity": (BN, f"i = Identity(a)  n = {NORM.format('i')}  y = Identity(n)"),
}
every_affine = pytest.mark.parametrize(("declared", "affine"), AFFINE.values(), ids=AFFINE.keys())


def check(text: str, expected: str, opset: int = 17) -> None:
    after = assert_folds(text, expected, opset)
    assert_every_weight_counts(after, net(text, opset))


# -- convolutions ----------------------------------------------------------------------------------------------------


@every_affine
@pytest.mark.parametrize("bias", [False, True])
def test_it_goes_into_the_convolution(declared: str, affine: str, bias: bool) -> None:
    conv = "Conv(x, w, b)" if bias else "Conv(x, w)"
    check(f"{IMAGE} <float[6,4,3,3] w, float[6] b, {declared}> {{ a = {conv}  {affine} }}", "Conv")


@pytest.mark.parametrize(
    ("shapes", "kernel", "attributes"),
    [
        pytest.param("(float[2,4,5,5] x) => (float[2,6,A,B] y)", "6,2,3,3", "group=2", id="grouped"),
        pytest.param("(float[2,6,5,5] x) => (float[2,6,A,B] y)", "6,1,3,3", "group=6", id="depthwise"),
        pytest.param("(float[2,3,5,5] x) => (float[2,6,A,B] y)", "6,1,3,3", "group=3", id="depthwise, two kernels"),
        pytest.param("(float[2,4,5,5] x) => (float[2,6,A,B] y)", "6,4,3,3", "pads=[1,1,1,1], strides=[2,2]", id="pad"),
        pytest.param("(float[2,4,7] x) => (float[2,6,A] y)", "6,4,3", "dilations=[2]", id="of a signal"),
        pytest.param("(float[1,4,3,3,3] x) => (float[1,6,A,B,C] y)", "6,4,2,2,2", 'auto_pad="VALID"', id="of a volume"),
    ],
)
@pytest.mark.parametrize("bias", ["", ", b"])
def test_every_kind_of_convolution_takes_it(shapes: str, kernel: str, attributes: str, bias: str) -> None:
    conv = f"Conv<{attributes}>(x, w{bias})"
    check(f"{shapes} <float[{kernel}] w, float[6] b, {BN}> {{ a = {conv}  y = {NORM.format('a')} }}", "Conv")


def test_each_layer_of_a_row_gets_its_own() -> None:
    text = f"""{IMAGE} <float[6,4,3,3] w, {BN}, float[6,6,1,1] v, float[6] scale2, float[6] o2, float[6] mean2,
        float[6] var2, float[6,1,1] f>
        {{ a = Conv(x, w)  n = {NORM.format("a")}  r = Relu(n)  c = Conv(r, v)
           m = BatchNormalization(c, scale2, o2, mean2, var2)  s = Relu(m)  y = Mul(s, f) }}"""
    check(text, "Conv Relu Conv Relu Mul")


def test_the_names_of_node_and_last_tensor_stay() -> None:
    text = f"{IMAGE} <float[6,4,3,3] w, {BN}> {{ a = Conv(x, w)  n = {NORM.format('a')}  y = Relu(n) }}"
    before, after = net(text), assert_folds(text, "Conv Relu")
    (conv, _) = after.nodes
    assert (conv.name, conv.x(1).name, conv.y().name) == (before.nodes[0].name, "w", "n")


def test_a_scale_alone_brings_no_bias() -> None:
    after = assert_folds(f"{IMAGE} <float[6,4,3,3] w, float f> {{ a = Conv(x, w)  y = Mul(a, f) }}", "Conv")
    assert len(after.nodes[0].inputs) == 2


def test_an_own_bias_keeps_its_name_and_a_shared_one_its_value() -> None:
    text = f"""(float[2,4,5,5] x) => (float[2,6,A,B] y, float[2,6,A,B] z)
        <float[6,4,3,3] w, float[6,4,3,3] v, float[6] b, {BN}>
        {{ a = Conv(x, w, b)  y = {NORM.format("a")}  z = Conv(x, v%s) }}"""
    own = assert_folds(text % "", "Conv Conv")
    assert own.nodes[0].x(2).name == "b"
    assert not np.array_equal(own.tensor("b").value(), net(text % "").tensor("b").value())
    shared = assert_folds(text % ", b", "Conv Conv")
    (folded,) = (n for n in shared.nodes if n.x(1).name == "w")
    assert folded.x(2).name != "b"
    assert np.array_equal(shared.tensor("b").value(), net(text % ", b").tensor("b").value())


def test_two_layers_that_share_a_bias_are_both_folded() -> None:
    text = f"""(float[2,4,5,5] x) => (float[2,6,A,B] y, float[2,6,A,B] z)
        <float[6,4,3,3] w, float[6,4,3,3] v, float[6] b, {BN}, float[6,1,1] f>
        {{ a = Conv(x, w, b)  y = {NORM.format("a")}  c = Conv(x, v, b)  z = Mul(c, f) }}"""
    check(text, "Conv Conv")


def test_a_bias_that_is_an_output_too_stays_as_it_is() -> None:
    text = f"""(float[2,4,5,5] x) => (float[2,6,A,B] y, float[6] b)
        <float[6,4,3,3] w, float[6] b = {{1,2,3,4,5,6}}, {BN}> {{ a = Conv(x, w, b)  y = {NORM.format("a")} }}"""
    check(text, "Conv")


def test_a_constant_may_scale_several_layers() -> None:
    text = """(float[2,4,5,5] x) => (float[2,6,A,B] y) <float[6,4,3,3] w, float[6,4,3,3] v, float[6,1,1] f>
        { a = Conv(x, w)  b = Mul(a, f)  c = Conv(x, v)  d = Mul(c, f)  t = Tanh(d)  y = Add(b, t) }"""
    check(text, "Conv Conv Tanh Add")


def test_half_precision_is_folded_as_it_is() -> None:
    text = f"{IMAGE} <float[6,4,3,3] w, float[6] b, {BN}> {{ a = Conv(x, w, b)  y = {NORM.format('a')} }}"
    after = assert_folds(text.replace("float[", "float16["), "Conv", rtol=1e-2)
    assert {t.dtype for t in after.constants} == {np.dtype(np.float16)}


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 14, 15, 20, 22])
def test_every_opset_is_folded_alike(opset: int) -> None:
    check(f"{IMAGE} <float[6,4,3,3] w, {BN}> {{ a = Conv(x, w)  y = {NORM.format('a')} }}", "Conv", opset)


# -- matrix products -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attributes", ["", "<alpha=0.5>", "<beta=2.0>", "<alpha=0.3, beta=0.7>"])
@pytest.mark.parametrize(("weight", "transposed"), [("4,6", False), ("6,4", True)])
@pytest.mark.parametrize("bias", ["float[6] b", "float[1,6] b", "float b", "float[1] b", ""])
def test_it_goes_into_the_gemm(attributes: str, weight: str, transposed: bool, bias: str) -> None:
    attributes = attributes.replace("<", "<transB=1, ") or "<transB=1>" if transposed else attributes
    gemm = f"Gemm{attributes}(x, w{', b' if bias else ''})"
    declared = f"float[{weight}] w, {BN}{', ' if bias else ''}{bias}"
    check(f"{ROWS} <{declared}> {{ a = {gemm}  y = {NORM.format('a')} }}", "Gemm")


@pytest.mark.parametrize("affine", ["Mul(a, f)", "Div(f, a)", "Add(f, a)", "Sub(f, a)"])
@pytest.mark.parametrize("shape", ["[6]", "[1,6]", "[1]", ""])
def test_a_gemm_takes_constants_of_every_shape(affine: str, shape: str) -> None:
    text = f"{ROWS} <float[4,6] w, float[6] b, float{shape} f> {{ a = Gemm<beta=2.0>(x, w, b)  y = {affine} }}"
    if affine.startswith("Div"):  # no affine function of a
        assert_stays(text)
    else:
        check(text, "Gemm")


@pytest.mark.parametrize("affine", ["Add(a, f)", "Sub(f, a)", NORM.format("a")])
def test_a_matmul_of_two_matrices_with_an_offset_becomes_a_gemm(affine: str) -> None:
    text = f"{ROWS} <float[4,6] w, float[6] f, {BN}> {{ a = MatMul(x, w)  y = {affine} }}"
    check(text, "Gemm")
    after = assert_folds(text, "Gemm")
    assert (after.nodes[0].name, after.nodes[0].x(1).name) == (net(text).nodes[0].name, "w")


def test_a_matmul_that_is_scaled_stays_one() -> None:
    check(f"{ROWS} <float[4,6] w, float[6] f> {{ a = MatMul(x, w)  y = Mul(f, a) }}", "MatMul")


@pytest.mark.parametrize(("tokens", "weight"), [("2,3,4", "4,6"), ("2,3,4", "2,4,6"), ("3,4", "2,4,6")])
def test_a_matmul_of_higher_rank_takes_a_scale_but_no_offset(tokens: str, weight: str) -> None:
    made = "a = MatMul(x, w)  m = %s(a, f)  y = %s(m, g)"
    text = f"(float[{tokens}] x) => (float[2,3,6] y) <float[{weight}] w, float[6] f, float[6] g> {{ {made} }}"
    check(text % ("Mul", "Mul"), "MatMul")
    check(text % ("Mul", "Add"), "MatMul Add")
    assert_stays(text % ("Add", "Mul"))


def test_an_offset_of_zero_is_none() -> None:
    text = f"{TOKENS} <float[4,6] w, float[6] f, float[6] zero = {{0,0,0,0,0,0}}> {{ a = MatMul(x, w)  m = Mul(a, f) "
    assert_folds(text + "y = Add(zero, m) }", "MatMul")


def test_an_offset_may_cancel_the_bias() -> None:
    declared = "float[6,4,3,3] w, float[6] b = {1,1,1,1,1,1}, float one = {1}"
    check(f"{IMAGE} <{declared}> {{ a = Conv(x, w, b)  y = Sub(a, one) }}", "Conv")


def test_a_vector_times_a_matrix_takes_a_scale_but_no_offset() -> None:
    text = "(float[4] x) => (float[6] y) <float[4,6] w, float[6] f> { a = MatMul(x, w)  y = %s(a, f) }"
    check(text % "Mul", "MatMul")
    assert_stays(text % "Add")


# -- what is not folded ----------------------------------------------------------------------------------------------

SIX = "float[6,4,3,3] w"
REFUSED = {
    "the weight is shared": (
        f"(float[2,4,5,5] x, float[2,4,5,5] z) => (float[2,6,3,3] y) <{SIX}, {BN}> "
        f"{{ a = Conv(x, w)  n = {NORM.format('a')}  c = Conv(z, w)  y = Add(n, c) }}",
        "weight 'w' of 'Conv_0' is shared",
    ),
    "the weight is an output": (
        "(float[2,4,5,5] x) => (float[2,6,5,5] y, float[6,4,1,1] w) "
        f"<float[6,4,1,1] w = {{{','.join(['1'] * 24)}}}, {BN}> {{ a = Conv(x, w)  y = {NORM.format('a')} }}",
        "weight 'w' of 'Conv_0' is shared",
    ),
    "the layer's output is read elsewhere": (
        f"{IMAGE} <{SIX}, {BN}> {{ a = Conv(x, w)  n = {NORM.format('a')}  y = Add(n, a) }}",
        "its input 'a' is read elsewhere too",
    ),
    "the layer's output is a graph output": (
        f"(float[2,4,5,5] x) => (float[2,6,3,3] a, float[2,6,3,3] y) <{SIX}, {BN}> "
        f"{{ a = Conv(x, w)  y = {NORM.format('a')} }}",
        "its input 'a' is read elsewhere too",
    ),
    "a subgraph reads the layer's output": (
        f"(float[2,4,5,5] x, bool c) => (float[2,6,3,3] y) <{SIX}, {BN}> {{ a = Conv(x, w)  n = {NORM.format('a')} "
        "  p = If (c) <then_branch = t () => (float[2,6,3,3] q) { q = Neg(a) },"
        "              else_branch = e () => (float[2,6,3,3] r) { r = Abs(a) }>  y = Add(n, p) }",
        "its input 'a' is read elsewhere too",
    ),
    "its parameters are computed": (
        f"(float[2,4,5,5] x, float[6] o) => (float[2,6,3,3] y) <{SIX}, float[6] scale, float[6] mean, float[6] var> "
        f"{{ a = Conv(x, w)  y = {NORM.format('a')} }}",
        "its parameters are computed at run time or vary within a channel, or it is in training mode",
    ),
    "it normalises along another axis": (
        "(float[2,3,4] x) => (float[2,3,6] y) <float[4,6] w, float[3] scale, float[3] o, float[3] mean, float[3] var> "
        f"{{ a = MatMul(x, w)  y = {NORM.format('a')} }}",
        "its parameters are computed at run time or vary within a channel, or it is in training mode",
    ),
    "it follows a Concat": (
        f"(float[2,4,5,5] x) => (float[2,6,3,3] y) <float[2,4,3,3] w, float[4,4,3,3] v, {BN}> "
        f"{{ a = Conv(x, w)  b = Conv(x, v)  c = Concat<axis=1>(a, b)  y = {NORM.format('c')} }}",
        "its input is not made by a Conv, Gemm or MatMul of constant weights",
    ),
    "it follows an activation": (
        f"{IMAGE} <{SIX}, {BN}> {{ a = Conv(x, w)  r = Relu(a)  y = {NORM.format('r')} }}",
        "its input is not made by a Conv, Gemm or MatMul of constant weights",
    ),
    "the weight is computed": (
        f"(float[2,4,5,5] x, float[6,4,3,3] z) => (float[2,6,3,3] y) <{BN}> "
        f"{{ w = Tanh(z)  a = Conv(x, w)  y = {NORM.format('a')} }}",
        "its input is not made by a Conv, Gemm or MatMul of constant weights",
    ),
    "the bias is computed": (
        f"(float[2,4,5,5] x, float[6] z) => (float[2,6,3,3] y) <{SIX}, {BN}> "
        f"{{ b = Tanh(z)  a = Conv(x, w, b)  y = {NORM.format('a')} }}",
        "its input is not made by a Conv, Gemm or MatMul of constant weights with one bias per channel",
    ),
    "the bias varies along the batch": (
        f"(float[3,4] x) => (float[3,6] y) <float[4,6] w, float[3,1] b, {BN}> "
        f"{{ a = Gemm(x, w, b)  y = {NORM.format('a')} }}",
        "with one bias per channel",
    ),
    "the weight comes first": (
        f"(float[4,3] x) => (float[6,3] y) <float[6,4] w, float[3] scale, float[3] o, float[3] mean, float[3] var> "
        f"{{ a = MatMul(w, x)  y = {NORM.format('a')} }}",
        "its input is not made by a Conv, Gemm or MatMul of constant weights",
    ),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_batch_normalisation_is_left_where_folding_would_change_something_else(text: str, why: str) -> None:
    record = assert_stays(text)
    ((where, reason),) = ((skip.where, skip.why) for skip in record.skipped)
    assert where.startswith("BatchNormalization_")
    assert reason.startswith("not folded: ")
    assert why in reason


def test_the_same_nets_are_folded_where_nothing_is_in_the_way() -> None:
    """The control of the refusals above: it takes as little as one reader."""
    text, _ = REFUSED["the layer's output is read elsewhere"]
    check(text.replace("y = Add(n, a)", "y = Add(n, n)"), "Conv Add")
    text, _ = REFUSED["the weight is shared"]
    check(text.replace("Conv(z, w)", "Conv(z, v)").replace(SIX, f"{SIX}, float[6,4,3,3] v"), "Conv Conv Add")


@pytest.mark.parametrize(
    ("opset", "norm"),
    [
        pytest.param(17, "y, m, v = BatchNormalization<training_mode=1>", id="by its attribute"),
        pytest.param(8, "y, m, v, s, t = BatchNormalization", id="by its outputs"),
    ],
)
def test_batch_normalisation_in_training_is_left(opset: int, norm: str) -> None:
    model = net(f"{IMAGE} <{SIX}, {BN}> {{ a = Conv(x, w)  {norm}(a, scale, o, mean, var) }}", opset)
    after, record = fold(model)
    assert after.fingerprint() == model.fingerprint()
    ((where, why),) = ((skip.where, skip.why) for skip in record.skipped)
    assert where == "BatchNormalization_1"
    assert "it is in training mode" in why


def test_factors_per_position_of_an_old_opset_are_left() -> None:
    text = """(float[2,4,5,5] x) => (float[2,6,3,3] y)
        <float[6,4,3,3] w, float[6,3,3] scale, float[6,3,3] o, float[6,3,3] mean, float[6,3,3] var>
        { a = Conv(x, w)  y = BatchNormalization<spatial=0>(a, scale, o, mean, var) }"""
    record = assert_stays(text, opset=8)
    assert "vary within a channel" in record.skipped[0].why


@pytest.mark.parametrize(
    ("affine", "shape", "last", "bias"),
    [
        pytest.param("Mul(a, f)", "[6,1,1]", 60000, 0, id="a large factor"),
        pytest.param("Mul(a, f)", "[6,1,1]", 1000, 100, id="a large factor for the bias"),
        pytest.param("Div(a, f)", "[6,1,1]", 1e-5, 0, id="a small divisor"),
        pytest.param("BatchNormalization<epsilon=0.0>(a, one, one, one, f)", "[6]", 0, 0, id="no variance"),
        pytest.param("BatchNormalization(a, one, one, f, one)", "[6]", -65504, 100, id="a large offset"),
    ],
)
def test_weights_that_would_overflow_are_left(affine: str, shape: str, last: float, bias: float) -> None:
    one = ", float16[6] one" * ("one" in affine)
    model = net(f"""(float16[2,4,5,5] x) => (float16[2,6,A,B] y)
                    <float16[6,4,3,3] w, float16[6] b, float16{shape} f{one}> {{ a = Conv(x, w, b)  y = {affine} }}""")
    values = {"w": 2, "b": bias, "f": 1, "one": 1}
    for tensor in model.constants:
        model.put(tensor.name, np.full(tensor.shape, values[tensor.name], np.float16))
    assert ops(fold(model)[0]) == "Conv"
    factor = np.array(model.tensor("f").value())
    factor[-1] = last
    model.put("f", factor)
    after, record = fold(model)
    assert after.fingerprint() == model.fingerprint()
    assert [(s.where, s.why) for s in record.skipped] == [("Conv_0", "not folded: the weights would overflow float16")]


@pytest.mark.parametrize(
    ("declared", "affine"),
    [
        pytest.param(", float[6,3,3] f", "Mul(a, f)", id="varies within a channel"),
        pytest.param(", float[3] f", "Mul(a, f)", id="varies along the last axis"),
        pytest.param(", float[3,1] f", "Add(a, f)", id="varies along the height"),
        pytest.param(", float[2,1,1,1] f", "Add(a, f)", id="varies along the batch"),
        pytest.param(", float[1,1,6,1,1] f", "Mul(a, f)", id="adds an axis"),
        pytest.param(", float[6,1,1] f", "Div(f, a)", id="is divided"),
        pytest.param(", float f = {0}", "Div(a, f)", id="divides by zero"),
        pytest.param(", float[6,1,1] f", "Pow(a, f)", id="is a power"),
        pytest.param(", float[6,1,1] f", "Max(a, f)", id="is a bound"),
        pytest.param("", "Mul(a, a)", id="is no constant"),
    ],
)
def test_what_is_not_one_constant_per_channel_is_left(declared: str, affine: str) -> None:
    axes = "float[1,2,6,3,3] y" if "[1,1,6" in declared else "float[2,6,3,3] y"
    record = assert_stays(f"(float[2,4,5,5] x) => ({axes}) <{SIX}{declared}> {{ a = Conv(x, w)  y = {affine} }}")
    assert record.skipped == ()


@pytest.mark.parametrize("shape", ["[6,1]", "[6,6]", "[1,1,6]"])
def test_a_constant_per_row_is_not_one_per_column(shape: str) -> None:
    y = "float[1,6,6] y" if shape == "[1,1,6]" else "float[6,6] y"
    assert_stays(f"(float[6,4] x) => ({y}) <float[4,6] w, float{shape} f> {{ a = MatMul(x, w)  y = Add(a, f) }}")


def test_one_channel_is_not_spread_over_many() -> None:
    assert_stays("""(float[2,4,5,5] x) => (float[2,6,3,3] y) <float[1,4,3,3] w, float[6,1,1] f>
                    { a = Conv(x, w)  y = Mul(a, f) }""")


def test_whole_numbers_are_left() -> None:
    assert_stays("""(int32[3,4] x) => (int32[3,6] y) <int32[4,6] w, int32[6] f> { a = MatMul(x, w)  y = Add(a, f) }""")


def test_operators_of_other_domains_are_left() -> None:
    proto = net_proto(f"{IMAGE} <{SIX}, float[6,1,1] f> {{ a = Conv(x, w)  y = Mul(a, f) }}")
    proto.graph.node[1].domain = "acme"
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    after, record = fold(Model.load(proto))
    assert (ops(after), record.changed) == ("Conv Mul", False)


# -- as far as it gets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("n = {norm}  dead = Neg(a)  y = Relu(n)", "Conv Relu", id="a dead reader"),
        pytest.param(
            "s = Shape(a)  g = Gather(s, one)  n = {norm}  h = Reshape(g, one)  c = Cast<to=1>(h)  y = Mul(n, c)",
            "Conv",
            id="a reader of its shape",
        ),
        pytest.param("i = Identity(a)  d = Dropout(i)  n = {norm}  y = Relu(n)", "Conv Relu", id="a dead Dropout"),
    ],
)
def test_what_dies_while_folding_is_in_the_way_of_nothing(text: str, expected: str) -> None:
    body = text.format(norm=NORM.format("a"))
    text = f"{IMAGE.replace('A,B', '3,3')} <{SIX}, {BN}, int64[1] one = {{1}}> {{ a = Conv(x, w)  {body} }}"
    assert_folds(text, expected)
    assert fold(net(text))[1].skipped == ()


def test_a_scale_is_no_other_scale() -> None:
    """The control of the oracle: a factor of another channel, or the inverse, is seen."""
    text = f"{IMAGE} <{SIX}, float[6,1,1] scale> {{ a = Conv(x, w)  y = Mul(a, scale) }}"
    before, after = net(text), assert_folds(text, "Conv")
    assert_same_function(after, before)
    for wrong in (np.roll(after.tensor("w").value(), 1, axis=0), before.tensor("w").value()):
        spoilt = after.copy()
        spoilt.put("w", wrong)
        assert_different_function(spoilt, before)
