"""Rounding the weights of a quantized network anew, layer after layer, for what each reads in that very network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxprune.axes.linear import Linear, linear
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.matrices import unseen
from onnxprune.quantization.network import Quantized
from onnxprune.quantization.rounding import RULES, rounded
from onnxprune.quantization.seen import seen

__all__ = ["refined", "rerounded"]


def refined(model: Model, result: Quantized, ctx: Context, rule: str) -> Quantized:
    """The quantized model with its weights rounded by a rule, or as it is where that brings it no nearer to the model.

    Weights are rounded for what the fit part of the calibration data makes, and judged by the check part.
    """
    if rule == "nearest" or ctx.calibration is None or not result.weights:
        return result
    fit, check = ctx.calibration.split()
    found = rerounded(model, result, replace(ctx, calibration=fit), rule)
    if all(np.array_equal(found.weights[name].values, codes.values) for name, codes in result.weights.items()):
        return result
    before, after = losses(model, [result.model, found.model], check)
    if not after <= before:
        return replace(result, said=f"; rounding by {rule} refused: loss {before:.3g} → {after:.3g}")
    return replace(found, rule=rule, said=f"; weights rounded by {rule}: loss {before:.3g} → {after:.3g}")


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
