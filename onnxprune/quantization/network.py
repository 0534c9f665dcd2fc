"""From a network in float to one on integers, as a scheme says: placement, grids, weights, pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from onnxprune.axes.linear import linear
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.grids import Grid, activation_grid
from onnxprune.quantization.histograms import Histogram, Histograms
from onnxprune.quantization.inserting import Codes, insert
from onnxprune.quantization.placement import Placement, clip_behind, limits_of, placed
from onnxprune.quantization.profiles import Profile
from onnxprune.quantization.ranges import RULES
from onnxprune.quantization.rounding import nearest

__all__ = ["OPSET", "Quantized", "Scheme", "quantized"]

OPSET = 13  # from which a weight may have one scale per channel


@dataclass(frozen=True)
class Scheme:
    """How a network is quantized: the integers, the rule for ranges, and the nodes ``excluded``, which stay in float.

    ``rules`` are other rules for single grids, by the names of their tensors.
    """

    profile: Profile
    rule: str = "mse"
    per_channel: bool = True
    excluded: frozenset[str] = frozenset()
    rules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized network, and how it came about."""

    model: Model
    placement: Placement
    grids: Mapping[str, Grid]
    weights: Mapping[str, Codes]


def quantized(model: Model, ctx: Context, scheme: Scheme) -> Quantized:
    """A copy of a model on integers; the model must be in opset ``OPSET`` or newer."""
    placement, seen = _finite(model, ctx, scheme)
    grids = _grids(model, seen, placement, scheme)
    steps = {site.tensor: float(grids[site.grid].scale) for site in placement.sites}
    views = {name: view for name in placement.nodes if (view := linear(model.node(name))) is not None}
    weights = {
        name: nearest(view, scheme.profile.weights, per_channel=scheme.per_channel, step=steps[view.x.name])
        for name, view in views.items()
    }
    result = model.copy()
    insert(result, placement, grids, weights)
    return Quantized(result, placement, grids, weights)


def _finite(model: Model, ctx: Context, scheme: Scheme) -> tuple[Placement, Mapping[str, Histogram]]:
    """The placement without what has no range: nodes that read or make a value that is not finite stay in float."""
    placement = placed(model, scheme.excluded)
    tensors = [site.tensor for site in placement.sites]
    seen = model.get(Histograms(tuple(tensors)), ctx)
    if not (strange := set(tensors) - seen.keys()):
        return placement, seen
    touching = {name for name in placement.nodes if strange & _touched(model, name)}
    again = placed(model, scheme.excluded | touching)
    why = "on the calibration data it meets values that are not finite"
    return replace(again, floats={**again.floats, **{n: why for n in again.floats if n in touching}}), seen


def _touched(model: Model, name: str) -> set[str]:
    """What a node reads and makes, and what a clip behind it does."""
    node = model.node(name)
    clip = clip_behind(model, node)
    return {t.name for each in (node, clip) if each is not None for t in each.tensors()}


def _grids(model: Model, seen: Mapping[str, Histogram], placement: Placement, scheme: Scheme) -> dict[str, Grid]:
    """The grid of all tensors that share one: it covers the ranges of each, within what a clip leaves of it."""
    grids, format = {}, scheme.profile.activations
    for name, tensors in placement.grids.items():
        rule = RULES[scheme.rules.get(name, scheme.rule)]
        ranges, limits = [rule(seen[t], format) for t in tensors], [limits_of(model, t) for t in tensors]
        low, high = min(each[0] for each in ranges), max(each[1] for each in ranges)
        within = max(each[0] for each in limits), min(each[1] for each in limits)
        grids[name] = activation_grid(low, high, format, within)
    return grids
