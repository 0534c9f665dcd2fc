"""Operators that move channels about: join, split, transpose, reshape, pad."""

from __future__ import annotations

import math
from itertools import pairwise

from .builder import CHANNELS, MOST_CHANNELS, Builder, Value
from .conv import divisors, several, squeezed
from .dense import gemm, project, reshape, squeeze, unsqueeze
from .elementwise import activation, per_channel
from .table import blocks

TO_NHWC, TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


def composite(x: Value) -> bool:
    return len(divisors(x.channels)) > 2


def narrow(x: Value) -> bool:
    return x.channels <= MOST_CHANNELS // 2


@blocks.add(2.5, fits=narrow)
def concat(b: Builder, x: Value) -> Value:
    """Two or three tensors side by side; ``x`` may meet itself."""
    parts = [x]
    beside = [v for v in b.live if v.spatial == x.spatial]
    for _ in range(b.choose((1, 1, 2))):
        part = b.choose(beside) if b.chance(0.7) else x
        if sum(p.channels for p in (*parts, part)) <= MOST_CHANNELS:
            parts.insert(b.choose((0, len(parts))), part)
    return b.op("Concat", *parts, axis=b.axis(1))


@blocks.add(0.4, fits=lambda x: max(x.spatial) <= 6)
def widen(b: Builder, x: Value) -> Value:
    """A join along the width: the channels of both parts are the same channels."""
    return b.op("Concat", x, activation(b, x), axis=3)


def sections(b: Builder, total: int) -> list[int]:
    """Two or three uneven sizes that add up to the total."""
    cuts = sorted(b.permutation(total - 1)[: b.choose((1, 2))])
    edges = [0, *(cut + 1 for cut in cuts), total]
    return [end - begin for begin, end in pairwise(edges)]


def split(b: Builder, x: Value) -> list[Value]:
    """The parts of ``x``, in whichever form the opset has: attribute, input or number of parts."""
    sizes, axis = sections(b, x.channels), b.axis(1)
    if b.opset < 13:
        return b.fan("Split", len(sizes), x, split=sizes, axis=axis)
    if b.opset >= 18 and b.chance(0.5):
        return b.fan("Split", 2, x, num_outputs=2, axis=axis)
    return b.fan("Split", len(sizes), x, b.integers(*sizes), axis=axis)


@blocks.add(1.5, fits=several)
def scatter(b: Builder, x: Value) -> Value:
    """Parts that go their own ways."""
    first, *rest = split(b, x)
    b.live += rest
    return first


@blocks.add(1.5, fits=several)
def rejoin(b: Builder, x: Value) -> Value:
    """Parts that come back together in another order, one of them changed on the way."""
    first, *rest = split(b, x)
    return b.op("Concat", *rest, activation(b, first), axis=b.axis(1))


@blocks.add(0.8, fits=several)
def part(b: Builder, x: Value) -> Value:
    """Some of the channels: a slice, with a stride at times."""
    start, end = b.choose((0, 1)), b.choose((x.channels, x.channels - 1))
    if b.opset < 10:
        return b.op("Slice", x, starts=[start], ends=[end], axes=[1])
    return b.op("Slice", x, *(b.integers(n) for n in (start, end, b.axis(1), b.choose((1, 2)))))


@blocks.add(0.8)
def permute(b: Builder, x: Value) -> Value:
    return b.op("Gather", x, b.integers(*b.permutation(x.channels)), axis=b.axis(1))


@blocks.add(1.5, fits=composite)
def shuffle(b: Builder, x: Value) -> Value:
    """The channel shuffle of ShuffleNet."""
    group = b.choose(divisors(x.channels)[1:-1])
    apart = reshape(b, x, group, x.channels // group, *x.spatial)
    return reshape(b, b.op("Transpose", apart, perm=[0, 2, 1, 3, 4]), x.channels, *x.spatial)


@blocks.add(2.5, fits=lambda x: x.channels % 4 == 0 and max(x.spatial) <= 6)
def depth_to_space(b: Builder, x: Value) -> Value:
    mode = {"mode": b.choose(("DCR", "CRD"))} if b.opset >= 11 else {}
    return b.op("DepthToSpace", x, blocksize=2, **mode)


@blocks.add(3, fits=lambda x: 4 * x.channels <= MOST_CHANNELS and set(x.spatial) <= {4, 6, 8})
def space_to_depth(b: Builder, x: Value) -> Value:
    return b.op("SpaceToDepth", x, blocksize=2)


@blocks.add(1)
def channels_last(b: Builder, x: Value) -> Value:
    """Elementwise work with the channels last, where a constant per channel has shape [C]."""
    y = b.op("Transpose", x, perm=TO_NHWC)
    y = b.op("Add", y, b.shift(x.channels)) if b.chance(0.6) else b.op("Relu", y)
    return b.op("Transpose", y, perm=TO_NCHW)


@blocks.add(1.2)
def pointwise_last(b: Builder, x: Value) -> Value:
    """A pointwise convolution as a MatMul over the last axis."""
    return b.op("Transpose", project(b, b.op("Transpose", x, perm=TO_NHWC), b.choose(CHANNELS)), perm=TO_NCHW)


@blocks.add(1)
def tokens(b: Builder, x: Value) -> Value:
    """The pixels as a sequence, as transformers have them."""
    sequence = reshape(b, x, x.channels, b.choose((-1, math.prod(x.spatial))))
    y = project(b, b.op("Transpose", sequence, perm=[0, 2, 1]), b.choose(CHANNELS))
    back = b.op("Transpose", y, perm=[0, 2, 1])
    return reshape(b, back, back.channels, *x.spatial)


@blocks.add(1)
def dense_gate(b: Builder, x: Value) -> Value:
    """Squeeze and excite through a vector."""
    hidden = b.op("Relu", gemm(b, squeeze(b, squeezed(b, x), 2, 3)))
    passed = project(b, hidden, x.channels)
    return b.op("Mul", b.op("Sigmoid", unsqueeze(b, passed, 2, 3)), x)


@blocks.add(0.5)
def scale_by_vector(b: Builder, x: Value) -> Value:
    """A constant vector that gets its trailing axes from Unsqueeze."""
    return b.op("Mul", x, unsqueeze(b, b.scale(x.channels), 1, 2, rank=3))


@blocks.add(0.6)
def expand(b: Builder, x: Value) -> Value:
    """A constant per channel, spread over the pixels by Expand."""
    if b.opset < 8:
        return b.op("Add", x, b.shift(*per_channel(b, x)))
    return b.op("Add", x, b.op("Expand", b.shift(x.channels, 1, 1), b.integers(x.channels, *x.spatial)))


def padded(b: Builder, x: Value, pads: list[int], mode: str) -> Value:
    if b.opset < 11:
        return b.op("Pad", x, pads=pads, mode=mode)
    return b.op("Pad", x, b.integers(*pads), mode=mode)


@blocks.add(1, fits=lambda x: max(x.spatial) <= 9)
def pad(b: Builder, x: Value) -> Value:
    """Then an activation: onnxruntime 1.31 fuses Pad into a pool that follows, and then refuses its pads."""
    y = padded(b, x, [0, 0, 1, 0, 0, 0, 0, b.choose((0, 1))], b.choose(("constant", "edge", "reflect")))
    return activation(b, y)


@blocks.add(0.5, fits=narrow)
def pad_channels(b: Builder, x: Value) -> Value:
    """The shortcut of the first ResNets: new channels of zeros."""
    return padded(b, x, [0, b.choose((0, 1)), 0, 0, 0, 2, 0, 0], "constant")
