"""Operators that mix channels, or hide them from an analysis that does not know them."""

from __future__ import annotations

import math

import numpy as np

from .builder import Builder, Value
from .conv import conv, mean, several
from .layout import TO_NCHW, TO_NHWC
from .table import activations, blocks


def total(b: Builder, x: Value) -> Value:
    """The sum over the channels, (N, 1, H, W)."""
    if b.opset < 13:
        return b.op("ReduceSum", x, axes=[b.axis(1)], keepdims=1)
    return b.op("ReduceSum", x, b.integers(b.axis(1)), keepdims=1)


@blocks.add(0.4, fits=several)
def softmax(b: Builder, x: Value) -> Value:
    """Softmax over the channels (and, before opset 13, all behind them), scaled back to about one."""
    size = x.channels if b.opset >= 13 else math.prod((x.channels, *x.spatial))
    return b.op("Mul", b.op("Softmax", x, axis=b.axis(1)), b.number(size))


@blocks.add(0.4)
def lrn(b: Builder, x: Value) -> Value:
    return b.op("LRN", x, size=3, alpha=0.5)


@blocks.add(0.4)
def instance_norm(b: Builder, x: Value) -> Value:
    """Then Relu, for the mean of a normalised channel is the same for all images."""
    return b.op("Relu", b.op("InstanceNormalization", x, b.scale(x.channels), b.shift(x.channels)))


@blocks.add(1, since=17, fits=several)
def layer_norm(b: Builder, x: Value) -> Value:
    y = b.op("Transpose", x, perm=TO_NHWC)
    y = b.op("LayerNormalization", y, b.scale(x.channels), b.shift(x.channels), axis=-1, epsilon=1e-2)
    return b.op("Transpose", y, perm=TO_NCHW)


@blocks.add(0.7)
def spatial_gate(b: Builder, x: Value) -> Value:
    """One number per pixel decides for all channels: an axis of size one meets one of size C."""
    return b.op("Mul", x, b.op("Sigmoid", total(b, x)))


@blocks.add(0.4, fits=several)
def centred(b: Builder, x: Value) -> Value:
    return b.op("Sub", x, mean(b, x, 1, keepdims=1))


@blocks.add(0.5, since=11)
def running_sum(b: Builder, x: Value) -> Value:
    """Over the channels, where it mixes them, or over the rows, where it does not."""
    axis = b.choose((1, 1, 2))
    summed = b.op("CumSum", x, b.constant("axis", axis, lambda: np.array(axis)))
    return b.op("Mul", summed, b.number(0.5))


@blocks.add(0.4)
def either(b: Builder, x: Value) -> Value:
    """An ``If`` whose bodies capture an activation and a weight of the graph around them."""
    condition = b.op("Greater", b.op("ReduceMean", x, keepdims=0), b.number(0.1))
    return b.choice(condition, lambda: conv(b, x, x.channels), lambda: activations.make(b, x))
