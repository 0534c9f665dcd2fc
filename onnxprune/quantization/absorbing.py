"""High biases absorbed: what a channel exceeds nearly always is added by the layers behind, once and for all.

    b₁ ← b₁ − c,  b₂ ← b₂ + W₂·c,  c = max(0, μ − 3·σ)

for layers with a Relu between them, whose outputs have the means μ and deviations σ (Nagel et al. 2019, section 4.1.3,
there from the statistics of batch normalisation; here measured). The range of the channel shrinks by c. Where the first
layer makes less than c the network computes something else, which is why it has to prove itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxprune.axes.facts import at
from onnxprune.axes.linear import Linear, bias_of, linear, own_bias, put_bias, reads
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Tensor
from onnxprune.passes import Context
from onnxprune.quantization.strengths import Strength, Strengths

__all__ = ["absorbed"]

DEVIATIONS = 3.0


@dataclass(frozen=True)
class _Pair:
    """A layer, what its Relu makes, and all that read that: each adds the same to every position."""

    layer: Linear
    relu: Tensor
    readers: tuple[Linear, ...]

    @property
    def axis(self) -> Axis:
        return at(self.relu, self.layer.y_channel)


def absorbed(model: Model, ctx: Context) -> Model | None:
    """A copy with smaller biases in front of Relus; None where no channel has a high one."""
    pairs = [pair for node in model.nodes if (view := linear(node)) is not None and (pair := _pair(model, view))]
    seen = model.get(Strengths(tuple(pair.axis for pair in pairs)), ctx) if pairs else {}
    high = [(pair, _high(seen[pair.axis])) for pair in pairs if pair.axis in seen and seen[pair.axis].finite]
    shifts = dict[str, tuple[Linear, Array]]()
    for pair, by in high:
        if by.any():
            _add(shifts, pair.layer, -by)
            for reader in pair.readers:
                _add(shifts, reader, _passed(reader, by))
    if not shifts:
        return None
    result = model.copy()
    made = [(view, own_bias(model, view), (bias_of(view), shift)) for view, shift in shifts.values()]
    for view, own, (bias, shift) in made:
        if bias is not None:
            result.set_input(view.node, 2, put_bias(result, view, own, (bias + shift).astype(np.float32)))
            result.set_attribute(view.node, "beta", None)
    return result


def _add(shifts: dict[str, tuple[Linear, Array]], view: Linear, shift: Array) -> None:
    before = shifts.get(view.node.name, (view, np.zeros(1)))[1]
    shifts[view.node.name] = view, before + shift


def _high(seen: Strength) -> Array:
    """What a channel exceeds nearly always [channels]."""
    deviation = np.sqrt(np.maximum(seen.power - seen.mean**2, 0))
    return np.asarray(np.maximum(seen.mean - DEVIATIONS * deviation, 0))


def _pair(model: Model, view: Linear) -> _Pair | None:
    """A layer with others behind its Relu that can take up what it loses; None where it has none."""
    behind = model.consumers(view.y.name)
    if not _biased(view) or len(reads(model, view.y.name)) != 1 or not behind or behind[0].op != "Relu":
        return None
    relu = behind[0].y()
    readers = [each for each in map(linear, model.consumers(relu.name)) if each is not None and _takes(each, relu)]
    if not readers or len(readers) < len(reads(model, relu.name)):
        return None
    return _Pair(view, relu, tuple(readers))


def _biased(view: Linear) -> bool:
    """Whether it has, or can be given, a bias per channel in float32."""
    able = view.node.op in ("Conv", "Gemm") and view.plain and view.weight.dtype == np.float32
    return bool(able and bias_of(view) is not None)


def _takes(view: Linear, x: Tensor) -> bool:
    """Whether a layer makes the same of x everywhere: there are no zeros around it."""
    attrs = view.node.attrs
    padded = attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(attrs.get("pads", ()))
    return _biased(view) and view.x.name == x.name and not padded


def _passed(view: Linear, by: Array) -> Array:
    """What a layer makes [outputs] of inputs [inputs] that are the same everywhere."""
    weight = np.moveaxis(view.weight.value().astype(np.float64), (view.rows, view.columns), (0, 1))
    sums = weight.reshape(*weight.shape[:2], -1).sum(axis=2).reshape(view.groups, -1, weight.shape[1])
    made = np.einsum("goi,gi->go", sums, by.reshape(view.groups, -1)).reshape(-1)
    return np.asarray(view.node.attrs.get("alpha", 1.0) * made)
