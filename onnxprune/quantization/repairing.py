"""Repairs of what rounding does to a network, each of which stays only where it helps (``judging``)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from onnxprune.axes.facts import at
from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.absorbing import absorbed
from onnxprune.quantization.correcting import correct, with_biases, without_zeros
from onnxprune.quantization.equalising import factors, rescale
from onnxprune.quantization.judging import judged, told
from onnxprune.quantization.network import Quantized, Scheme, quantized
from onnxprune.quantization.placement import placed
from onnxprune.quantization.scaling import scales
from onnxprune.quantization.strengths import Strengths

__all__ = ["REPAIRS", "Repairs", "absorption", "balanced", "corrected", "correction", "equalisation", "prepared"]

T = TypeVar("T")
REPAIRS = ("equalise", "absorb", "bias")
MARGINS = (0.0, 0.8)  # of equalisation, that are tried where something is clipped


@dataclass(frozen=True)
class Repairs:
    """Which are made: ``equalise`` by this margin (``balanced``), or None; ``absorb`` high biases; correct ``bias``."""

    equalise: float | None = None
    absorb: bool = False
    bias: bool = False


def prepared(
    model: Model, ctx: Context, scheme: Scheme, asked: Collection[str], decided: Repairs | None = None
) -> tuple[Model, Repairs, str]:
    """The float network to quantize, after the repairs that come before: of those ``asked`` for what helps.

    Which they were is told, with a remark; what is ``decided`` is made in any case. The model must be in opset
    ``network.OPSET`` or newer; the result has biases wherever they may have to be corrected.
    """
    margin, one = _settled("equalise", asked, decided, lambda: equalisation(model, ctx, scheme))
    even = None if margin is None else balanced(model, ctx, per_channel=scheme.per_channel, margin=margin)
    start = even or model
    absorbs, two = _settled("absorb", asked, decided, lambda: absorption(start, ctx, scheme))
    result = (absorbed(start, ctx) if absorbs else None) or start
    corrects = "bias" in asked if decided is None else decided.bias
    result = with_biases(result, placed(result, scheme.excluded).nodes) if corrects else result
    return result, Repairs(margin, absorbs), one + two


def _settled(
    name: str, asked: Collection[str], decided: Repairs | None, find: Callable[[], tuple[T, str]]
) -> tuple[T, str]:
    """What is decided of a repair, or else found out, with a remark, where it is asked for."""
    return find() if decided is None and name in asked else (getattr(decided or Repairs(), name), "")


def corrected(
    model: Model, result: Quantized, ctx: Context, asked: Collection[str], decided: Repairs | None = None
) -> tuple[Quantized, bool, str]:
    """What was made of a float network, with its biases corrected where that helps, whether they were, and a remark.

    Biases that are 0 are left out.
    """
    bias, said = _settled("bias", asked, decided, lambda: correction(model, result, ctx))
    after = correct(model, result, ctx, ctx.calibration) if bias and ctx.calibration is not None else result.model
    return replace(result, model=without_zeros(after)), bias, said


def equalisation(model: Model, ctx: Context, scheme: Scheme) -> tuple[float | None, str]:
    """The margin to equalise by, None where that does not help, and a remark.

    The model must be in opset ``network.OPSET`` or newer.
    """
    if ctx.calibration is None or not placed(model, scheme.excluded).nodes:
        return None, ""

    def fit(data: Calibration, margin: float | None) -> Model:
        """The network on integers that is equalised for the data."""
        seen = replace(ctx, calibration=data)
        other = None if margin is None else balanced(model, seen, per_channel=scheme.per_channel, margin=margin)
        return quantized(other or model, seen, scheme).model

    margins = (None, *(MARGINS if scales(model).limits else MARGINS[:1]))
    before, *found = judged(model, [partial(fit, margin=margin) for margin in margins], ctx.calibration)
    after = min(found)
    kept = after < before
    return margins[1 + found.index(after)] if kept else None, told("equalisation", before, after, kept=kept)


def absorption(model: Model, ctx: Context, scheme: Scheme) -> tuple[bool, str]:
    """Whether to absorb high biases, and a remark; the model as for ``equalisation``."""
    if ctx.calibration is None or not placed(model, scheme.excluded).nodes or absorbed(model, ctx) is None:
        return False, ""

    def fit(data: Calibration, absorbs: bool) -> Model:
        seen = replace(ctx, calibration=data)
        return quantized((absorbed(model, seen) if absorbs else None) or model, seen, scheme).model

    before, after = judged(model, [partial(fit, absorbs=each) for each in (False, True)], ctx.calibration)
    kept = after < before
    return kept, told("absorption of high biases", before, after, kept=kept)


def correction(model: Model, result: Quantized, ctx: Context) -> tuple[bool, str]:
    """Whether to correct the biases of what was made of the float ``model``, and a remark."""
    if ctx.calibration is None or not result.weights:
        return False, ""
    before, after = judged(model, [lambda _: result.model, partial(correct, model, result, ctx)], ctx.calibration)
    kept = after < before
    return kept, told("correction of biases", before, after, kept=kept)


def balanced(model: Model, ctx: Context, *, per_channel: bool, margin: float = 0.0) -> Model | None:
    """A copy that computes the same with channels of other magnitudes; None where there is nothing to choose.

    ``margin`` is the share of a limit that a channel with a factor may reach; at 0, what is clipped has no factors.
    """
    found = scales(model)
    read = dict.fromkeys(at(layer.x, layer.x_channel) for layer in found.layers)
    limited = (axis for axis, numbers in found.numbers.items() if axis.tensor in found.limits and numbers.any())
    seen = model.get(Strengths(tuple(dict.fromkeys([*read, *limited]))), ctx) if found.count > 1 else {}
    if not seen or not all(strength.finite for strength in seen.values()):
        return None
    result = model.copy()
    rescale(result, found, factors(found, seen, per_channel=per_channel, margin=margin))
    return result
