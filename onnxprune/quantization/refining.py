"""Rounding the weights of a quantized network anew, layer after layer, for what each reads in that very network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxprune.axes.linear import Linear, linear
from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.judging import judged, told
from onnxprune.quantization.matrices import unseen
from onnxprune.quantization.network import Quantized
from onnxprune.quantization.rounding import RULES, rounded
from onnxprune.quantization.seen import seen

__all__ = ["refined", "rerounded"]


def refined(model: Model, result: Quantized, ctx: Context, rule: str, *, judge: bool = True) -> Quantized:
    """The quantized model with its weights rounded by a rule, or as it is where that brings it no nearer to the model.

    They are rounded for all of the calibration data, if rounding for one half of it serves the other (``judged``), or
    in any case where that is not to be judged.
    """
    if rule == "nearest" or ctx.calibration is None or not result.weights:
        return result

    def fit(data: Calibration) -> Model:
        return rerounded(model, result, replace(ctx, calibration=data), rule).model

    before, after = judged(model, [lambda _: result.model, fit], ctx.calibration) if judge else (0.0, 0.0)
    said = told(f"rounding by {rule}", before, after, kept=after <= before)
    if not after <= before:
        return replace(result, said=said)
    found = rerounded(model, result, ctx, rule)
    if all(np.array_equal(found.weights[name].values, codes.values) for name, codes in result.weights.items()):
        return result
    return replace(found, rule=rule, said=said)


def rerounded(model: Model, result: Quantized, ctx: Context, rule: str) -> Quantized:
    """The same, whatever comes of it; weights stay on their grids, and as they are where no H is known."""
    work, weights = result.model.copy(), dict(result.weights)
    views = {name: view for name in weights if (view := linear(model.node(name))) is not None}
    plain = {name: why for name, view in views.items() if (why := unseen(view)) is not None}
    nodes = [name for name in views if name not in plain]
    held = {name: _codes(work, name) for name in nodes}
    for view, h in seen(work, nodes, ctx):
        name = view.node.name
        if not np.isfinite(h).all():
            plain[name] = "what it reads is not finite on the calibration data"
            continue
        weights[name] = rounded(views[name], views[name].weight.value(), weights[name].grid, h, RULES[rule])
        work.put(held[name], weights[name].values)
    return replace(result, model=work, weights=weights, plain=plain)


def _codes(model: Model, name: str) -> str:
    """The constant that holds the whole numbers of a layer's weight."""
    view: Linear | None = linear(model.node(name))
    decoder = None if view is None else model.producer(view.weight.name)
    assert decoder is not None
    return decoder.x().name
