"""Values at the edge of what numbers and shapes can be: infinite, unknown, empty, of rank 0 or 1."""

from __future__ import annotations

import numpy as np
import pytest
from compiling import Small, assert_equal
from tvm import te, tirx

from onnxprune.backends import load_target
from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.expressions import UnreadableError
from onnxprune.codegen.rows import in_rows

SPECIAL = np.float32([np.nan, np.inf, -np.inf, -0.0, 0, 1, -1, np.nan, 1e38])
NOTHING = "int64[1] none = {0}, int64[1] one = {1}, float[4,5] w, float[3,5,1,1] v"

EMPTY = {
    "map": "(float[3,4] x) => (float[0,4] y) { t = Slice(x, none, none, none)  y = Exp(t) }",
    "rows": "(float[3,4] x) => (float[0,5] y) { t = Slice(x, none, none, none)  y = MatMul(t, w) }",
    "depth": """(float[3,4] x, float[4,5] z) => (float[3,5] y)
        { t = Slice(x, none, none, one)  u = Slice(z, none, none, none)  y = MatMul(t, u) }""",
    "batch": "(float[1,5,6,6] x) => (float[0,3,6,6] y) { t = Slice(x, none, none, none)  y = Conv(t, v) }",
    "pool": "(float[1,5,6,6] x) => (float[0,5,1,1] y) { t = Slice(x, none, none, none)  y = GlobalAveragePool(t) }",
    "sum": "(float[3,4] x) => (float[3,1] y) { t = Slice(x, none, none, one)  y = ReduceSum(t, one) }",
    "part": """(float[3,4] x, float[3,2] z) => (float[3,2] y)
        { t = Slice(x, none, none, one)  y = Concat<axis=1>(t, z) }""",
}
RANKS = {
    "matrix times vector": "(float[3,5] x, float[5] z) => (float[3] y) { y = MatMul(x, z) }",
    "matrix times constant vector": "(float[3,4] x) => (float[3] y) <float[4] c> { y = MatMul(x, c) }",
    "vector times matrix": "(float[4] x) => (float[5] y) <float[4,5] c> { y = MatMul(x, c) }",
    "vectors": "(float[5] x, float[5] z) => (float y) { y = MatMul(x, z) }",
    "scalars": "(float x, float z) => (float y) { s = Mul(x, z)  y = Exp(s) }",
    "scalar times matrix": "(float x, float[3,4] z) => (float[3,4] y) { y = Mul(x, z) }",
    "sum of all": "(float[3,4] x) => (float y) { s = ReduceSum<keepdims=0>(x)  y = Abs(s) }",
    "itself": "(float[5,5] x) => (float[5,5] y) { y = MatMul(x, x) }",
    "more rows than the product": """(float[1,8] x, float[3,5] z) => (float[3,5] y) <float[8,5] c>
        { m = MatMul(x, c)  y = Add(m, z) }""",
    "more axes than the product": """(float[3,8] x, float[4,3,5] z) => (float[4,3,5] y) <float[8,5] c>
        { m = MatMul(x, c)  y = Add(m, z) }""",
    "input is output": "(float[3,5] x) => (float[3,5] x, float[3,5] y) { y = Relu(x) }",
}


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_empty_computes_what_onnxruntime_does(name: str) -> None:
    assert_equal(Small(EMPTY[name].replace("{", f"<{NOTHING}> {{", 1)))


@pytest.mark.parametrize("name", RANKS)
def test_a_rank_computes_what_onnxruntime_does(name: str) -> None:
    assert_equal(Small(RANKS[name]))


def special(text: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    small = Small(text)
    return small.run({"x": SPECIAL}), small.expected({"x": SPECIAL})


def test_what_is_bounded_stays_unknown_where_it_is_not_a_number() -> None:
    names = ("Relu", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu", "Abs")
    outs = ", ".join(f"float[9] {name}_" for name in names)
    got, want = special(f"(float[9] x) => ({outs}) {{ {' '.join(f'{name}_ = {name}(x)' for name in names)} }}")
    np.testing.assert_allclose(np.stack(got), np.stack(want), rtol=1e-6)
    assert np.isnan(got[0]).sum() == 2


def test_a_clip_gives_the_very_bits_of_onnxruntime() -> None:
    got, want = special("(float[9] x) => (float[9] y) <float low = {0}, float high = {1}> { y = Clip(x, low, high) }")
    assert got[0].tobytes() == want[0].tobytes()


def test_one_over_an_absolute_value_is_not_negative() -> None:
    small = Small("(float[2] x) => (float[2] y) { a = Abs(x)  y = Reciprocal(a) }")
    [got] = small.run({"x": np.float32([0.0, -0.0])})
    assert got.tolist() == [np.inf, np.inf]


@pytest.mark.parametrize(("operator", "fill"), [("ReduceMax", -np.inf), ("ReduceMin", np.inf)])
def test_the_extreme_of_infinite_numbers_is_infinite(operator: str, fill: float) -> None:
    small = Small(f"(float[3,21] x) => (float[3,1] y) {{ y = {operator}<axes=[1]>(x) }}")
    [got] = small.run({"x": np.full((3, 21), fill, np.float32)})
    assert (got == fill).all()


def summed_from(start: float) -> tirx.PrimFunc:
    x, k = te.placeholder((3, 9), name="x"), te.reduce_axis((0, 9))
    total = te.comm_reducer(lambda a, b: a + b, lambda dtype: tirx.const(start, dtype))
    return te.create_prim_func([x, te.compute((3,), lambda i: total(x[i, k], axis=k))])


def test_a_sum_that_starts_from_a_number_is_left_alone() -> None:
    """Sums side by side would each start from it."""
    cpu = Cpu.of(load_target("host"))
    assert in_rows(summed_from(0), cpu)
    with pytest.raises(UnreadableError, match="a number that counts"):
        in_rows(summed_from(5), cpu)
