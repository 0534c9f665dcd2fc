"""Convolutions, pooling and batch normalisation."""

from __future__ import annotations

from typing import Any

from .builder import CHANNELS, MOST_CHANNELS, Builder, Value
from .table import blocks


def roomy(x: Value) -> bool:
    return min(x.spatial) >= 4


def several(x: Value) -> bool:
    return x.channels >= 3


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def window(b: Builder, x: Value) -> dict[str, Any]:
    """Kernel, dilations, strides and pads that leave two rows and columns at least."""
    kernel, dilations, strides, begins, ends = [], [], [], [], []
    for size in x.spatial:
        kernel.append(b.choose((1, 3, 3, 5)))
        dilations.append(b.choose((1, 1, 2)))
        strides.append(b.choose((1, 1, 1, 2)) if size >= 4 else 1)
        reach = dilations[-1] * (kernel[-1] - 1)
        fits = size - reach >= 2 * strides[-1]
        begin, end = b.choose(((reach // 2, reach // 2), (reach, 0), (0, 0) if fits else (0, reach)))
        begins.append(begin)
        ends.append(end)
    return {"kernel_shape": kernel, "dilations": dilations, "strides": strides, "pads": begins + ends}


def conv(b: Builder, x: Value, out: int, *, group: int = 1, **attributes: Any) -> Value:
    """A convolution, pointwise unless its window says otherwise, with a bias or without."""
    kernel = attributes.setdefault("kernel_shape", [1, 1])
    columns = x.channels // group
    weight = b.weight(out, columns, *kernel, reads=columns * kernel[0] * kernel[1])
    return b.op("Conv", x, weight, *([b.shift(out)] if b.chance(0.6) else []), group=group, **attributes)


def like(b: Builder, x: Value, source: Value) -> Value:
    """A convolution of ``source`` to the shape of ``x``, which has its height and width."""
    group = b.choose([d for d in divisors(x.channels) if source.channels % d == 0]) if b.chance(0.3) else 1
    side = b.choose((1, 3))
    return conv(b, source, x.channels, group=group, kernel_shape=[side, side], pads=[side // 2] * 4)


def twin(b: Builder, x: Value) -> Value:
    """Another tensor of this shape: a live one, or a convolution of one, that of ``x`` for instance."""
    same = [v for v in b.live if v.shape == x.shape and v != x]
    if same and b.chance(0.7):
        return b.choose(same)
    return like(b, x, b.choose([v for v in b.live if v.spatial == x.spatial]))


@blocks.add(4)
def plain(b: Builder, x: Value) -> Value:
    return conv(b, x, b.choose(CHANNELS), **window(b, x))


@blocks.add(1)
def stack(b: Builder, x: Value) -> Value:
    """Two equal convolutions after a first: their weights and biases are of one shape, so often one tensor."""
    y = like(b, x, x)
    return b.op("Relu", like(b, y, y))


@blocks.add(2, fits=several)
def grouped(b: Builder, x: Value) -> Value:
    group = b.choose(divisors(x.channels)[1:])
    rows = b.choose([n for n in (1, 2, 3, 4) if group * n <= MOST_CHANNELS] or [1])
    return conv(b, x, group * rows, group=group, **window(b, x))


@blocks.add(1.5)
def depthwise(b: Builder, x: Value) -> Value:
    multiplier = b.choose((1, 1, 2, 3)) if x.channels <= MOST_CHANNELS // 3 else 1
    return conv(b, x, multiplier * x.channels, group=x.channels, **window(b, x))


@blocks.add(0.5)
def transposed(b: Builder, x: Value) -> Value:
    group = b.choose(divisors(x.channels))
    columns = b.choose((1, 2, 3)) if group <= 8 else 1
    weight = b.weight(x.channels, columns, 3, 3, reads=9 * x.channels // group)
    bias = [b.shift(group * columns)] if b.chance(0.5) else []
    return b.op("ConvTranspose", x, weight, *bias, group=group, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


@blocks.add(2)
def batch_norm(b: Builder, x: Value) -> Value:
    c = x.channels
    return b.op("BatchNormalization", x, b.scale(c), b.shift(c), b.shift(c), b.scale(c), epsilon=1e-3)


@blocks.add(2, fits=roomy)
def pool(b: Builder, x: Value) -> Value:
    side = b.choose((2, 3))
    attributes = {"count_include_pad": 1} if (kind := b.choose(("MaxPool", "AveragePool"))) == "AveragePool" else {}
    return b.op(kind, x, kernel_shape=[side, side], strides=[1, 2], pads=[side // 2] * 4, **attributes)


def squeezed(b: Builder, x: Value) -> Value:
    """The mean of every channel, (N, C, 1, 1)."""
    return b.op("GlobalAveragePool", x) if b.chance(0.5) else mean(b, x, 2, 3, keepdims=1)


def mean(b: Builder, x: Value, *axes: int, keepdims: int) -> Value:
    axes = tuple(b.axis(a, len(x.shape)) for a in axes)
    if b.opset < 18:
        return b.op("ReduceMean", x, axes=axes, keepdims=keepdims)
    return b.op("ReduceMean", x, b.integers(*axes), keepdims=keepdims)


@blocks.add(1)
def gate(b: Builder, x: Value) -> Value:
    """Squeeze and excite: the mean of every channel decides how much of it passes."""
    narrow = b.op("Relu", conv(b, squeezed(b, x), b.choose((2, 3, 4))))
    return b.op("Mul", x, b.op("Sigmoid", conv(b, narrow, x.channels)))
