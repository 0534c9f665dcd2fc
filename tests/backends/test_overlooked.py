"""Options that TVM's frontend overlooks count all the same: written out, compiled, and equal to onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxprune.backends import load_target, tvm
from onnxprune.backends.lowering import lowered
from onnxprune.backends.static import fix_shapes

INF = np.float32(np.inf)
LOWEST = np.finfo(np.float32).min
EVERY = {("", schema.name) for schema in onnx.defs.get_all_schemas()}

IMAGE = "(float[1,2,5,6] x) => (float[1,2,A,B] y)"
CASES = {
    "infinities of one sign": "(float[6] x) => (bool[6] y) { y = IsInf<detect_negative=0>(x) }",
    "infinities of the other": "(float[6] x) => (bool[6] y) { y = IsInf<detect_positive=0>(x) }",
    "infinities of no sign": "(float[6] x) => (bool[6] y) { y = IsInf<detect_positive=0, detect_negative=0>(x) }",
    "the mask of what is not dropped": "(float[2,3] x) => (float[2,3] y, bool[2,3] m) { y, m = Dropout(x) }",
    "the size of a transposed convolution": "(float[1,4,5,6] x) => (float[1,3,A,B] y) <float[4,3,3,2] w = W>"
    " { y = ConvTranspose<strides=[2,3], output_shape=[10,17]>(x, w) }",
    "a larger one, padded above": "(float[1,4,3,3] x) => (float[1,2,A,B] y) <float[4,2,3,3] w = W>"
    ' { y = ConvTranspose<strides=[3,2], output_shape=[10,8], auto_pad="SAME_UPPER">(x, w) }',
    "many copies": "(float[2,3,4,5] x) => (float[2,18,16,5] y) <int64[4] r = {1,6,4,1}> { y = Tile(x, r) }",
    "the mean of a normalisation": "(float[2,3,4] x) => (float[2,3,4] y, float[2,3,1] m) <float[4] s = W>"
    " { y, m = LayerNormalization(x, s) }",
    "a scale that is broadcast": "(float[2,3,4] x) => (float[2,3,4] y) <float[4] s = W>"
    " { y = LayerNormalization<axis=1>(x, s) }",
    "halves on a grid": "(float[3,5] x) => (uint8[3,5] y) <float s = {1.0}, uint8 z = {3}>"
    " { y = QuantizeLinear(x, s, z) }",
    "infinities on a grid": "(float[6] x) => (int8[6] y) <float s = {0.5}, int8 z = {-3}>"
    " { y = QuantizeLinear(x, s, z) }",
    "a grid without a zero point": "(float[3,5] x) => (float[3,5] y) <float s = {0.25}>"
    " { q = QuantizeLinear(x, s)  y = DequantizeLinear(q, s) }",
    "a grid for each channel": "(float[2,3,4] x) => (float[2,3,4] y)"
    " <float[3] s = {0.5, 0.25, 0.01}, int8[3] z = {3, 0, -7}>"
    " { q = QuantizeLinear<axis=-2>(x, s, z)  y = DequantizeLinear<axis=1>(q, s, z) }",
    "weights on a grid": "(float[2,3] x) => (float[2,2] y)"
    " <int8[3,2] w = {1, -2, 3, 100, -128, 127}, float[3] s = {0.5, 0.25, 0.01}, int8[3] z = {3, 0, -7}>"
    " { v = DequantizeLinear<axis=0>(w, s, z)  b = IsInf(x)  f = Cast<to=1>(b)  y = MatMul(f, v) }",
    "an integer exponent": "(float[6] x) => (float[6] y) <int64 e = {3}> { y = Pow(x, e) }",
    "the maximum of infinities": "(float[2,3] x) => (float[2,1] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }",
    "the minimum of truth values": "(float[2,3] x) => (bool[2] y) <float z = {0.0}, int64[1] a = {1}>"
    " { b = Greater(x, z)  y = ReduceMin<keepdims=0>(b, a) }",
    "the place of the largest of infinities": "(float[2,3] x) => (int64[2,1] y) { y = ArgMax<axis=-1>(x) }",
    "the last place": "(float[2,3] x) => (int64[2,1] y) { y = ArgMax<axis=-1, select_last_index=1>(x) }",
    "the type of what is hot": "(float[4] x) => (float[4,3] y) <int64 d = {3}, float[2] v = {0.5, 2.0}>"
    " { i = Cast<to=7>(x)  y = OneHot(i, d, v) }",
    "another axis of what is hot": "(float[4] x) => (float[3,4] y) <int64[1] d = {3}, float[2] v = {0.5, 2.0}>"
    " { i = Cast<to=7>(x)  y = OneHot<axis=0>(i, d, v) }",
    "a scale of regions": "(float[1,2,8,8] x) => (float[2,2,3,3] y) <int64[2] i = {0,0},"
    " float[2,4] r = {0.0,0.0,9.0,9.0,2.0,3.0,14.0,12.0}>"
    " { y = RoiAlign<output_height=3, output_width=3, sampling_ratio=2, spatial_scale=0.5>(x, r, i) }",
    "uneven pieces": "(float[7,2] x) => (float[3,2] a, float[3,2] b, float[1,2] c)"
    " { a, b, c = Split<num_outputs=3>(x) }",
    "a scale that leaves a rest": IMAGE + ' <float[4] s = {1.0, 1.0, 0.7, 1.5}> { y = Resize<mode="linear">(x, , s) }',
    "a cubic, without what is outside": IMAGE + " <float[4] s = {1.0, 1.0, 1.3, 0.6}>"
    ' { y = Resize<mode="cubic", exclude_outside=1>(x, , s) }',
    "smoothing": IMAGE + ' <int64[4] s = {1, 2, 3, 4}> { y = Resize<mode="linear", antialias=1>(x, , , s) }',
    "some axes": IMAGE + " <int64[2] s = {7, 9}, int64[2] a = {3, 2}> { y = Resize<axes=[3,2]>(x, , , s) }",
    "an aspect ratio": IMAGE + " <int64[2] s = {9, 9}>"
    ' { y = Resize<axes=[2,3], keep_aspect_ratio_policy="not_larger">(x, , , s) }',
    "a corner alone": IMAGE + " <int64[4] s = {1, 2, 1, 3}>"
    ' { y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , s) }',
    "operators without vectors": "(float[16] x) => (float[16] y) { a = Cosh(x)  b = Sinh(a)  y = Atan(b) }",
    "boxes that overlap": "(float[1,4,4] x) => (int64[N,3] y) <float[1,1,4] s = {0.9, 0.6, 0.8, 0.7}, int64 m = {3},"
    " float t = {0.4}> { b = Abs(x)  y = NonMaxSuppression(b, s, m, t) }",
    "elements put elsewhere": "(float[2,4] x) => (float[2,4] y) <int64[1,2] i = {3,0}, float[1,2] u = {7.0,8.0}>"
    " { y = ScatterElements<axis=1>(x, i, u) }",
    "the largest ones": "(float[2,6] x) => (float[2,3] y, int64[2,3] i) <int64[1] k = {3}> { y, i = TopK(x, k) }",
    "a sum of what came before": "(float[2,6] x) => (float[2,6] y) <int64 a = {-1}>"
    " { y = CumSum<exclusive=1, reverse=1>(x, a) }",
    "as many as there are": "(float[3,4] x) => (int64[2,N] y) <float z = {0.0}> { b = Greater(x, z)  y = NonZero(b) }",
    "a root of the mean over all": "(float[3,4] x) => (float[3,4] y) <float[3,4] s = W>"
    " { y = RMSNormalization<axis=0>(x, s) }",
    "an operator that is a function": "(float[2,6,4,4] x) => (float[2,6,4,4] y) <float[6] s = W, float[6] b = W>"
    " { y = GroupNormalization<num_groups=3>(x, s, b) }",
    "one whose body depends on types": "(float[1,2,4,8] x) => (float[1,2,4,8] y)"
    " { y = Attention<is_causal=1>(x, x, x) }",
    "one with defaults": "(float[5] x) => (float[5] y) <int64 n = {5}> { w = HannWindow(n)  y = Mul(w, x) }",
    "a size that a computation reads": "(float[2,3] x) => (float[2,3] y)"
    " { s = Shape<start=1>(x)  f = Cast<to=1>(s)  y = Mul(x, f) }",
}
"""Text models; ``W`` stands for weights."""


def model_of(text: str) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    while " = W" in text:
        head = text[: text.index(" = W")]
        shape = [int(size) for size in head[head.rindex("[") + 1 : head.rindex("]")].split(",")]
        weights = ", ".join(f"{value:.3f}" for value in rng.normal(size=shape).ravel())
        text = text.replace(" = W", f" = {{{weights}}}", 1)
    opset = 23 if "Attention" in text or "RMS" in text else 21
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> net {text}')


def feed(model: onnx.ModelProto) -> np.ndarray:
    """Numbers of both signs, in rows; the last row is all -inf where the shape leaves room."""
    (value,) = model.graph.input
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    data = (3 * np.random.default_rng(1).normal(size=shape)).astype(np.float32)
    if shape == [6]:
        data[:2] = INF, -INF
    if shape == [2, 3]:
        data[1] = -INF
    if shape == [3, 5]:
        data = np.arange(-7, 8, dtype=np.float32).reshape(3, 5) / 2
    return data


def run(model: onnx.ModelProto, data: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: data})


def assert_equal(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    assert [(a.shape, a.dtype) for a in got] == [(b.shape, b.dtype) for b in want]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_it_is_written_out_and_compiled_rightly(name: str, tmp_path: Path) -> None:
    model = model_of(CASES[name])
    data = feed(model)
    want = run(model, data)
    assert_equal(run(lowered(fix_shapes(model, {}), EVERY).model, data), want)
    tvm.build(model, load_target("host"), tmp_path / "model.so", {})
    assert_equal(tvm.run(tmp_path / "model.so", [data]), want)


def test_the_lowest_number_stays_finite(tmp_path: Path) -> None:
    """The control of the maximum of infinities."""
    model = model_of(CASES["the maximum of infinities"])
    data = np.full((2, 3), LOWEST, np.float32)
    tvm.build(model, load_target("host"), tmp_path / "model.so", {})
    assert_equal(tvm.run(tmp_path / "model.so", [data]), [data[:, :1]])


REFUSED = {
    "it is in training mode": "(float[2,3,4] x) => (float[2,3,4] y, float[3] m, float[3] v) <float[3] s = W>"
    " { y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s) }",
    "it drops at random": "(float[2,3] x) => (float[2,3] y) <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }",
    "its base is int64": "(int64[3] x) => (int64[3] y) { y = Pow(x, x) }",
    "it averages int64": "(int64[2,3] x) => (int64[2,1] y) <int64[1] a = {1}> { y = ReduceMean(x, a) }",
    "'x' is of type object": "(string[3] x) => (bool[3] y) { y = Equal(x, x) }",
    "'q' is of type int4": "(float[4] x) => (float[4] y) <float s = {0.5}>"
    " { q = QuantizeLinear<output_dtype=22>(x, s)  y = DequantizeLinear(q, s) }",
    "'e' is empty": "(float[2,3] x) => (float[2,1] y) <int64[1] a = {1}, int64[1] b = {0}>"
    " { e = Slice(x, a, b, a)  y = ReduceSum(e, a) }",
    "'s' is computed at run time": "(int64[2] s) => (float[A,B] y) <float v = {1.0}> { y = Expand(v, s) }",
    "'a' is empty": "(float[4] x) => (float[0] a, float[4] b) <int64[2] s = {0,4}> { a, b = Split(x, s) }",
    "'n' is computed at run time": "(int64 n) => (float[N] y)"
    " { a = Constant<value_int=0>()  b = Constant<value_int=1>()  r = Range(a, n, b)  y = Cast<to=1>(r) }",
    "runtimes do not agree on its masked scores": "(float[1,2,4,8] x) => (float[1,2,4,8] y, float[1,2,4,4] s)"
    " { y, , , s = Attention<is_causal=1, qk_matmul_output_mode=2>(x, x, x) }",
    "runtimes do not agree on its maximum": "(float[1,2,8,8] x) => (float[1,2,3,3] y) <int64[1] i = {0},"
    ' float[1,4] r = {0.0,0.0,9.0,9.0}> { y = RoiAlign<output_height=3, output_width=3, mode="max">(x, r, i) }',
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_right_is_named_with_the_reason(why: str) -> None:
    lacks = tvm.unsupported(fix_shapes(model_of(REFUSED[why]), {}))
    assert why in [lack.why for lack in lacks]


def test_sizes_that_onnxruntime_finds_fault_with_once_known_are_named() -> None:
    """Range wants scalars, of which it is only told when the size of ``s`` is a constant."""
    text = """(int64[4] s) => (int64[N] y) {
      four = Constant<value_int=4>()  n = Size(s)  c = Equal(n, four)
      k = If(c) <then_branch = g1 () => (int64[P] a) { a = Constant<value_ints=[5]>() },
                 else_branch = g2 () => (int64[Q] b) { b = Constant<value_ints=[6]>() }>
      zero = Constant<value_int=0>()  step = Constant<value_int=1>()  y = Range(zero, k, step) }"""
    assert "If" in [lack.op for lack in tvm.unsupported(fix_shapes(model_of(text), {}))]
