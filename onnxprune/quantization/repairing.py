"""Repairs of what rounding does to a network, each of which stays only where it helps on the check part of the data.

What helps is told by the loss (``loss``) of the quantized network against the float one that it is made from.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from onnxprune.axes.facts import at
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.correcting import correct, with_biases
from onnxprune.quantization.equalising import factors, rescale
from onnxprune.quantization.network import Quantized, Scheme, quantized
from onnxprune.quantization.placement import placed
from onnxprune.quantization.scaling import scales
from onnxprune.quantization.strengths import Strengths

__all__ = ["REPAIRS", "balanced", "corrected", "equalised"]

REPAIRS = ("equalise", "bias")


def equalised(model: Model, ctx: Context, scheme: Scheme, repairs: Collection[str] = REPAIRS) -> tuple[Model, str]:
    """The float network that is to be quantized, with a remark: with channels of other magnitudes where that helps.

    It has biases wherever ``repairs`` are to correct them. The model must be in opset ``network.OPSET`` or newer.
    """
    if ctx.calibration is None or not (nodes := placed(model, scheme.excluded).nodes):
        return model, ""
    model = with_biases(model, nodes) if "bias" in repairs else model
    if "equalise" not in repairs:
        return model, ""
    fit, check = ctx.calibration.split()
    other = balanced(model, replace(ctx, calibration=fit), per_channel=scheme.per_channel)
    if other is None:
        return model, ""
    before, after = losses(model, [quantized(each, ctx, scheme).model for each in (model, other)], check)
    return (other if after < before else model), _said("equalisation", before, after)


def corrected(
    model: Model, result: Quantized, ctx: Context, repairs: Collection[str] = REPAIRS
) -> tuple[Quantized, str]:
    """What was made of the float ``model``, with a remark: with other biases where that helps."""
    if "bias" not in repairs or ctx.calibration is None or not result.weights:
        return result, ""
    fit, check = ctx.calibration.split()
    other = correct(model, result, ctx, fit)
    before, after = losses(model, [result.model, other], check)
    return (replace(result, model=other) if after < before else result), _said("correction of biases", before, after)


def _said(what: str, before: float, after: float) -> str:
    if after == before:
        return ""
    return f"; {what}{'' if after < before else ' refused'}: loss {before:.3g} → {after:.3g}"


def balanced(model: Model, ctx: Context, *, per_channel: bool) -> Model | None:
    """A copy that computes the same with channels of other magnitudes; None where there is nothing to choose."""
    found = scales(model)
    read = dict.fromkeys(at(layer.x, layer.x_channel) for layer in found.layers)
    limited = (axis for axis, numbers in found.numbers.items() if axis.tensor in found.limits and numbers.any())
    seen = model.get(Strengths(tuple(dict.fromkeys([*read, *limited]))), ctx) if found.count > 1 else {}
    if not seen or not all(strength.finite for strength in seen.values()):
        return None
    result = model.copy()
    rescale(result, found, factors(found, seen, per_channel=per_channel))
    return result
