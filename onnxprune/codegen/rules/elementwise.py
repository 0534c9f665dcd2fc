"""Operators on each element: in blocks where an operand lies in blocks, so that they join the kernel before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import te, tirx, topi
from tvm.te import Tensor

from onnxprune.codegen.importer import Importer, rule
from onnxprune.codegen.kernels import blocked
from onnxprune.codegen.polynomials import bound_to

Scalar = Callable[[Any, dict[str, Any]], Any]


def number(value: float) -> Any:
    """A float32."""
    return tirx.const(float(value), "float32")


def mapped(x: Tensor, of: Callable[[Any], Any]) -> Tensor:
    """A function of each element."""
    result: Tensor = te.compute(x.shape, lambda *at: of(x(*at)), name="mapped")
    return result


def gelu(v: Any) -> Any:
    """x · Φ(x)."""
    return v * number(0.5) * (tirx.erf(v * number(np.sqrt(0.5))) + number(1))


def bounded(v: Any, low: float, high: float) -> Any:
    """Not below ``low``, nor above ``high``; of a number and NaN, both operations give the second."""
    above = v if np.isneginf(low) else tirx.max(number(low), v)
    return above if np.isposinf(high) else tirx.min(number(high), above)


def hard_sigmoid(v: Any, slope: float, offset: float) -> Any:
    """A line, between 0 and 1."""
    return bounded(v * number(slope) + number(offset), 0, 1)


def positive(v: Any) -> Any:
    """What is not below 0."""
    return tirx.Select(v < number(0), number(0), v)


def negative(v: Any) -> Any:
    """What is below 0."""
    return tirx.Select(v < number(0), v, number(0))


def leaky(v: Any, slope: float) -> Any:
    """Negative values times a slope."""
    return tirx.Select(v > number(0), v, v * number(slope))


def softplus(v: Any) -> Any:
    """log(1 + exp(v)): of 1 + t the logarithm is 2 · artanh(t / (2 + t)), whose series ends soon."""
    t = tirx.exp(tirx.Select(v > number(0), -v, v))
    return tirx.max(v, number(0)) + bound_to(t / (number(2) + t), twice_artanh)


def twice_artanh(s: Any) -> Any:
    """2 · artanh(s), for 0 ≤ s ≤ 1/3."""
    square = s * s
    series = number(2 / 15)
    for each in (13, 11, 9, 7, 5, 3, 1):
        series = series * square + number(2 / each)
    return s * series


def sinh(v: Any) -> Any:
    """(exp(v) − exp(−v)) / 2, and near 0 its series."""
    square = v * v
    series = number(1 / 362880)
    for each in (5040, 120, 6, 1):
        series = series * square + number(1 / each)
    return tirx.Select(square < number(1), v * series, halves(v, -0.5))


def cosh(v: Any) -> Any:
    """(exp(v) + exp(−v)) / 2."""
    return halves(v, 0.5)


def halves(v: Any, other: float) -> Any:
    """exp(v) / 2 plus a multiple of exp(−v), without a number larger than the result."""
    return bound_to(tirx.exp(v * number(0.5)), lambda h: number(0.5) * h * h + number(other) / (h * h))


def elu(v: Any, alpha: float, gamma: float = 1.0) -> Any:
    """A line, and below 0 an exponential."""
    return tirx.Select(v > number(0), v * number(gamma), number(alpha * gamma) * (tirx.exp(v) - number(1)))


def shrunk(v: Any, limit: float, bias: float) -> Any:
    """Nearer to 0 by a bias, and 0 within a limit."""
    positive = tirx.Select(v > number(limit), v - number(bias), number(0))
    return tirx.Select(v < number(-limit), v + number(bias), positive)


def sign(v: Any) -> Any:
    """−1, 0 or 1."""
    return tirx.Select(v > number(0), number(1), tirx.Select(v < number(0), number(-1), v))


ONE: dict[str, Callable[[Tensor, dict[str, Any]], Tensor]] = {
    "Relu": lambda x, _: mapped(x, lambda v: bounded(v, 0, np.inf)),
    "LeakyRelu": lambda x, attrs: mapped(x, lambda v: leaky(v, attrs.get("alpha", 0.01))),
    "HardSigmoid": lambda x, a: mapped(x, lambda v: hard_sigmoid(v, a.get("alpha", 0.2), a.get("beta", 0.5))),
    "HardSwish": lambda x, _: mapped(x, lambda v: v * hard_sigmoid(v, 1 / 6, 0.5)),
    "Sigmoid": lambda x, _: mapped(x, tirx.sigmoid),
    "Tanh": lambda x, _: mapped(x, tirx.tanh),
    "Exp": lambda x, _: mapped(x, tirx.exp),
    "Erf": lambda x, _: mapped(x, tirx.erf),
    "Neg": lambda x, _: mapped(x, lambda v: -v),
    "Abs": lambda x, _: mapped(x, tirx.abs),
    "Sqrt": lambda x, _: mapped(x, tirx.sqrt),
    "Log": lambda x, _: mapped(x, tirx.log),
    "Softplus": lambda x, _: mapped(x, softplus),
    "Softsign": lambda x, _: mapped(x, lambda v: v / (number(1) + tirx.max(v, -v))),
    "Mish": lambda x, _: mapped(x, lambda v: v * tirx.tanh(softplus(v))),
    "Sinh": lambda x, _: mapped(x, sinh),
    "Cosh": lambda x, _: mapped(x, cosh),
    "Elu": lambda x, a: mapped(x, lambda v: elu(v, a.get("alpha", 1.0))),
    "Selu": lambda x, a: mapped(
        x, lambda v: elu(v, a.get("alpha", 1.67326319217681884765625), a.get("gamma", 1.05070102214813232421875))
    ),
    "ThresholdedRelu": lambda x, a: mapped(x, lambda v: tirx.Select(v > number(a.get("alpha", 1.0)), v, number(0))),
    "Shrink": lambda x, a: mapped(x, lambda v: shrunk(v, a.get("lambd", 0.5), a.get("bias", 0.0))),
    "Floor": lambda x, _: mapped(x, tirx.floor),
    "Ceil": lambda x, _: mapped(x, tirx.ceil),
    "Round": lambda x, _: mapped(x, tirx.nearbyint),
    "Sign": lambda x, _: mapped(x, sign),
    "Reciprocal": lambda x, _: mapped(x, lambda v: number(1) / v),
}

POWERS: dict[float, Callable[[Any], Any]] = {
    1.0: lambda v: v,
    2.0: lambda v: v * v,
    3.0: lambda v: v * v * v,
    4.0: lambda v: (v * v) * (v * v),
    -1.0: lambda v: number(1) / v,
    -2.0: lambda v: number(1) / (v * v),
    0.5: lambda v: tirx.Select(v == number(-np.inf), number(np.inf), tirx.sqrt(v)),
}

TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": topi.add,
    "Sub": topi.subtract,
    "Mul": topi.multiply,
    "Div": topi.divide,
    "Max": topi.maximum,
    "Min": topi.minimum,
}


@rule(*ONE)
def one(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """A function of each element."""
    operator = attrs["tvm_custom"]["operator"]
    return _of_one(graph, inputs[0], lambda x: ONE[operator](x, attrs), operator)


@rule("Gelu")
def gelu_rule(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The exact one; the one with a tangent is left to the frontend."""
    return (
        _of_one(graph, inputs[0], lambda x: mapped(x, gelu), "Gelu")
        if attrs.get("approximate", b"none") == b"none"
        else None
    )


