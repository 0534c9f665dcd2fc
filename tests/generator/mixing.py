"""Products of activations, and every way in which a constant or another branch is broadcast, for the fuzzer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .builder import CHANNELS, Builder, Value
from .conv import conv, mean, roomy, squeezed, twin
from .dense import project, reshape
from .table import activations, blocks, denses


def positions(b: Builder, x: Value) -> tuple[int, ...]:
    """The shape of a constant that stretches to that of (N, C, H, W), in one of all ways."""
    full = (1, x.channels, *x.spatial)
    shape = tuple(size if b.chance(0.5) else 1 for size in full)
    lead = next((i for i, size in enumerate(shape) if size > 1), len(shape))
    return shape[b.choose(range(lead + 1)) :]


@blocks.add(4, rare=True)
def constant_anywhere(b: Builder, x: Value) -> Value:
    """A constant per row, column, channel, pixel or one for all, on either side."""
    kind = b.choose(("Add", "Mul", "Sub", "Div", "Max", "Min", "Mean", "Sum"))
    make = b.scale if kind in ("Mul", "Div") else b.shift
    operands = [x, make(*positions(b, x))]
    if kind in ("Max", "Min") and b.opset < 8:
        kind = "Add"
    if kind in ("Mean", "Sum"):
        operands.append(x)
        if b.opset < 8:
            kind = "Add"
            operands.pop()
    return b.op(kind, *(operands if kind == "Div" or b.chance(0.5) else operands[::-1]))


@blocks.add(1.5, rare=True)
def reduced_and_stretched(b: Builder, x: Value) -> Value:
    """A reduction over some axes meets what it was taken from."""
    axes = b.choose(((1,), (2,), (3,), (2, 3), (1, 2), (1, 2, 3)))
    kind = b.choose(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp"))
    said = tuple(b.axis(a) for a in axes)
    axes_input, axes_attribute = ([], {"axes": said}) if b.opset < 18 else ([b.integers(*said)], {})
    y = b.op(kind, x, *axes_input, keepdims=1, **axes_attribute)
    operands = [x, b.op("Sigmoid", y)]
    return b.op(b.choose(("Mul", "Add")), *(operands if b.chance(0.5) else operands[::-1]))


@blocks.add(1, since=9, rare=True)
def chosen(b: Builder, x: Value) -> Value:
    """``Where`` with a constant, another branch, or a broadcast vector on either side."""
    others = (twin(b, x), b.shift(*positions(b, x)), b.number(0.25))
    y, z = b.choose(others), b.choose(others[:2])
    condition = b.op("Greater", x, b.choose((b.number(0), b.shift(*positions(b, x)))))
    if b.chance(0.3):
        condition = b.op("Not", condition)
    picked = b.op("Where", condition, *b.choose(((x, y), (y, x), (z, x))))
    return picked if picked.shape == x.shape else b.op("Add", picked, x)


@blocks.add(1.5, since=11, rare=True)
def attention(b: Builder, x: Value) -> Value:
    """Pixels attend to pixels, in one head or several."""
    width = b.choose((4, 6, 8))
    heads = b.choose([h for h in (1, 2) if width % h == 0])
    rows = b.op("Transpose", reshape(b, x, x.channels, -1), perm=[0, 2, 1])
    q, k, v = (split_heads(b, project(b, rows, width), heads) for _ in range(3))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    mixed = b.op("MatMul", b.op("Softmax", b.op("Mul", scores, b.number(0.5)), axis=3), v)
    merged = reshape(b, b.op("Transpose", mixed, perm=[0, 2, 1, 3]), int(rows.shape[1]), width)
    back = b.op("Transpose", project(b, merged, x.channels), perm=[0, 2, 1])
    return b.op("Add", x, reshape(b, back, x.channels, *x.spatial))


def split_heads(b: Builder, x: Value, heads: int) -> Value:
    rows, width = int(x.shape[1]), int(x.shape[2])
    return b.op("Transpose", reshape(b, x, rows, heads, width // heads), perm=[0, 2, 1, 3])


@blocks.add(1.5, rare=True)
def batched_weight(b: Builder, x: Value) -> Value:
    """Each channel, or each row of pixels, times a matrix of its own, or all times one with axes of size 1."""
    width = x.spatial[1]
    lead = b.choose(((x.channels,), (1, x.channels), (1,), (1, 1), ()))
    return b.op("MatMul", x, b.weight(*lead, width, width, reads=width))


@blocks.add(0.5, rare=True)
def left_weight(b: Builder, x: Value) -> Value:
    """A constant matrix from the left, over the channels as one row of pixels each."""
    out = b.choose(CHANNELS)
    y = b.op("MatMul", b.weight(out, x.channels, reads=x.channels), reshape(b, x, x.channels, -1))
    return reshape(b, b.op("Add", y, b.shift(out, 1)) if b.chance(0.5) else y, out, *x.spatial)


@denses.add(1.5, rare=True)
def gemm_forms(b: Builder, x: Value) -> Value:
    """A Gemm with its input or its weight turned, scaled, and an offset of any shape that stretches."""
    out, columns = b.choose(CHANNELS), x.channels
    flipped, turned = b.choose((0, 1)), b.choose((0, 0, 1))
    rows = b.op("Transpose", x, perm=[1, 0]) if turned else x
    weight = b.weight(*((out, columns) if flipped else (columns, out)), reads=columns)
    shapes: list[tuple[int, ...]] = [(out,), (1, out), (1,), (), (1, 1)]
    if isinstance(x.shape[0], int):
        shapes += [(x.shape[0], 1), (x.shape[0], out)]
    given: dict[str, Any] = {"transA": turned, "transB": flipped, "alpha": b.choose((1.0, -0.5)), "beta": 1.5}
    kept = {key: value for key, value in given.items() if key in ("transA", "transB") or b.chance(0.5)}
    return b.op("Gemm", rows, weight, b.shift(*b.choose(shapes)), **kept)


@denses.add(1, rare=True)
def computed_offset(b: Builder, x: Value) -> Value:
    """A Gemm whose offset is another layer's output."""
    out = b.choose(CHANNELS)
    return b.op("Gemm", x, b.weight(x.channels, out, reads=x.channels), b.op("Tanh", project(b, x, out)))


