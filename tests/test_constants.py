"""What a graph computes from constants and fixed sizes alone is known without running the rest of it."""

from __future__ import annotations

import numpy as np
import pytest
from generator import random_feeds, random_model
from oracle import net

from onnxprune import constants
from onnxprune.constants import constant_values, constants_behind
from onnxprune.model import Model
from onnxprune.taps import tapped


def values(text: str, opset: int = 17) -> dict[str, list]:
    """What is known of the net's computed tensors."""
    return {name: value.tolist() for name, value in constant_values(net(text, opset)).items()}


# -- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("s = Shape(x)  y = Cast<to=1>(s)", {}, id="all of it, one being dynamic"),
        pytest.param("s = Shape(x)  g = Gather(s, one)  y = Cast<to=1>(g)", {"g": [3], "y": [3.0]}, id="a fixed size"),
        pytest.param("s = Shape(x)  g = Gather(s, nil)  y = Cast<to=1>(g)", {}, id="the dynamic one"),
        pytest.param("s = Shape<start=1>(x)  y = Cast<to=1>(s)", {"s": [3, 4], "y": [3.0, 4.0]}, id="from the second"),
        pytest.param("s = Shape<start=-1>(x)  y = Cast<to=1>(s)", {"s": [4], "y": [4.0]}, id="the last"),
        pytest.param("s = Shape<start=1, end=2>(x)  y = Cast<to=1>(s)", {"s": [3], "y": [3.0]}, id="the second alone"),
        pytest.param("s = Shape<end=1>(x)  y = Cast<to=1>(s)", {}, id="up to the second"),
        pytest.param("s = Shape(x)  t = Slice(s, one, two)  y = Cast<to=1>(t)", {"t": [3], "y": [3.0]}, id="a slice"),
        pytest.param("s = Shape(x)  a, b = Split(s, parts)  y = Cast<to=1>(b)", {"b": [3, 4], "y": [3.0, 4.0]},
                     id="a part"),
        pytest.param("s = Shape(x)  g = Gather(s, nil)  c = Concat<axis=0>(g, one)  y = Cast<to=1>(c)", {},
                     id="half of a Concat"),
        pytest.param("s = Shape(x)  g = Gather(s, nil)  c = Concat<axis=0>(g, two)  d = Gather(c, one)"
                     "  y = Cast<to=1>(d)", {"d": [2], "y": [2.0]}, id="the known half of a Concat"),
        pytest.param("s = Shape(x)  t = Mul(s, nil)  y = Cast<to=1>(t)", {}, id="arithmetic with what is not known"),
        pytest.param("s = Shape(x)  i = Gather(s, nil)  g = Gather(seven, i)  y = Cast<to=1>(g)", {},
                     id="a place that is not known"),
        pytest.param("r = Relu(x)  s = Shape(r)  p = ReduceProd<keepdims=0>(s)  y = Cast<to=1>(p)", {},
                     id="the number of elements"),
    ],
)  # fmt: skip
def test_sizes_are_known_where_they_are_fixed(body: str, expected: dict[str, list]) -> None:
    text = f"""(float[N,3,4] x) => (float[A] y) <int64[1] nil = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}},
        int64[3] seven = {{7,5,5}}, int64[2] parts = {{1,2}}> {{ {body} }}"""
    assert values(text.replace("(float[A] y)", "(float y)") if "Prod" in body else text) == expected


def test_fixed_shapes_are_known_throughout() -> None:
    text = """(float[2,3,4] x) => (float y)
        { r = Relu(x)  s = Shape(r)  n = Size(x)  p = ReduceProd<keepdims=0>(s)  y = Cast<to=1>(p) }"""
    assert values(text) == {"s": [2, 3, 4], "p": 24, "y": 24.0}


# -- what is not looked at -------------------------------------------------------------------------------------------


def test_what_is_too_large_to_be_stored_is_not_even_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []

    class Watched(constants.Session):
        def __init__(self, proto, **options) -> None:
            computed.extend(node.op_type for node in proto.graph.node)
            super().__init__(proto, **options)

    monkeypatch.setattr(constants, "Session", Watched)
    found = values("""(float[N] x) => (float[N] y) <int64[3] n = {4096,4096,4096}, float one = {1}>
                      { o = Neg(one)  c = ConstantOfShape(n)  m = ReduceMax<keepdims=0>(c)  d = Add(m, o)
                        y = Add(x, d) }""")
    assert (computed, found) == (["Neg"], {"o": -1.0})


@pytest.mark.parametrize(
    "made",
    [
        pytest.param("RandomNormalLike(s)", id="random"),
        pytest.param("Dropout(s)", id="random in training"),
        pytest.param("DequantizeLinear(q, h)", id="a decoder"),
        pytest.param("Cast<to=1>(q)", id="a decoder of whole numbers"),
        pytest.param("Cast<to=1>(half)", id="a decoder of halves"),
        pytest.param("""If (yes) <then_branch = t () => (float[4] p) { p = Identity(s) },
                                  else_branch = e () => (float[4] r) { r = Neg(s) }>""", id="a subgraph that captures"),
        pytest.param("""If (yes) <then_branch = t () => (float[4] p) { p = RandomUniform<shape=[4]>() },
                                  else_branch = e () => (float[4] r) { r = RandomUniform<shape=[4]>() }>""",
                     id="a subgraph that does not"),
    ],
)  # fmt: skip
def test_what_is_not_safe_to_compute_ahead_stays_unknown(made: str) -> None:
    text = f"""(float[4] x) => (float[4] y) <float[4] s, int8[4] q = {{1,2,3,4}}, float h = {{0.5}}, bool yes = {{1}},
               float16[4] half = {{1,2,3,4}}>
               {{ c = {made}  d = Neg(c)  e = Neg(s)  y = Add(x, d) }}"""
    assert values(text).keys() == {"e"}


def test_an_operator_that_onnxruntime_lacks_for_the_type_stays_unknown() -> None:
    text = "(float[4] x) => (float[4] y) <%s[4] s = {1,2,3,4}> { c = Max(s, s)  d = Cast<to=1>(c)  y = Add(x, d) }"
    assert values(text % "uint16") == {}
    assert values(text % "int32").keys() == {"c", "d"}


# -- in all ---------------------------------------------------------------------------------------------------------


def test_what_a_constant_is_computed_from_is_traced_to_the_file() -> None:
    model = net("""(float[N,4] x) => (float[N,4] y) <float[4,4] s, float[4,4] t, float[4] b>
                   { u = Transpose(s)  v = Add(u, t)  a = MatMul(x, v)  y = Add(a, b) }""")
    assert constants_behind(model) == {
        **{name: {name} for name in "stb"},
        "u": {"s"},
        "v": {"s", "t"},
    }


def test_what_is_known_is_what_the_graph_computes() -> None:
    """Random nets, made to write all that is known of them as outputs."""
    known = 0
    for seed in range(80):
        proto = random_model(seed)
        model = Model.load(proto)
        found = constant_values(model)
        inputs = random_feeds(proto, seed)
        for name, value in found.items():
            (computed,) = tapped(model, [name])(inputs)
            np.testing.assert_array_equal(computed, value)
        known += len(found)
    assert known >= 20