@rule("Clip")
def clip(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Between two constants."""
    bounds = [graph.constant(each) for each in inputs[1:] if each is not None]
    if any(each is None for each in bounds):
        return None
    low, high = (
        float(np.asarray(graph.constant(each)).item()) if each is not None else fallback
        for each, fallback in zip((*inputs[1:], None, None), (-np.inf, np.inf), strict=False)
    )
    return _of_one(graph, inputs[0], lambda x: mapped(x, lambda v: bounded(v, low, high)), "Clip")


@rule("Pow")
def power(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """To a constant power that products or a root can make."""
    exponent = graph.constant(inputs[1])
    if exponent is None or exponent.size != 1 or exponent.ndim > len(graph.shape(inputs[0])):
        return None
    made = POWERS.get(float(exponent.item()))
    return _of_one(graph, inputs[0], lambda x: mapped(x, made), "Pow") if made else None


@rule("PRelu")
def prelu(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Negative values times a slope that broadcasts."""
    return binary(
        graph, inputs, "prelu", lambda x, s: topi.add(mapped(x, positive), topi.multiply(mapped(x, negative), s))
    )


@rule(*TWO)
def two(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """A function of two elements at the same position."""
    operator = attrs["tvm_custom"]["operator"]
    if operator in ("Max", "Min") and len(inputs) == 2:  # of a number and NaN they give the second
        inputs = sorted(inputs, key=lambda each: graph.constant(each) is None)
    return binary(graph, inputs, operator.lower(), TWO[operator])


def binary(graph: Importer, inputs: Sequence[Any], name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A function of two elements: in blocks where one of them lies in blocks and the other broadcasts against it."""
    if len(inputs) != 2 or not all(graph.is_float(each) for each in inputs):
        return None
    if all(graph.constant(each) is not None for each in inputs):
        return None
    image = next((each for each in inputs if graph.is_image(each) and graph.has_blocks(each)), None)
    if image is None or (found := _operands(graph, inputs, image)) is None:
        return graph.emit(function, *inputs, name=name)
    return graph.plain(graph.emit(function, *found, name=name), graph.shape(image)[1])


def _of_one(graph: Importer, x: Any, function: Callable[[Tensor], Tensor], name: str) -> Any:
    if not graph.is_float(x) or graph.constant(x) is not None:
        return None
    if graph.has_blocks(x):
        return graph.plain(graph.emit(function, graph.block(x), name=name.lower()), graph.shape(x)[1])
    return graph.emit(function, x, name=name.lower())


def _operands(graph: Importer, inputs: Sequence[Any], image: Any) -> list[Any] | None:
    """Each operand in a form that broadcasts against blocks; None where the result has another number of channels."""
    channels = graph.shape(image)[1]
    found = [_operand(graph, each, channels) for each in inputs]
    return None if any(each is None for each in found) else found


def _operand(graph: Importer, value: Any, channels: int) -> Any:
    shape = graph.shape(value)
    if len(shape) > 4:
        return None
    n, c, h, w = (*(1,) * (4 - len(shape)), *shape)
    array = graph.constant(value)
    if c == channels and c > 1:
        image = graph.const(array.reshape(n, c, h, w)) if array is not None else graph.reshaped(value, (n, c, h, w))
        return graph.const(blocked(array.reshape(n, c, h, w), graph.lanes)) if array is not None else graph.block(image)
    if c != 1:
        return None
    if graph.has_blocks(value):
        return graph.block(value) if channels == 1 else None
    flat = (n, 1, h, w, 1)
    return graph.const(array.reshape(flat)) if array is not None else graph.reshaped(value, flat)
