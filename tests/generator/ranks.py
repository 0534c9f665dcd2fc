"""Layers on signals (N, C, L) and volumes (N, C, D, H, W), in every form that a window has, for the fuzzer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .builder import CHANNELS, MOST_CHANNELS, Builder, Value
from .conv import divisors
from .dense import reshape
from .elementwise import per_channel
from .table import activations, blocks


def keeping(b: Builder, x: Value) -> dict[str, Any]:
    """A window that keeps all spatial sizes: by pads, even or not, or by auto_pad."""
    kernel = [b.choose((1, 2, 3)) for _ in x.spatial]
    form = b.choose(("pads", "pads", "SAME_UPPER", "SAME_LOWER"))
    dilations = [b.choose((1, 1, 2)) if form == "pads" else 1 for _ in kernel]
    reach = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    begins = [b.choose(range(r + 1)) for r in reach]
    pads = [*begins, *(r - begin for r, begin in zip(reach, begins, strict=True))]
    where = {"pads": pads, "dilations": dilations} if form == "pads" else {"auto_pad": form}
    return {"kernel_shape": kernel, **where, **({"strides": [1] * len(kernel)} if b.chance(0.5) else {})}


def convolved(b: Builder, x: Value, out: int, group: int = 1) -> Value:
    """A convolution of any rank that keeps the spatial sizes; its kernel's shape may go without saying."""
    attributes = keeping(b, x)
    kernel = attributes["kernel_shape"]
    if b.chance(0.3):
        del attributes["kernel_shape"]
    if group > 1 or b.chance(0.3):
        attributes["group"] = group
    columns = x.channels // group
    weight = b.weight(out, columns, *kernel, reads=columns * math.prod(kernel))
    return b.op("Conv", x, weight, *([b.shift(out)] if b.chance(0.5) else []), **attributes)


def grouped_conv(b: Builder, x: Value) -> Value:
    group = b.choose(divisors(x.channels))
    rows = b.choose([n for n in (1, 2, 3) if group * n <= MOST_CHANNELS] or [1])
    return convolved(b, x, group * rows, group)


def plain_conv(b: Builder, x: Value) -> Value:
    return convolved(b, x, b.choose(CHANNELS))


def normed(b: Builder, x: Value) -> Value:
    c = x.channels
    return b.op("BatchNormalization", x, b.scale(c), b.shift(c), b.shift(c), b.scale(c))


def scaled(b: Builder, x: Value) -> Value:
    operands = [x, b.scale(*per_channel(b, x))]
    return b.op("Mul", *(operands if b.chance(0.5) else operands[::-1]))


def pooled(b: Builder, x: Value) -> Value:
    """A pool that keeps the sizes, one in three pools."""
    kind = b.choose(("MaxPool", "AveragePool", "LpPool"))
    pads = [1] * (2 * len(x.spatial))
    extra: dict[str, Any] = {"count_include_pad": 1} if kind == "AveragePool" else {}
    return b.op(kind, x, kernel_shape=[3] * len(x.spatial), strides=[1] * len(x.spatial), pads=pads, **extra)


def joined(b: Builder, x: Value) -> Value:
    if x.channels > MOST_CHANNELS // 2:
        return x
    return b.op("Concat", x, activations.make(b, x), axis=b.axis(1, len(x.shape)))


def added(b: Builder, x: Value) -> Value:
    return b.op("Add", x, convolved(b, x, x.channels))


def untransposed(b: Builder, x: Value) -> Value:
    """A ConvTranspose with a kernel of one or two, whose output padding or pads keep the sizes."""
    out, ones = b.choose(CHANNELS[:3]), [1] * len(x.spatial)
    return b.op("ConvTranspose", x, b.weight(x.channels, out, *ones, reads=x.channels), kernel_shape=ones)


LAYERS = (plain_conv, plain_conv, grouped_conv, grouped_conv, normed, scaled, pooled, joined, joined, added)
RARELY = (untransposed, activations.make, activations.make)


def layers(b: Builder, x: Value) -> Value:
    for _ in range(b.choose((1, 2, 3))):
        x = b.choose(LAYERS if b.chance(0.8) else RARELY)(b, x)
    return x


@blocks.add(4, rare=True)
def image(b: Builder, x: Value) -> Value:
    return layers(b, x)


@blocks.add(3, rare=True)
def signal(b: Builder, x: Value) -> Value:
    """The pixels in a row."""
    y = layers(b, reshape(b, x, x.channels, math.prod(x.spatial)))
    return reshape(b, y, y.channels, *x.spatial)


@blocks.add(3, rare=True)
def volume(b: Builder, x: Value) -> Value:
    """A third direction of size 1, or made of channels."""
    depth = b.choose([d for d in (1, 2, 3) if x.channels % d == 0])
    y = layers(b, reshape(b, x, x.channels // depth, depth, *x.spatial))
    return reshape(b, y, y.channels * depth, *x.spatial) if y.channels * depth <= MOST_CHANNELS else first(b, y)


def first(b: Builder, y: Value) -> Value:
    """The first slice in depth, (N, C, H, W)."""
    return b.op("Gather", y, b.exact("index", np.array(0, np.int64)), axis=2)
