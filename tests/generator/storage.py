"""Weights that are computed, shared between operators of different kinds, or stored in another type; for the fuzzer."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .builder import CHANNELS, Builder, Value
from .layout import TO_NCHW, TO_NHWC
from .table import blocks, denses


def kernel(b: Builder, rows: int, columns: int) -> Value:
    """A weight (rows, columns) computed from constants in one of many ways."""
    return b.choose((joined, sliced, parted, scaled, turned, picked, centred, quantised, stretched))(b, rows, columns)


def plain(b: Builder, rows: int, columns: int) -> Value:
    return b.weight(rows, columns, reads=columns)


def joined(b: Builder, rows: int, columns: int) -> Value:
    first = b.choose(range(1, rows)) if rows > 1 else 0
    parts = [plain(b, n, columns) for n in (first, rows - first) if n]
    return b.op("Concat", *parts, axis=b.axis(0, 2))


def sliced(b: Builder, rows: int, columns: int) -> Value:
    wide = plain(b, rows + 2, columns)
    if b.opset < 10:
        return b.op("Slice", wide, starts=[1], ends=[rows + 1], axes=[0])
    return b.op("Slice", wide, b.integers(1), b.integers(rows + 1), b.integers(0))


def parted(b: Builder, rows: int, columns: int) -> Value:
    both = plain(b, 2 * rows, columns)
    if b.opset < 13:
        return b.choose(b.fan("Split", 2, both, split=[rows, rows], axis=0))
    return b.choose(b.fan("Split", 2, both, b.integers(rows, rows), axis=0))


def scaled(b: Builder, rows: int, columns: int) -> Value:
    return b.op("Mul", b.scale(*b.choose(((rows, 1), (columns,), (1,)))), plain(b, rows, columns))


def turned(b: Builder, rows: int, columns: int) -> Value:
    return b.op("Transpose", plain(b, columns, rows), perm=[1, 0])


def picked(b: Builder, rows: int, columns: int) -> Value:
    return b.op("Gather", plain(b, rows, columns), b.integers(*b.permutation(rows)), axis=0)


def centred(b: Builder, rows: int, columns: int) -> Value:
    """Of every column the mean is taken, as in weight standardisation."""
    weight = plain(b, rows, columns)
    if rows == 1:
        return weight
    axes = {"axes": [0]} if b.opset < 18 else {}
    return b.op("Sub", weight, b.op("ReduceMean", weight, *([] if axes else [b.integers(0)]), keepdims=1, **axes))


def quantised(b: Builder, rows: int, columns: int) -> Value:
    if b.opset < 13:
        return plain(b, rows, columns)
    levels = b.rng.integers(-90, 90, (rows, columns)).astype(np.int8)
    scale = b.exact("step", (b.rng.uniform(0.5, 1.5, rows) / 90).astype(np.float32))
    return b.op("DequantizeLinear", b.exact("levels", levels), scale, axis=0)


def stretched(b: Builder, rows: int, columns: int) -> Value:
    """Every row the same numbers, scaled."""
    if b.opset < 8:
        return plain(b, rows, columns)
    spread = b.op("Expand", b.weight(1, columns, reads=columns), b.integers(rows, columns))
    return b.op("Mul", spread, b.shift(rows, 1))


def as_kernel(b: Builder, weight: Value) -> Value:
    return b.op("Reshape", weight, b.integers(*b.choose(([0, 0, 1, 1], [*weight.shape, 1, 1], [0, -1, 1, 1]))))


@blocks.add(1.5, rare=True)
def computed_conv(b: Builder, x: Value) -> Value:
    weight = as_kernel(b, kernel(b, b.choose(CHANNELS), x.channels))
    bias = [b.op("Mul", b.shift(int(weight.shape[0])), b.number(1.5))]
    return b.op("Conv", x, weight, *(bias if b.chance(0.5) else []))


@denses.add(2, rare=True)
def computed_gemm(b: Builder, x: Value) -> Value:
    out = b.choose(CHANNELS)
    if b.chance(0.5):
        return b.op("Gemm", x, kernel(b, out, x.channels), b.shift(out), transB=1)
    return b.op("MatMul", x, kernel(b, x.channels, out))


@blocks.add(1.5, rare=True)
def one_weight_for_two(b: Builder, x: Value) -> Value:
    """A convolution and a MatMul over channels with one and the same weight, in a row or side by side."""
    weight = plain(b, x.channels, x.channels)
    y = b.op("Conv", x, as_kernel(b, weight))
    rows = b.op("Transpose", b.choose((x, y)), perm=TO_NHWC)
    if b.chance(0.5):
        weight = b.op("Transpose", weight, perm=[1, 0])
    z = b.op("Transpose", b.op("MatMul", rows, weight), perm=TO_NCHW)
    return b.op("Add", b.op("Tanh", y), b.op("Tanh", z))


@denses.add(2, rare=True)
def square(b: Builder, x: Value) -> Value:
    """One square weight as Gemm, flipped Gemm, MatMul, and as a number to add."""
    c = x.channels
    weight, y = plain(b, c, c), x
    for _ in range(b.choose((2, 3))):
        y = b.op("Tanh", y)
        form = b.choose(("upright", "flipped", "matmul"))
        if form == "matmul":
            y = b.op("MatMul", y, weight)
        else:
            bias = [b.shift(c)] if b.opset < 11 or b.chance(0.6) else []
            y = b.op("Gemm", y, weight, *bias, transB=int(form == "flipped"))
    return y


@blocks.add(2, rare=True)
def bias_elsewhere(b: Builder, x: Value) -> Value:
    """A vector that is a bias, an offset, a slope and a mean."""
    c = x.channels
    vector = b.shift(c)
    y = b.op("Conv", x, b.weight(c, c, 1, 1, reads=c), vector)
    y = b.op("BatchNormalization", y, b.scale(c), vector, vector, b.scale(c))
    column = b.op("Reshape", vector, b.integers(*b.choose(((-1, 1, 1), (c, 1, 1), (1, c, 1, 1)))))
    return b.op(b.choose(("Add", "Mul")), *b.choose(((y, column), (column, y))))


def narrowed(b: Builder, x: Value, dtype: type) -> Value:
    """A dense layer and an activation in half or double precision."""
    kind = TensorProto.FLOAT16 if dtype is np.float16 else TensorProto.DOUBLE
    columns, out = int(x.shape[-1]), b.choose(CHANNELS)
    weight = b.exact("weight", b.rng.normal(0, (2 / columns) ** 0.5, (columns, out)).astype(dtype))
    y = b.op("MatMul", b.op("Cast", x, to=kind), weight)
    if b.chance(0.6):
        y = b.op("Add", y, b.exact("shift", b.rng.uniform(0.1, 0.5, out).astype(dtype)))
    if b.chance(0.5):
        y = b.op("Mul", b.exact("scale", b.rng.uniform(0.6, 1.5, out).astype(dtype)), y)
    return b.op("Cast", b.op("Relu", y), to=TensorProto.FLOAT)


@blocks.add(0.8, rare=True)
def precision(b: Builder, x: Value) -> Value:
    y = narrowed(b, b.op("Transpose", x, perm=TO_NHWC), np.float64 if b.opset < 14 else _precision(b))
    return b.op("Transpose", y, perm=TO_NCHW)


@denses.add(1, since=14, rare=True)
def precision_dense(b: Builder, x: Value) -> Value:
    return narrowed(b, x, _precision(b))


def _precision(b: Builder) -> type:
    return b.choose((np.float16, np.float64))
