"""Reshape, Flatten, Squeeze and their kin in every form that exporters write, for the fuzzer."""

from __future__ import annotations

import math

import numpy as np

from .builder import CHANNELS, Builder, Value
from .conv import divisors, mean
from .dense import gemm, project, reshape, unsqueeze
from .layout import TO_NCHW, TO_NHWC, composite
from .table import activations, blocks, denses, vectors


def gather(b: Builder, shape: Value, index: int) -> Value:
    """One size, as a vector of one number."""
    return b.op("Gather", shape, b.integers(index), axis=0)


def targeted(b: Builder, x: Value, shape: tuple[int | str, ...], *parts: Value) -> Value:
    """A Reshape to a target that is put together from parts."""
    return b.shaped(shape, "Reshape", x, b.op("Concat", *parts, axis=0))


@vectors.add(0.7, since=9, rare=True)
def view(b: Builder, x: Value) -> Value:
    """``x.view(x.size(0), -1)`` as PyTorch writes it."""
    batch = gather(b, b.op("Shape", x), 0)
    return targeted(b, x, (x.shape[0], math.prod((x.channels, *x.spatial))), batch, b.integers(-1))


@blocks.add(0.7, since=9, rare=True)
def view_and_back(b: Builder, x: Value) -> Value:
    """The pixels in a row and back, every size taken from the shape, or written as a number."""
    shape, (height, width) = b.op("Shape", x), x.spatial
    pixels = (x.shape[0], x.channels, height * width)
    front = [gather(b, shape, 0), gather(b, shape, 1) if b.chance(0.5) else b.integers(x.channels)]
    y = activations.make(b, targeted(b, x, pixels, *front, b.integers(-1)))
    sides = [gather(b, shape, i) if b.chance(0.6) else b.integers(x.spatial[i - 2]) for i in (2, 3)]
    return targeted(b, y, x.shape, *front, *sides)


@blocks.add(0.4, since=15, rare=True)
def sizes_by_slice(b: Builder, x: Value) -> Value:
    """The spatial sizes by ``Shape`` with a start, and a product of sizes by ``ReduceProd`` or ``Mul``."""
    front, sides = b.op("Shape", x, end=2), b.op("Shape", x, start=2)
    product = b.op("Mul", gather(b, sides, 0), gather(b, sides, 1))
    y = targeted(b, x, (*x.shape[:2], math.prod(x.spatial)), front, product)
    return targeted(b, activations.make(b, y), x.shape, front, sides)


@blocks.add(0.7, fits=composite, rare=True)
def group_norm(b: Builder, x: Value) -> Value:
    """As exported from PyTorch: groups of channels as the channels of an InstanceNormalization."""
    group = b.choose(divisors(x.channels)[1:-1])
    rows = b.op("Reshape", x, b.integers(0, group, -1))
    y = b.op("InstanceNormalization", rows, b.exact("one", np.ones(group, np.float32)), b.shift(group))
    back = reshape(b, y, x.channels, *x.spatial)
    return b.op("Add", b.op("Mul", back, b.scale(x.channels, 1, 1)), b.shift(x.channels, 1, 1))


@blocks.add(1.5, rare=True)
def flat_pixels(b: Builder, x: Value) -> Value:
    """Every pixel a row of one matrix, through dense layers, and back."""
    if not isinstance(x.shape[0], int):
        return project_last(b, x)
    rows = b.op("Reshape", b.op("Transpose", x, perm=TO_NHWC), b.integers(-1, x.channels))
    y = gemm(b, rows)
    back = b.op("Reshape", y, b.integers(x.shape[0], *x.spatial, y.channels))
    return b.op("Transpose", back, perm=TO_NCHW)


def project_last(b: Builder, x: Value) -> Value:
    return b.op("Transpose", project(b, b.op("Transpose", x, perm=TO_NHWC), b.choose(CHANNELS)), perm=TO_NCHW)


@blocks.add(1, rare=True)
def extra_axes(b: Builder, x: Value) -> Value:
    """Axes of size 1 that come anywhere and go again, said or all at once."""
    place = b.choose((1, 2, 3, 4))
    y = activations.make(b, unsqueeze(b, x, place, rank=5))
    many = isinstance(b.batch, str) or 1 in x.shape  # a Squeeze of all would take more
    if many or b.chance(0.4):
        return b.op("Squeeze", y, axes=[place]) if b.opset < 13 else b.op("Squeeze", y, b.integers(place))
    return b.op("Squeeze", y)


@vectors.add(1, rare=True)
def flatten_then_rows(b: Builder, x: Value) -> Value:
    """Flattened behind the channels, channels and batch being rows, and put into rows of one image again."""
    if not isinstance(b.batch, int):
        return b.op("Flatten", x, axis=1)
    axis = b.choose((0, 2, 3))
    y = b.op("Flatten", x, axis=axis - 4 if b.opset >= 11 and b.chance(0.5) and axis else axis)
    return b.op("Reshape", y, b.integers(b.batch, -1))


@blocks.add(1, since=14, rare=True)
def said_in_full(b: Builder, x: Value) -> Value:
    """With ``allowzero``, where no size is 0."""
    if not isinstance(b.batch, int):
        return reshape(b, activations.make(b, reshape(b, x, x.channels, *x.spatial[::-1])), x.channels, *x.spatial)
    y = b.op("Reshape", x, b.integers(b.batch, x.channels, -1), allowzero=1)
    return b.op("Reshape", activations.make(b, y), b.integers(*x.shape), allowzero=1)


@denses.add(1, rare=True)
def heads_apart(b: Builder, x: Value) -> Value:
    """A vector as a few heads, transposed and merged again."""
    heads = b.choose(divisors(x.channels))
    y = reshape(b, x, heads, x.channels // heads)
    if b.chance(0.6):
        y = b.op("Transpose", activations.make(b, y), perm=[0, 2, 1])
    return reshape(b, y, b.choose((x.channels, -1)))


@blocks.add(0.7, rare=True)
def channel_first(b: Builder, x: Value) -> Value:
    """The channels in front of the batch for a while."""
    y = b.op("Transpose", x, perm=[1, 0, 2, 3])
    y = b.op("Add", y, b.shift(x.channels, 1, 1, 1)) if b.chance(0.5) else b.op("Relu", y)
    return b.op("Transpose", y, perm=[1, 0, 2, 3])


@denses.add(1, rare=True)
def centred_vector(b: Builder, x: Value) -> Value:
    return b.op("Sub", x, mean(b, x, 1, keepdims=1)) if x.channels > 2 else b.op("Relu", x)
