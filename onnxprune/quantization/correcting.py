"""Bias correction: what rounding shifts on the average, the bias takes back.

    b ← b + E[y] − E[ŷ]

for the outputs y of a layer in the float network and ŷ in the quantized one, whose layers before are corrected already
(Nagel et al. 2019, section 4.2, there from the statistics of batch normalisation; here measured, from shallow to deep).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onnxprune.axes.facts import at
from onnxprune.axes.linear import Linear, linear, put_bias
from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.node import Array, Tensor
from onnxprune.passes import Context
from onnxprune.quantization.inserting import INT32
from onnxprune.quantization.network import Quantized
from onnxprune.quantization.strengths import Strengths
from onnxprune.stepwise import Stepwise
from onnxprune.taps import tapped

__all__ = ["correct", "with_biases", "without_zeros"]


def with_biases(model: Model, nodes: Iterable[str]) -> Model:
    """A copy in which each Conv and Gemm among the nodes has a bias, of zeros where it had none."""
    result = model.copy()
    views = [view for name in nodes if (view := linear(model.node(name))) is not None and view.plain]
    for view in views:
        if view.bias is None and view.node.op != "MatMul":
            zeros = np.zeros(view.weight.size(view.rows) or 0, np.float32)
            result.set_input(view.node, 2, put_bias(result, view, None, zeros))
    return result


def without_zeros(model: Model) -> Model:
    """A copy of a quantized model in which no Conv or Gemm has a bias that is nothing but 0."""
    result = model.copy()
    layers = [node for node in result.nodes if node.op in ("Conv", "Gemm") and not node.domain and node.input(2)]
    for node in [node for node in layers if _zero(result, node.x(2))]:
        result.set_input(node, 2, "")
    result.sweep()
    return result


def _zero(model: Model, bias: Tensor) -> bool:
    """Whether a constant, or what is restored from one, is 0 everywhere."""
    source = model.producer(bias.name)
    held = bias if source is None or source.op != "DequantizeLinear" else source.x()
    point = None if source is None or held is bias else source.input(2)
    return held.constant and not held.value().any() and (point is None or (point.constant and not point.value().any()))


def correct(model: Model, result: Quantized, ctx: Context, data: Calibration) -> Model:
    """The quantized network with other biases; ``model`` is the float network that it was made from."""
    work, runs = result.model.copy(), Stepwise(data)
    views = [v for name in result.weights if (v := linear(model.node(name))) is not None and v.bias is not None]
    wanted = _means(model, views, replace(ctx, calibration=data))
    steps = [[_Layer.of(work, view) for view in step] for step in _steps(model, views)]
    for number, layers in enumerate(steps):
        later = {layer.x for after in steps[number + 1 :] for layer in after}
        xs = runs.batches(work, list(dict.fromkeys(layer.x for layer in layers)), later)
        for layer, found in zip(layers, _measured(work, xs, layers), strict=True):
            layer.shift(work, wanted[layer.name] - found)
    return work


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer of the quantized network: what it reads and makes, and where its bias is held, on which grid."""

    name: str
    x: str
    y: str
    channel: int
    bias: str | None
    scale: Array = field(repr=False)

    @classmethod
    def of(cls, work: Model, view: Linear) -> _Layer:
        """The one that was made of a layer in float."""
        node = work.node(view.node.name)
        source = work.producer(node.x(2).name)
        bias, scale = (None, np.ones(1)) if source is None else (source.x().name, source.x(1).value())
        return cls(node.name, node.x().name, node.y().name, view.y_channel, bias, scale.astype(np.float64))

    def shift(self, work: Model, shift: Array) -> None:
        """Add to the bias, on its grid."""
        if self.bias is not None and np.isfinite(shift).all():
            codes = work.tensor(self.bias).value() + np.rint(shift / self.scale)
            work.put(self.bias, np.clip(codes, INT32.low, INT32.high).astype(np.int32))


def _means(model: Model, views: Sequence[Linear], ctx: Context) -> dict[str, Array]:
    """The mean output of every layer, per channel."""
    axes = {view.node.name: at(view.y, view.y_channel) for view in views}
    seen = model.get(Strengths(tuple(axes.values())), ctx)
    return {name: seen[axis].mean for name, axis in axes.items()}


def _steps(model: Model, views: Iterable[Linear]) -> list[list[Linear]]:
    """Layers of which none reads what another of the same step makes, from shallow to deep."""
    own, depth, steps = {view.node.name: view for view in views}, dict[str, int](), dict[int, list[Linear]]()
    for node in model.nodes:
        read = (t.name for t in (*node.inputs, *node.captures) if t is not None)
        level = max((depth.get(name, 0) for name in read), default=0)
        if node.name in own:
            steps.setdefault(level, []).append(own[node.name])
            level += 1
        depth |= {t.name: level for t in node.outputs if t is not None}
    return [steps[level] for level in sorted(steps)]


def _measured(work: Model, xs: Iterator[Mapping[str, Array]], layers: Sequence[_Layer]) -> list[Array]:
    """The mean outputs of layers of the quantized network, per channel, from what they read."""
    session = tapped(work, [layer.y for layer in layers], given=[layer.x for layer in layers])
    sums = [np.zeros(())] * len(layers)
    rows = [0] * len(layers)
    for ys in map(session, xs):  # a loop over what is read would hold on to a batch of it
        for number, layer in enumerate(layers):
            y = ys.pop(0)
            channel = layer.channel % y.ndim
            sums[number] = sums[number] + y.sum(axis=tuple(np.delete(range(y.ndim), channel)), dtype=np.float64)
            rows[number] += y.size // max(y.shape[channel], 1)
            del y
    return [total / max(count, 1) for total, count in zip(sums, rows, strict=True)]
