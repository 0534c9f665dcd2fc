"""Bias correction: what rounding shifts on the average, the bias takes back.

    b ← b + E[y] − E[ŷ]

for the outputs y of a layer in the float network and ŷ in the quantized one, whose layers before are corrected already
(Nagel et al. 2019, section 4.2, there from the statistics of batch normalisation; here measured, from shallow to deep).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

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
    steps = [[view.node.name for view in step] for step in _steps(model, views)]
    read = {view.node.name: work.node(view.node.name).x().name for view in views}
    channels = {view.node.name: view.y_channel for view in views}
    for number, step in enumerate(steps):
        later = {read[name] for after in steps[number + 1 :] for name in after}
        xs = runs.batches(work, [*{read[name]: None for name in step}], later)
        found = _measured(work, xs, {name: channels[name] for name in step})
        _shift(work, {name: wanted[name] - found[name] for name in step})
    return work


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


def _measured(work: Model, xs: Iterable[Mapping[str, Array]], channels: Mapping[str, int]) -> dict[str, Array]:
    """The mean outputs of layers of the quantized network, per channel, from what they read."""
    nodes = {name: work.node(name) for name in channels}
    given = list(dict.fromkeys(node.x().name for node in nodes.values()))
    session = tapped(work, [node.y().name for node in nodes.values()], given=given)
    sums, rows = dict[str, Array](), dict.fromkeys(channels, 0)
    for feeds in xs:
        for name, y in zip(nodes, session(feeds), strict=True):
            channel = channels[name] % y.ndim
            total = y.sum(axis=tuple(d for d in range(y.ndim) if d != channel), dtype=np.float64)
            sums[name] = sums.get(name, np.zeros_like(total)) + total
            rows[name] += y.size // max(y.shape[channel], 1)
    return {name: total / max(rows[name], 1) for name, total in sums.items()}


def _shift(work: Model, shifts: Mapping[str, Array]) -> None:
    """Add to biases, on their grids."""
    values = dict[str, Array]()
    for name, shift in shifts.items():
        source = work.producer(work.node(name).x(2).name)
        if source is not None and np.isfinite(shift).all():
            codes = source.x().value() + np.rint(shift / source.x(1).value().astype(np.float64))
            values[source.x().name] = np.clip(codes, INT32.low, INT32.high).astype(np.int32)
    for name, value in values.items():
        work.put(name, value)
