"""Operators on each element: in blocks where an operand lies in blocks, so that they join the kernel before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import te, tirx, topi
from tvm.te import Tensor

from onnxprune.codegen.importer import Importer, rule
from onnxprune.codegen.kernels import blocked

Scalar = Callable[[Any, dict[str, Any]], Any]


def number(value: float) -> Any:
    """A float32."""
    return tirx.const(float(value), "float32")


def mapped(x: Tensor, of: Callable[[Any], Any]) -> Tensor:
    """A function of each element."""
    result: Tensor = te.compute(x.shape, lambda *at: of(x(*at)), name="mapped")
    return result


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(−x)), with the exponential as a polynomial that runs on vectors."""
    power = topi.fast_exp(mapped(x, lambda v: -v))
    return mapped(power, lambda v: number(1) / (number(1) + v))


def gelu(x: Tensor) -> Tensor:
    """x · Φ(x)."""
    error = topi.fast_erf(mapped(x, lambda v: v * number(np.sqrt(0.5))))
    return topi.multiply(mapped(x, lambda v: v * number(0.5)), mapped(error, lambda v: v + number(1)))


def bounded(v: Any, low: float, high: float) -> Any:
    """Not below ``low``, nor above ``high``."""
    above = v if np.isneginf(low) else tirx.max(v, number(low))
    return above if np.isposinf(high) else tirx.min(above, number(high))


def hard_sigmoid(v: Any, slope: float, offset: float) -> Any:
    """A line, between 0 and 1."""
    return bounded(v * number(slope) + number(offset), 0, 1)


def leaky(v: Any, slope: float) -> Any:
    """Negative values times a slope."""
    return tirx.Select(v > number(0), v, v * number(slope))


ONE: dict[str, Callable[[Tensor, dict[str, Any]], Tensor]] = {
    "Relu": lambda x, _: mapped(x, lambda v: bounded(v, 0, np.inf)),
    "LeakyRelu": lambda x, attrs: mapped(x, lambda v: leaky(v, attrs.get("alpha", 0.01))),
    "HardSigmoid": lambda x, a: mapped(x, lambda v: hard_sigmoid(v, a.get("alpha", 0.2), a.get("beta", 0.5))),
    "HardSwish": lambda x, _: mapped(x, lambda v: v * hard_sigmoid(v, 1 / 6, 0.5)),
    "Sigmoid": lambda x, _: sigmoid(x),
    "Tanh": lambda x, _: topi.fast_tanh(x),
    "Exp": lambda x, _: topi.fast_exp(x),
    "Erf": lambda x, _: topi.fast_erf(x),
    "Neg": lambda x, _: mapped(x, lambda v: -v),
    "Abs": lambda x, _: mapped(x, lambda v: tirx.max(v, -v)),
    "Sqrt": lambda x, _: mapped(x, tirx.sqrt),
    "Reciprocal": lambda x, _: mapped(x, lambda v: number(1) / v),
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
    return _of_one(graph, inputs[0], gelu, "Gelu") if attrs.get("approximate", b"none") == b"none" else None


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


@rule(*TWO)
def two(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """A function of two elements at the same position."""
    operator = attrs["tvm_custom"]["operator"]
    if len(inputs) != 2 or not all(graph.is_float(each) for each in inputs):
        return None
    if all(graph.constant(each) is not None for each in inputs):
        return None
    function = TWO[operator]
    image = next((each for each in inputs if graph.is_image(each) and graph.has_blocks(each)), None)
    if image is None or (found := _operands(graph, inputs, image)) is None:
        return graph.emit(function, *inputs, name=operator.lower())
    return graph.plain(graph.emit(function, *found, name=operator.lower()), graph.shape(image)[1])


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
