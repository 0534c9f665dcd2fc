"""From pixels to vectors, and layers on vectors."""

from __future__ import annotations

import math

from .builder import CHANNELS, Builder, Value
from .conv import mean, squeezed
from .table import activations, denses, vectors

WIDTHS = CHANNELS[2:]  # a Relu on fewer units is too often all dead


def reshape(b: Builder, x: Value, *sizes: int) -> Value:
    """A Reshape that keeps the batch, said as 0, as -1 where that is free, or as its number."""
    batches = [0]
    if -1 not in sizes:
        batches.append(-1)
    if isinstance(b.batch, int):
        batches.append(b.batch)
    return b.op("Reshape", x, b.integers(b.choose(batches), *sizes))


def squeeze(b: Builder, x: Value, *axes: int) -> Value:
    axes = tuple(b.axis(a, len(x.shape)) for a in axes)
    return b.op("Squeeze", x, axes=axes) if b.opset < 13 else b.op("Squeeze", x, b.integers(*axes))


def unsqueeze(b: Builder, x: Value, *axes: int, rank: int = 4) -> Value:
    axes = tuple(b.axis(a, rank) for a in axes)
    return b.op("Unsqueeze", x, axes=axes) if b.opset < 13 else b.op("Unsqueeze", x, b.integers(*axes))


def project(b: Builder, x: Value, out: int) -> Value:
    """A MatMul over the last axis, its weight stored transposed at times, with a bias added or not."""
    columns = int(x.shape[-1])
    if b.chance(0.2):
        weight = b.op("Transpose", b.weight(out, columns, reads=columns), perm=[1, 0])
    else:
        weight = b.weight(columns, out, reads=columns)
    y = b.op("MatMul", x, weight)
    return b.op("Add", *((y, b.shift(out)) if b.chance(0.7) else (b.shift(out), y))) if b.chance(0.7) else y


@denses.add(2)
def gemm(b: Builder, x: Value) -> Value:
    out, columns = b.choose(WIDTHS), x.channels
    flipped = b.choose((0, 1))
    weight = b.weight(*((out, columns) if flipped else (columns, out)), reads=columns)
    scales = b.choose(({}, {"alpha": 0.5}, {"alpha": 1.25, "beta": 2.0}))
    bias = [] if b.opset >= 11 and b.chance(0.3) else [b.shift(*b.choose(((out,), (1, out))))]
    return b.op("Gemm", x, weight, *bias, transB=flipped, **scales)


@denses.add(1)
def matmul(b: Builder, x: Value) -> Value:
    return project(b, x, b.choose(WIDTHS))


@denses.add(1)
def residual_dense(b: Builder, x: Value) -> Value:
    """Two layers and a shortcut, in a width of their own."""
    y = gemm(b, x)
    return b.op("Add", y, project(b, activations.make(b, y), y.channels))


@denses.add(0.5)
def batch_norm_dense(b: Builder, x: Value) -> Value:
    y = gemm(b, x)
    c = y.channels
    return b.op("BatchNormalization", y, b.scale(c), b.shift(c), b.shift(c), b.scale(c))


@vectors.add(2)
def flatten(b: Builder, x: Value) -> Value:
    return b.op("Flatten", x, axis=1)


@vectors.add(2)
def reshaped(b: Builder, x: Value) -> Value:
    """All numbers of an image in a row, by -1 or by their count."""
    return reshape(b, x, b.choose((-1, math.prod((x.channels, *x.spatial)))))


@vectors.add(0.7)
def flatten_last(b: Builder, x: Value) -> Value:
    """Flattened with the channels last, so that neighbours are different channels."""
    return b.op("Flatten", b.op("Transpose", x, perm=[0, 2, 3, 1]))


@vectors.add(1)
def pooled(b: Builder, x: Value) -> Value:
    return b.op("Flatten", squeezed(b, x), axis=1)


@vectors.add(1)
def pooled_squeeze(b: Builder, x: Value) -> Value:
    return squeeze(b, b.op("GlobalMaxPool", x) if b.chance(0.3) else squeezed(b, x), 2, 3)


@vectors.add(0.7)
def pooled_reshape(b: Builder, x: Value) -> Value:
    return reshape(b, squeezed(b, x), x.channels)


@vectors.add(1)
def averaged(b: Builder, x: Value) -> Value:
    return mean(b, x, 2, 3, keepdims=0)
