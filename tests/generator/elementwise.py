"""Activations, arithmetic between branches and with constants, and operators that change nothing."""

from __future__ import annotations

from onnx import TensorProto

from .builder import Builder, Value
from .conv import like, twin
from .table import activations, blocks


def per_channel(b: Builder, x: Value) -> tuple[int, ...]:
    """A shape that lines up with the channels of (N, C, …), with a leading one or without."""
    return (1,) * b.choose((0, 1)) + (x.channels,) + (1,) * (len(x.shape) - 2)


@activations.add(3)
def relu(b: Builder, x: Value) -> Value:
    return b.op("Relu", x)


@activations.add()
def leaky_relu(b: Builder, x: Value) -> Value:
    return b.op("LeakyRelu", x, alpha=0.2)


@activations.add()
def squashing(b: Builder, x: Value) -> Value:
    return b.op(b.choose(("Sigmoid", "Tanh", "HardSigmoid", "Softplus", "Elu")), x)


@activations.add()
def clip(b: Builder, x: Value) -> Value:
    """Clipped from both sides, or from one with the other bound left out."""
    low, high = b.choose(((-0.5, 3.0), (None, 3.0), (-0.5, None)))
    if b.opset < 11:
        bounds = {"min": low, "max": high}
        return b.op("Clip", x, **{name: bound for name, bound in bounds.items() if bound is not None})
    return b.op("Clip", x, *(b.number(bound) if bound is not None else None for bound in (low, high)))


@activations.add()
def prelu(b: Builder, x: Value) -> Value:
    return b.op("PRelu", x, b.shift(*per_channel(b, x)[-len(x.shape) + 1 :]))


@activations.add()
def swish(b: Builder, x: Value) -> Value:
    return b.op("Mul", x, b.op(b.choose(("Sigmoid", "HardSigmoid")), x))


@activations.add()
def hard_swish(b: Builder, x: Value) -> Value:
    """x · clip(x + 3, 0, 6) / 6, spelled out as exporters do."""
    shifted = b.op("Add", x, b.number(3))
    clipped = (
        b.op("Clip", shifted, min=0.0, max=6.0) if b.opset < 11 else b.op("Clip", shifted, b.number(0), b.number(6))
    )
    return b.op("Div", b.op("Mul", x, clipped), b.number(6))


@blocks.add(4)
def activation(b: Builder, x: Value) -> Value:
    return activations.make(b, x)


@blocks.add(3)
def residual(b: Builder, x: Value) -> Value:
    """Two branches or three that meet in sums."""
    y = b.op("Add", x, twin(b, x))
    return b.op("Add", twin(b, x), y) if b.chance(0.3) else y


@blocks.add(1)
def many(b: Builder, x: Value) -> Value:
    """Three branches that meet in one node."""
    return b.op(b.choose(("Sum", "Mean", "Max")), x, twin(b, x), twin(b, x))


@blocks.add(1)
def difference(b: Builder, x: Value) -> Value:
    """From its own convolution, lest a tensor be taken from its equal."""
    operands = [x, like(b, x, x)]
    return b.op("Sub", *(operands if b.chance(0.5) else operands[::-1]))


@blocks.add(1)
def product(b: Builder, x: Value) -> Value:
    """One factor or the product is bounded, so that products of products do not explode."""
    if b.chance(0.5):
        return b.op("Mul", x, b.op("Tanh", twin(b, x)))
    return b.op("Tanh", b.op("Mul", twin(b, x), x))


@blocks.add(3.5)
def affine(b: Builder, x: Value) -> Value:
    """A constant per channel, or one for all, added or multiplied from either side."""
    if b.chance(0.3):
        return b.op(b.choose(("Add", "Mul", "Sub", "Div")), x, b.number(b.choose((0.5, 1.5))))
    kind = b.choose(("Add", "Add", "Mul", "Mul", "Sub", "Div"))
    make = b.shift if kind in ("Add", "Sub") else b.scale
    operands = [x, make(*per_channel(b, x))]
    return b.op(kind, *(operands if kind == "Div" or b.chance(0.6) else operands[::-1]))


@blocks.add(0.6)
def identity(b: Builder, x: Value) -> Value:
    return b.op("Identity", x)


@blocks.add(0.6)
def cast(b: Builder, x: Value) -> Value:
    return b.op("Cast", x, to=TensorProto.FLOAT)


@blocks.add(1)
def dropout(b: Builder, x: Value) -> Value:
    """Dropout at inference, with its unread mask at times."""
    outputs = b.choose((1, 2))
    if b.opset < 12:
        return b.fan("Dropout", outputs, x, ratio=0.3)[0]
    return b.fan("Dropout", outputs, x, b.number(0.3))[0]
