"""Cross-layer equalisation: the factors of channels (``scaling``) with which rounding does the least harm.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", and SmoothQuant (Xiao et
al. 2023) give closed forms for a pair of layers. Here the factors exp(t) of all channels are found together. With X the
largest magnitudes of what a layer reads, E the mean squares, W its weights, and u what noise in a channel does to the
layers that read it, as a share of what they make, rounding to grids of n steps adds

    J(t) = Σ_layers  (max_i X_i·exp(t_i) / n)² · Σ_i u_i·exp(−2t_i)                              (activations)
                   + Σ_o (max_i |W_oi|·exp(t_o − t_i) / n)² · u_o·exp(−2t_o) · Σ_i E_i·exp(2t_i)   (weights)

up to a constant, where the latter maximum is over o too if all rows share a grid. With p-norms for the maxima log J is
convex: a sum of products of exponentials and their norms (a geometric program). It is lowered by gradients (Adam).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxprune.axes.facts import at
from onnxprune.axes.linear import Linear, bias_of, own_bias, put_bias
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.quantization.scaling import Scales
from onnxprune.quantization.strengths import Strength

__all__ = ["Harm", "factors", "rescale"]

NORM = 12  # p
STEPS = 200
RATE = 0.1  # at first, of a logarithm per step
DECAYS = (0.9, 0.99)  # of the means of gradients and of their squares
MOST = 9.0  # the magnitude of a logarithm
TINY = 1e-30


def factors(scales: Scales, seen: Mapping[Axis, Strength], *, per_channel: bool, margin: float = 0.0) -> Array:
    """The factors [count], float64; ``seen`` is of what layers read, and of what has limits.

    ``margin`` is the share of a limit that a channel with a factor may reach, before and after: other data may reach
    further. At 0, what is clipped has no factors.
    """
    harm = Harm(scales, seen, per_channel=per_channel)
    (least, most), logs = _bounds(scales, seen, margin), np.zeros(scales.count)
    mean, square = np.zeros(scales.count), np.zeros(scales.count)
    for step in range(1, STEPS + 1):
        gradient = harm(logs)[1]
        mean += (1 - DECAYS[0]) * (gradient - mean)
        square += (1 - DECAYS[1]) * (gradient**2 - square)
        move = mean / (1 - DECAYS[0] ** step) / (np.sqrt(square / (1 - DECAYS[1] ** step)) + 1e-8)
        logs = np.clip(logs - RATE * (1 - (step - 1) / STEPS) * move, least, most)
    return np.asarray(np.exp(logs))


class Harm:
    """What rounding does: log J, with its derivatives, for the logarithms t [count] of factors."""

    def __init__(self, scales: Scales, seen: Mapping[Axis, Strength], *, per_channel: bool) -> None:
        """``seen`` is of what layers read."""
        self._count, self._per_channel, self._layers = scales.count, per_channel, _layers(scales, seen)

    def __call__(self, logs: Array) -> tuple[float, Array]:
        """The value, and the gradient [count], 0 for the factor that is 1."""
        total, gradient = TINY, np.zeros(self._count)
        for layer in self._layers:
            total += layer.noise(logs, gradient, self._per_channel)
        gradient[0] = 0
        return float(np.log(total)), gradient / total


def _layers(scales: Scales, seen: Mapping[Axis, Strength]) -> list[_Layer]:
    """The layers, with what noise in the channels that they make does further on."""
    found = [_Layer(scales, layer, seen[at(layer.x, layer.x_channel)]) for layer in scales.layers]
    harm = np.zeros(scales.count)
    for layer in found:
        np.add.at(harm, layer.read, layer.harm)
    for layer in found:
        layer.behind = np.where(layer.made > 0, harm[layer.made], 1 / layer.power)
    return found


class _Layer:
    """The terms of one layer: arrays are [groups, outputs of a group, inputs of a group], or lack one of the latter."""

    def __init__(self, scales: Scales, layer: Linear, seen: Strength) -> None:
        weight = np.moveaxis(layer.weight.value().astype(np.float64), (layer.rows, layer.columns), (0, 1))
        weight = weight.reshape(layer.groups, -1, weight.shape[1], weight[0, 0].size)
        self.read = scales.read(layer)
        self.made = scales.made(layer).reshape(layer.groups, -1)
        self.most, self.energy = (v.reshape(self.read.shape) for v in (seen.most, seen.power))
        squares = np.sum(weight**2, axis=3)
        self.power = max(float(np.sum(squares * self.energy[:, None])), TINY)
        self.harm = np.where(self.most > 0, squares.sum(axis=1) / self.power, 0)
        self.energy = self.energy * weight.shape[3]
        self.largest = float(np.abs(weight).max(initial=0)) or 1.0
        self.norms = np.sum((np.abs(weight) / self.largest) ** NORM, axis=3)
        self.behind = np.zeros(self.made.shape)

    def noise(self, logs: Array, gradient: Array, per_channel: bool) -> float:
        """The layer's part of J; its derivatives are added to the gradient."""
        read, made = logs[self.read], logs[self.made]
        kept = self.harm * np.exp(-2 * read)
        reach = (self.most * np.exp(read)) ** NORM
        end = max(reach.sum(), TINY)
        activations = end ** (2 / NORM) * kept.sum() / 4
        slope = 2 * activations * (reach / end - kept / max(kept.sum(), TINY))

        energy, behind = self.energy * np.exp(2 * read), self.behind * np.exp(-2 * made)
        inputs = np.maximum(energy.sum(axis=1, keepdims=True), TINY)
        grown = np.exp(NORM * made)[:, :, None] * self.norms * np.exp(-NORM * read)[:, None]
        ends = np.maximum(grown.sum(axis=2) if per_channel else grown.sum(), TINY)
        noise = self.largest**2 * ends ** (2 / NORM) * behind * inputs
        share = grown * (noise / ends)[:, :, None] if per_channel else grown * (noise.sum() / ends)
        slope += 2 * (noise.sum(axis=1, keepdims=True) * energy / inputs - share.sum(axis=1))
        np.add.at(gradient, self.read, slope)
        np.add.at(gradient, self.made, 2 * (share.sum(axis=2) - noise))
        return float(activations + noise.sum())


