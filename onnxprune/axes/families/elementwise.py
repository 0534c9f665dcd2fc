"""Operators in which an output slot depends on the same slot of every input, sizes of one being stretched."""

from __future__ import annotations

from onnxprune.axes.facts import Facts, Free, Pin, Tie, at
from onnxprune.axes.rules import rule
from onnxprune.node import Node, Tensor

UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity
    IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign
    Sqrt Tan Tanh ThresholdedRelu BitCast BitwiseNot Swish com.microsoft.Gelu com.microsoft.QuickGelu
    com.microsoft.ScaledSiLU
""".split()
BROADCASTING = """
    Add And BitwiseAnd BitwiseOr BitwiseXor BitShift Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod
    Mul Or PRelu Pow Sub Sum SwiGLU Where Xor com.microsoft.BiasGelu com.microsoft.FastGelu
    com.microsoft.GatedAdd
""".split()


@rule(*UNARY)
def unary(node: Node) -> Facts:
    """One input, one output of the same shape."""
    yield from same(node.x(), node.y())


@rule(*BROADCASTING)
def broadcasting(node: Node) -> Facts:
    """Any number of inputs, each aligned to the output from the right."""
    for tensor in node.inputs:
        if tensor is not None:
            yield from broadcast(tensor, node.y())


@rule("CastLike")
def cast_like(node: Node) -> Facts:
    """Of the second input only the type is read."""
    yield from same(node.x(), node.y())
    yield from map(Free, node.x(1).axes())


@rule("Clip")
def clip(node: Node) -> Facts:
    """The bounds are attributes, or inputs that hold one number."""
    yield from same(node.x(), node.y())
    for bound in (node.input(1), node.input(2)):
        yield from (Pin(axis, "bound of a Clip") for axis in (bound.axes() if bound else ()))


@rule("Dropout")
def dropout(node: Node) -> Facts:
    """At inference the input itself, and perhaps a mask of the same shape."""
    if (training := node.input(2)) is not None and bool(training.value()):
        raise ValueError("it is in training mode")
    for tensor in node.outputs:
        if tensor is not None:
            yield from same(node.x(), tensor)


def same(x: Tensor, y: Tensor) -> Facts:
    """Every axis of x is the axis of y."""
    for a, b in zip(x.axes(), y.axes(), strict=True):
        yield Tie(a, b)


def broadcast(x: Tensor, y: Tensor, skip: int = 0) -> Facts:
    """The axes of x are those of y, counted from the right (but for the last ``skip``); size 1 is stretched."""
    for back in range(skip + 1, (x.rank or 0) + 1):
        if x.size(-back) == 1 != y.size(-back):
            continue
        yield Tie(at(x, -back), at(y, -back))
