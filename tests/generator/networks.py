"""Patterns of whole networks: shortcuts that pad, dense blocks, pyramids, attention over channels and space."""

from __future__ import annotations

import numpy as np

from .builder import CHANNELS, MOST_CHANNELS, Builder, Value
from .conv import conv, divisors, mean, several
from .dense import reshape
from .layout import padded
from .shapes import gather, targeted
from .table import activations, blocks


@blocks.add(1.5, fits=lambda x: min(x.spatial) >= 4 and x.channels <= MOST_CHANNELS - 2, rare=True)
def option_a(b: Builder, x: Value) -> Value:
    """The first ResNets: every second pixel, padded with channels of zeros, meets a strided layer."""
    before, after = b.choose(((1, 1), (0, 2), (2, 0)))
    strides = {"strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    main = activations.make(b, conv(b, x, x.channels + before + after, **strides))
    if b.opset < 10:
        short = b.op("AveragePool", x, kernel_shape=[1, 1], strides=[2, 2])
    else:
        short = b.op("Slice", x, *(b.integers(n, n) for n in (0, 2**31 - 1)), b.integers(2, 3), b.integers(2, 2))
    return b.op("Add", main, padded(b, short, [0, before, 0, 0, 0, after, 0, 0], "constant"))


@blocks.add(1.5, fits=lambda x: x.channels <= MOST_CHANNELS // 2, rare=True)
def dense_block(b: Builder, x: Value) -> Value:
    """Every layer reads all before it, normalised; a pointwise transition ends it."""
    parts = [x]
    for _ in range(b.choose((2, 3))):
        y = b.op("Concat", *parts, axis=1) if len(parts) > 1 else x
        c = y.channels
        y = b.op("BatchNormalization", y, b.scale(c), b.shift(c), b.shift(c), b.scale(c))
        parts.append(conv(b, b.op("Relu", y), b.choose((2, 3)), kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    return conv(b, b.op("Concat", *parts, axis=1), b.choose(CHANNELS))


@blocks.add(1.5, fits=lambda x: min(x.spatial) >= 4 and max(x.spatial) <= 9, rare=True)
def pyramid(b: Builder, x: Value) -> Value:
    """A head whose weights all levels share, each level brought to one width by a layer of its own."""
    width, out = b.choose(CHANNELS), b.choose(CHANNELS)
    coarse = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    levels = [conv(b, level, width) for level in (x, coarse)]
    hidden, last = b.weight(width, width, 1, 1, reads=width), b.weight(out, width, 1, 1, reads=width)
    bias, rows = b.shift(width), []
    for level in levels:
        y = activations.make(b, b.op("Conv", level, hidden, bias))
        y = b.op("Conv", y, last)
        rows.append(reshape(b, y, out, -1))
    both = b.op("Concat", *rows, axis=2)
    weight = b.op("Sigmoid", mean(b, both, 2, keepdims=1))
    return b.op("Mul", conv(b, x, out), reshape(b, weight, out, 1, 1))


@blocks.add(1.5, fits=several, rare=True)
def cbam(b: Builder, x: Value) -> Value:
    """Channels gated by two pools through shared layers, then pixels by mean and maximum over the channels."""
    narrow = b.choose((2, 3, 4))
    down, up = b.weight(narrow, x.channels, 1, 1, reads=x.channels), b.weight(x.channels, narrow, 1, 1, reads=narrow)
    pooled = [b.op(kind, x) for kind in ("GlobalAveragePool", "GlobalMaxPool")]
    gates = [b.op("Conv", b.op("Relu", b.op("Conv", p, down)), up) for p in pooled]
    y = b.op("Mul", x, b.op("Sigmoid", b.op("Add", *gates)))
    axes, said = ([], {"axes": [1]}) if b.opset < 18 else ([b.integers(1)], {})
    maps = [b.op(kind, y, *axes, keepdims=1, **said) for kind in ("ReduceMean", "ReduceMax")]
    gate = conv(b, b.op("Concat", *maps, axis=1), 1, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return b.op("Mul", y, b.op("Sigmoid", gate))


@blocks.add(1.5, fits=lambda x: len(divisors(x.channels)) > 2, rare=True)
def groups_meet(b: Builder, x: Value) -> Value:
    """Two grouped layers of different numbers of groups, added or multiplied."""
    made = []
    for _ in range(2):
        group = b.choose(divisors(x.channels))
        if b.chance(0.3):
            weight = b.weight(x.channels, x.channels // group, 1, 1, reads=x.channels // group)
            made.append(b.op("ConvTranspose", x, weight, group=group, kernel_shape=[1, 1]))
        else:
            made.append(conv(b, x, x.channels, group=group))
    return b.op(b.choose(("Add", "Mul")), *made)


@blocks.add(1, rare=True)
def depthwise_transposed(b: Builder, x: Value) -> Value:
    many = b.choose((1, 2)) if x.channels <= MOST_CHANNELS // 2 else 1
    weight = b.weight(x.channels, many, 3, 3, reads=9)
    bias = [b.shift(many * x.channels)] if b.chance(0.5) else []
    return b.op("ConvTranspose", x, weight, *bias, group=x.channels, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


@blocks.add(1.5, since=13, rare=True)
def int8_conv(b: Builder, x: Value) -> Value:
    """A kernel of int8 with a scale and a zero point for every channel, or one for all, its bias of int32."""
    out, columns = b.choose(CHANNELS), x.channels
    levels = b.exact("levels", b.rng.integers(-90, 90, (out, columns, 1, 1)).astype(np.int8))
    each = b.chance(0.7)
    steps = (b.rng.uniform(0.5, 1.5, out if each else ()) / 90 * columns**-0.5).astype(np.float32)
    zero = [b.exact("zero", b.rng.integers(-5, 5, steps.shape).astype(np.int8))] if b.chance(0.5) else []
    axis = {"axis": b.choose((0, -4))} if each else {}
    weight = b.op("DequantizeLinear", levels, b.exact("step", steps), *zero, **axis)
    if b.chance(0.5):
        return b.op("Conv", x, weight)
    counts = b.exact("counts", b.rng.integers(-900, 900, out).astype(np.int32))
    bias = b.op(
        "DequantizeLinear", counts, b.exact("step", (steps / 30).astype(np.float32)), **({"axis": 0} if each else {})
    )
    return b.op("Conv", x, weight, bias)


@blocks.add(1, since=9, fits=lambda x: len(divisors(x.channels)) > 2, rare=True)
def computed_shuffle(b: Builder, x: Value) -> Value:
    """A channel shuffle whose batch and pixels are read from the shape."""
    shape, group = b.op("Shape", x), b.choose(divisors(x.channels)[1:-1])
    batch, height, width = (gather(b, shape, k) for k in (0, 2, 3))
    inner = (group, x.channels // group)
    apart = targeted(b, x, (x.shape[0], *inner, *x.spatial), batch, b.integers(*inner), height, width)
    turned = b.op("Transpose", apart, perm=[0, 2, 1, 3, 4])
    return b.shaped(x.shape, "Reshape", turned, shape)


@blocks.add(1, since=9, rare=True)
def filled(b: Builder, x: Value) -> Value:
    """Numbers that the graph makes in the shape of what it has: by ConstantOfShape, or a vector expanded to it."""
    shape = b.op("Shape", x)
    if b.chance(0.5):
        return b.op("Max", x, b.shaped(x.shape, "ConstantOfShape", shape))
    gate = b.shaped(x.shape, "Expand", b.op("GlobalAveragePool", x), shape)
    return b.op("Sub", x, gate)


@blocks.add(0.7, since=9, rare=True)
def counted(b: Builder, x: Value) -> Value:
    """Divided by a number of channels or pixels, read from the shape."""
    size = b.op("Cast", gather(b, b.op("Shape", x), b.choose((1, 2))), to=1)
    return b.op("Mul", b.op("Div", x, size), b.number(4))