def _bounds(scales: Scales, seen: Mapping[Axis, Strength], margin: float) -> tuple[Array, Array]:
    """Between which the logarithms lie: what comes near a limit has the factor 1, what does not stays away from it."""
    most = np.full(scales.count, MOST)
    most[0] = 0
    least = -most
    for axis, channels in seen.items():
        end = scales.limits.get(axis.tensor, np.inf)
        limit = margin * end if np.isfinite(end) else np.inf  # a Clip may have none above
        room = np.log(np.maximum(limit / np.maximum(channels.most, TINY), 1))
        np.minimum.at(most, scales.numbers[axis], room)
        np.maximum.at(least, scales.numbers[axis], np.where(channels.most < limit, -MOST, 0))
    return least, most


def rescale(model: Model, scales: Scales, factors: Array) -> None:
    """Multiply channels by their factors [count]: the network computes what it did, up to rounding."""
    layers = [layer for layer in scales.layers if _differs(scales, layer, factors)]
    weights = {layer.weight.name: _weight(scales, layer, factors) for layer in layers}
    biases = [(layer, own_bias(model, layer), bias_of(layer)) for layer in layers if layer.bias is not None]
    grown = _constants(model, scales, factors)
    for name, value in (weights | grown).items():
        model.put(name, value.astype(np.float32))
    for layer, own, bias in biases:
        if bias is not None:
            value = (bias * factors[scales.made(layer)]).astype(np.float32)
            model.set_input(layer.node, 2, put_bias(model, layer, own, value))
            model.set_attribute(layer.node, "beta", None)


def _differs(scales: Scales, layer: Linear, factors: Array) -> bool:
    return any((factors[numbers] != 1).any() for numbers in (scales.made(layer), scales.read(layer)))


def _weight(scales: Scales, layer: Linear, factors: Array) -> Array:
    """Rows times the factors of what they make, columns over those of what they read."""
    weight = np.moveaxis(layer.weight.value().astype(np.float64), (layer.rows, layer.columns), (0, 1))
    rows, columns = factors[scales.made(layer)], factors[scales.read(layer)]
    blocks = weight.reshape(layer.groups, -1, weight.shape[1], weight[0, 0].size)
    blocks = blocks * rows.reshape(layer.groups, -1, 1, 1) / columns[:, None, :, None]
    return np.moveaxis(blocks.reshape(weight.shape), (0, 1), (layer.rows, layer.columns))


def _constants(model: Model, scales: Scales, factors: Array) -> dict[str, Array]:
    """What is multiplied with and added to channels that have factors."""
    values = dict[str, Array]()
    by = {axis: factors[numbers] for axis, numbers in scales.numbers.items()}
    grown = [(g.axis, by[g.by] / (by[g.less] if g.less is not None else 1.0)) for g in scales.gains]
    for axis, factor in [*grown, *((axis, by[axis]) for axis in scales.addends if axis in by)]:
        value = values.get(axis.tensor, model.tensor(axis.tensor).value())
        values[axis.tensor] = value * factor.reshape([-1 if dim == axis.dim else 1 for dim in range(value.ndim)])
    return values
