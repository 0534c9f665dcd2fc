"""Slots picked, repeated, placed and arranged anew by constants, in every form, for the fuzzer."""

from __future__ import annotations

import math

import numpy as np

from .builder import CHANNELS, MOST_CHANNELS, Builder, Value
from .conv import conv, several
from .dense import project, reshape
from .layout import TO_NCHW, TO_NHWC, narrow
from .table import activations, blocks, denses

FAR = (np.iinfo(np.int32).max, np.iinfo(np.int64).max)


@blocks.add(2, since=10, fits=several, rare=True)
def slice_anywhere(b: Builder, x: Value) -> Value:
    """Channels, and perhaps rows, by bounds from either end, in steps of either sign."""
    start, end, step = b.choose(((0, FAR[0], 2), (-1, -FAR[1], -1), (1, FAR[1], 1), (-3, FAR[0], 1), (0, -1, 1)))
    starts, ends, axes, steps = [start], [end], [b.axis(1)], [step]
    if b.chance(0.4):
        starts, ends, axes, steps = [0, *starts], [FAR[1], *ends], [3, *axes], [1, *steps]
    y = b.op("Slice", x, *(b.exact("bound", np.array(row, np.int64)) for row in (starts, ends, axes, steps)))
    return y if y.channels > 1 else b.op("Add", x, y)


@blocks.add(1.5, rare=True)
def gather_anyhow(b: Builder, x: Value) -> Value:
    """Some channels twice, some not at all, some counted from the end."""
    count = b.choose(range(1, min(x.channels + 3, MOST_CHANNELS)))
    low = -x.channels if b.opset >= 11 else 0
    return b.op("Gather", x, b.integers(*b.rng.integers(low, x.channels, count).tolist()), axis=b.axis(1))


@blocks.add(1, since=11, fits=several, rare=True)
def cropped(b: Builder, x: Value) -> Value:
    """Negative pads take channels away, on one side or both, and perhaps add some on the other."""
    before, after = b.choose(((-1, 0), (0, -1), (-1, 1), (2, -1), (-1, -1)))
    if b.opset >= 18 and b.chance(0.5):
        return b.op("Pad", x, b.integers(before, after), b.number(0.5), b.integers(b.axis(1)))
    return b.op("Pad", x, b.integers(0, before, 0, 0, 0, after, 0, 0))


@blocks.add(1, fits=narrow, rare=True)
def tiled(b: Builder, x: Value) -> Value:
    return b.op("Tile", x, b.integers(1, 2, 1, 1))


@blocks.add(1, since=11, rare=True)
def placed(b: Builder, x: Value) -> Value:
    """Some channels are replaced by those of a layer, with the channels in front."""
    some = b.permutation(x.channels)[: b.choose(range(1, x.channels + 1))]
    front, other = (b.op("Transpose", v, perm=[1, 0, 2, 3]) for v in (x, conv(b, x, len(some))))
    index = b.exact("index", np.array(some, np.int64).reshape(-1, 1))
    return b.op("Transpose", b.op("ScatterND", front, index, other), perm=[1, 0, 2, 3])


@denses.add(1.5, since=11, rare=True)
def elements(b: Builder, x: Value) -> Value:
    """Numbers of a vector picked or placed one by one, the same in every row or not."""
    if not isinstance(x.shape[0], int):
        return project(b, x, b.choose(CHANNELS))
    rows, columns = x.shape[0], x.channels
    some = [b.permutation(columns)[: b.choose(range(1, columns + 1))]] * rows
    if b.chance(0.3):
        some = [b.permutation(columns)[: len(some[0])] for _ in range(rows)]
    index = b.exact("index", np.array(some, np.int64))
    if b.chance(0.5):
        return b.op("GatherElements", x, index, axis=b.axis(1, 2))
    return b.op("ScatterElements", x, index, project(b, x, len(some[0])), axis=b.axis(1, 2))


