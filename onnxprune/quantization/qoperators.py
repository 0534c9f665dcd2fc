"""Operators on integers (QLinearConv, QGemm, …) written as QDQ: the float operator between pairs, which says the same.

Only then can passes read the network: QDQ is what ``quantize`` writes and targets take, and onnxruntime makes the same
kernels of it. The results differ by rounding alone, by one step at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxprune.model import Model
from onnxprune.node import Array, Node, Tensor

__all__ = ["FORMS", "INTEGERS", "Form", "convert"]

Triple: TypeAlias = tuple[int, int, int]
Step: TypeAlias = Callable[[Model], object]  # what a node becomes: all is read before the first edit
MICROSOFT = "com.microsoft"
EXACT = 2.0**24  # whole numbers up to it are float32


@dataclass(frozen=True)
class Form:
    """How an operator on integers is laid out, by positions among its inputs.

    ``reads`` are codes, scale and zero point of what the float operator ``op`` reads, ``makes`` scale and zero point of
    what it makes, ``bias`` where the int32 bias is. ``axis`` is that of scales per channel of the second operand.
    ``rest`` are attributes that the float operator does not have, with the values that it computes by.
    """

    op: str
    reads: tuple[Triple, ...]
    makes: tuple[int, int]
    bias: int | None = None
    axis: int = -1
    rest: Mapping[str, Sequence[int]] = field(default_factory=dict)


ONE: tuple[Triple, ...] = ((0, 1, 2),)
TWO: tuple[Triple, ...] = ((0, 1, 2), (3, 4, 5))
NCHW: Mapping[str, Sequence[int]] = {"channels_last": (0,)}

FORMS: Mapping[str, Form] = {
    "QLinearConv": Form("Conv", TWO, (6, 7), bias=8, axis=0),
    "QLinearMatMul": Form("MatMul", TWO, (6, 7)),
    **{f"{MICROSOFT}.QLinear{op}": Form(op, TWO, (6, 7)) for op in ("Add", "Mul")},
    **{f"{MICROSOFT}.QLinear{op}": Form(op, ONE, (3, 4)) for op in ("Sigmoid", "LeakyRelu")},
    **{f"{MICROSOFT}.QLinear{op}": Form(op, ONE, (3, 4), rest=NCHW) for op in ("AveragePool", "GlobalAveragePool")},
    f"{MICROSOFT}.QLinearSoftmax": Form("Softmax", ONE, (3, 4), rest={"opset": range(13, 1000)}),
    f"{MICROSOFT}.QLinearConcat": Form("Concat", (), (0, 1)),  # of any number of operands, behind what it makes
    f"{MICROSOFT}.QGemm": Form("Gemm", TWO, (7, 8), bias=6),
}
INTEGERS: Mapping[str, str] = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}  # the sums themselves, in int32


def convert(model: Model) -> int:
    """Write operators on integers as QDQ, and say why others stay; how many were converted.

    The model must be in opset 13 or newer.
    """
    steps = list[tuple[Node, Step]]()
    for node in model.nodes:
        try:
            if (step := _step(node)) is not None:
                steps.append((node, step))
        except ValueError as error:
            model.skip(node.name, f"stays {node.op}, which no other pass understands: {error}")
    for node, step in steps:
        model.drop(node)
        step(model)
    model.sweep()
    return len(steps)


def _step(node: Node) -> Step | None:
    """What to do with a node; None for other operators, ValueError where QDQ would not say the same."""
    if node.kind in FORMS:
        return _between_pairs(node, FORMS[node.kind])
    if node.kind in INTEGERS:
        return _on_whole_numbers(node, INTEGERS[node.kind])
    if node.domain == MICROSOFT and (node.op.startswith("Q") or "Quant" in node.op or "Integer" in node.op):
        raise ValueError("there is no float operator that says the same")
    return None


def _between_pairs(node: Node, form: Form) -> Step:
    """DequantizeLinear for every operand, the float operator, and QuantizeLinear if the result is in codes."""
    attrs = _attributes(node, form)
    places = form.reads or [(at, at + 1, at + 2) for at in range(2, len(node.inputs), 3)]
    channel = form.axis - attrs.get("transB", 0)
    operands = [_operand(node, place, channel if index else None) for index, place in enumerate(places)]
    if form.bias is not None and (bias := node.input(form.bias)) is not None:
        operands.append(_bias(bias, operands, attrs.get("alpha", 1.0)))
    y = node.y().name
    made = [node.x(index).name for index in form.makes if node.input(form.makes[0]) is not None]

    def step(model: Model) -> None:
        reads = [operand.restored(model) for operand in operands]
        result = model.fresh_name(f"{y}_float") if made else y
        model.insert(form.op, reads, [result], name=node.name, **attrs)
        if made:
            model.insert("QuantizeLinear", [result, *made], [y], name=f"{y}_QuantizeLinear")

    return step


def _attributes(node: Node, form: Form) -> dict[str, Any]:
    attrs = dict(node.attrs)
    for name, allowed in form.rest.items():
        if (value := attrs.pop(name, allowed[0])) not in allowed:
            raise ValueError(f"its {name} is {value}")
    return attrs


@dataclass(frozen=True)
class _Operand:
    """Codes with their zero point (None: 0) and scale, by its name (None: not in the model yet) and by its value.

    ``axis`` is where they have one of each per channel.
    """

    codes: str
    zero: str | None
    scale: str | None
    factor: Array
    axis: int | None

    def restored(self, model: Model) -> str:
        """Put in what restores them; the name of what they stand for."""
        result = model.fresh_name(f"{self.codes}_dequantized")
        scale = self.scale if self.scale is not None else _put(model, f"{self.codes}_scale", self.factor)
        inputs = [self.codes, scale, *([] if self.zero is None else [self.zero])]
        axis = {} if self.axis is None else {"axis": self.axis}
        model.insert("DequantizeLinear", inputs, [result], name=f"{result}_DequantizeLinear", **axis)
        return result


def _operand(node: Node, place: Triple, axis: int | None) -> _Operand:
    codes, scale, zero = (node.x(index) for index in place)
    factor = scale.value()
    return _Operand(codes.name, zero.name, scale.name, factor, _along(codes, factor.size, axis))


def _along(codes: Tensor, count: int, axis: int | None) -> int | None:
    """The axis of so many scales or zero points."""
    if count == 1:
        return None
    if axis is None or codes.rank is None or codes.size(axis) != count:
        raise ValueError(f"its input '{codes.name}' has {count} scales, but not one per channel")
    return axis % codes.rank


def _bias(bias: Tensor, operands: Sequence[_Operand], alpha: float) -> _Operand:
    """What is added to the products of two operands lies on their grid."""
    x, weight = (operand.factor for operand in operands)
    factor = np.asarray(x.reshape(()) * weight * alpha, np.float32)
    single = factor.size == 1
    if not single and bias.rank != 1:
        raise ValueError(f"its bias '{bias.name}' is no vector")
    return _Operand(bias.name, None, None, factor.reshape(() if single else -1), None if single else 0)


def _on_whole_numbers(node: Node, op: str) -> Step:
    """The codes as floats of scale 1, and the sums back: the same where float32 holds all of them exactly."""
    if _largest(node, op) >= EXACT:
        raise ValueError("its sums may be larger than float32 holds exactly")
    operands = [_whole(node, 0, None), _whole(node, 1, 0 if op == "Conv" else -1)]
    attrs, y = dict(node.attrs), node.y().name

    def step(model: Model) -> None:
        sums = model.fresh_name(f"{y}_float")
        model.insert(op, [operand.restored(model) for operand in operands], [sums], name=node.name, **attrs)
        model.insert("Cast", [sums], [y], name=f"{y}_Cast", to=onnx.TensorProto.INT32)

    return step


def _whole(node: Node, index: int, axis: int | None) -> _Operand:
    codes, zero = node.x(index), node.input(index + 2)
    count = 1 if zero is None or zero.rank == 0 else zero.elements()
    along, name = _along(codes, count, axis), None if zero is None else zero.name
    return _Operand(codes.name, name, None, np.ones([] if along is None else count, np.float32), along)


def _largest(node: Node, op: str) -> float:
    """What a sum may reach, whatever is read: 255 times the weights' magnitudes."""
    codes, zero = node.x(1).value().astype(np.int64), node.input(3)
    offset = np.zeros(1, np.int64) if zero is None else zero.value().astype(np.int64).reshape(-1)
    channel = 0 if op == "Conv" else codes.ndim - 1
    offset = offset.reshape([-1 if dim == channel else 1 for dim in range(codes.ndim)])
    summed = tuple(range(1, codes.ndim)) if op == "Conv" else max(codes.ndim - 2, 0)
    return 255.0 * float(np.abs(codes - offset).sum(axis=summed).max(initial=0))


def _put(model: Model, stem: str, value: Array) -> str:
    name = model.fresh_name(stem)
    model.put(name, value)
    return name