@blocks.add(1, fits=roomy, rare=True)
def indexed_pool(b: Builder, x: Value) -> Value:
    """A MaxPool whose indices nobody reads, or one that rounds up."""
    if b.opset >= 8 and b.chance(0.4):
        return b.fan("MaxPool", 2, x, kernel_shape=[2, 2], strides=[1, 1])[0]
    extra: dict[str, Any] = {"ceil_mode": 1} if b.opset >= 10 else {}
    return b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1], **extra)


@blocks.add(1, rare=True)
def bilinear(b: Builder, x: Value) -> Value:
    """Two pointwise layers multiplied, one of them with a single channel."""
    gate = conv(b, x, b.choose((1, x.channels)))
    return b.op("Mul", b.op("Sigmoid", gate), x)


@blocks.add(1, rare=True)
def widened(b: Builder, x: Value) -> Value:
    """One channel becomes several by a constant or another branch."""
    one = conv(b, x, 1)
    wide = b.op("Add", one, b.shift(b.choose(CHANNELS), 1, 1))
    return b.op("Mul", wide, b.op("Sigmoid", mean(b, x, 1, keepdims=1)))


@blocks.add(1, rare=True)
def squeezed_sum(b: Builder, x: Value) -> Value:
    """The mean of every channel added to all its pixels, or that of the pixels."""
    return b.op("Add", *b.choose(((squeezed(b, x), x), (x, squeezed(b, x)))))


@activations.add(1, rare=True)
def curves(b: Builder, x: Value) -> Value:
    y = b.op(b.choose(("Abs", "Exp", "Neg", "Softsign", "Selu", "Sigmoid")), b.op("Tanh", x))
    return b.op("Reciprocal", b.op("Add", b.op("Abs", y), b.number(1))) if b.chance(0.2) else y


@activations.add(0.7, since=9, rare=True)
def later_curves(b: Builder, x: Value) -> Value:
    later = [
        name
        for name, since in (("Erf", 9), ("Celu", 12), ("HardSwish", 14), ("Mish", 18), ("Gelu", 20))
        if b.opset >= since
    ]
    return b.op(b.choose(later), x)


@activations.add(0.5, since=12, rare=True)
def powers(b: Builder, x: Value) -> Value:
    y = b.op("Add", b.op("Sigmoid", x), b.number(0.5))
    return b.op("Pow", *b.choose(((y, b.number(2)), (b.number(2), y))))


@denses.add(0.3, since=12, rare=True)
def einsum(b: Builder, x: Value) -> Value:
    weight = b.exact("weight", b.rng.normal(0, x.channels**-0.5, (4, x.channels)).astype(np.float32))
    return b.op("Einsum", x, weight, equation=b.choose(("nc,oc->no", "ab,cb->ac")))