@blocks.add(1, since=12, rare=True)
def gathered_nd(b: Builder, x: Value) -> Value:
    """Channels picked with the channels in front."""
    some = b.rng.integers(-x.channels, x.channels, (b.choose((1, 3, 4)), 1))
    picked = b.op("GatherND", b.op("Transpose", x, perm=[1, 0, 2, 3]), b.exact("index", some))
    return b.op("Transpose", picked, perm=[1, 0, 2, 3])


@blocks.add(1.5, rare=True)
def windows(b: Builder, x: Value) -> Value:
    """Pixels by windows, as in Swin, through a dense layer, and back."""
    height, width = x.spatial
    tall, wide = (b.choose([d for d in (1, 2, 3) if size % d == 0]) for size in (height, width))
    grid = height // tall, tall, width // wide, wide
    y = reshape(b, b.op("Transpose", x, perm=TO_NHWC), *grid, x.channels)
    y = b.op("Transpose", y, perm=[0, 1, 3, 2, 4, 5])
    rows = b.op("Reshape", y, b.integers(-1, tall * wide, x.channels)) if isinstance(b.batch, int) else y
    made = b.op("Relu", project(b, rows, b.choose(CHANNELS)))
    out = int(made.shape[-1])
    if made.shape[1:] != (grid[0], grid[2], tall, wide, out):
        made = b.op(
            "Reshape", made, b.integers(-1 if b.chance(0.5) else int(x.shape[0]), grid[0], grid[2], tall, wide, out)
        )
    back = reshape(b, b.op("Transpose", made, perm=[0, 1, 3, 2, 4, 5]), height, width, out)
    return b.op("Transpose", back, perm=TO_NCHW)


@blocks.add(1.5, rare=True)
def pixel_shuffle(b: Builder, x: Value) -> Value:
    """Four times the channels, arranged in space, by the operator or as it is written out."""
    if max(x.spatial) > 6:
        return activations.make(b, x)
    out, (height, width) = b.choose((1, 2, 3, 4)), x.spatial
    y = conv(b, x, 4 * out)
    if b.chance(0.5):
        return b.op("DepthToSpace", y, blocksize=2, **({"mode": b.choose(("DCR", "CRD"))} if b.opset >= 11 else {}))
    apart = b.op("Transpose", reshape(b, y, out, 2, 2, height, width), perm=[0, 1, 4, 2, 5, 3])
    return reshape(b, apart, out, 2 * height, 2 * width)


@blocks.add(1, rare=True)
def regrouped(b: Builder, x: Value) -> Value:
    """Channels and rows in another grouping for a while, with something for each of the new channels."""
    total = math.prod((x.channels, x.spatial[0]))
    middle = b.choose([d for d in range(1, MOST_CHANNELS + 1) if total % d == 0])
    y = reshape(b, x, middle, total // middle, x.spatial[1])
    y = b.op("Mul", y, b.scale(middle, 1, 1)) if b.chance(0.7) else b.op("Relu", y)
    return reshape(b, y, x.channels, *x.spatial)


@blocks.add(1.5, since=12, rare=True)
def einsum_pixels(b: Builder, x: Value) -> Value:
    """A pointwise layer as an equation, the weight on either side, the channels in place or moved and back."""
    out = b.choose(CHANNELS)
    turned = b.chance(0.5)
    weight = b.weight(*((out, x.channels) if turned else (x.channels, out)), reads=x.channels)
    read, stored = b.choose(("bchw", "...chw")), "oc" if turned else "co"
    made = read.replace("c", "o") if b.chance(0.5) else read.replace("chw", "hwo")
    first = b.chance(0.5)
    operands, terms = ((weight, x), f"{stored},{read}") if first else ((x, weight), f"{read},{stored}")
    y = b.op("Einsum", *operands, equation=f"{terms}->{made}")
    return y if made.endswith("w") else b.op("Transpose", y, perm=TO_NCHW)
