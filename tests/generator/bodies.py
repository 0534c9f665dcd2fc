"""Subgraphs that capture what is around them, for the fuzzer."""

from __future__ import annotations

from .builder import Builder, Value
from .conv import conv, like
from .table import activations, blocks


def condition(b: Builder, x: Value) -> Value:
    return b.op("Greater", b.op("ReduceMean", x, keepdims=0), b.number(0.1))


@blocks.add(0.3, since=9, rare=True)
def nested(b: Builder, x: Value) -> Value:
    """An ``If`` inside an ``If``: the inner one captures from both graphs around it."""
    outer, inner = condition(b, x), b.op("Less", b.op("ReduceMax", x, keepdims=0), b.number(1.0))

    def body() -> Value:
        y = b.op("Relu", x)
        return b.choice(inner, lambda: b.op("Add", x, y), lambda: conv(b, y, x.channels))

    return b.choice(outer, body, lambda: activations.make(b, x))


@blocks.add(0.4, rare=True)
def untouched(b: Builder, x: Value) -> Value:
    """A body that hands out a captured tensor as it is, or one that knows nothing of what is outside."""
    size = (1, x.channels, 1, 1)
    gate = b.choice(condition(b, x), lambda: b.op("Identity", b.scale(*size)), lambda: b.op("Neg", b.shift(*size)))
    return b.op("Mul", x, gate)


@blocks.add(0.3, since=13, rare=True)
def looped(b: Builder, x: Value) -> Value:
    """A ``Loop`` of two rounds over a convolution whose weight is captured."""
    return b.loop(x, 2, lambda y: b.op("Tanh", like(b, y, y)))
