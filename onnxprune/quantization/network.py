"""From a network in float to one on integers, as a scheme says: placement, grids, weights, pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnxprune.axes.linear import linear
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.grids import Format, Grid, activation_grid
from onnxprune.quantization.histograms import Histogram, Histograms
from onnxprune.quantization.inserting import Codes, insert
from onnxprune.quantization.placement import Placement, clip_behind, limits_of, placed
from onnxprune.quantization.profiles import Profile
from onnxprune.quantization.ranges import RULES, Range
from onnxprune.quantization.rounding import nearest
from onnxprune.quantization.settled import on_grid

__all__ = ["OPSET", "Quantized", "Scheme", "grids_of", "histograms", "joined", "quantized", "with_ranges"]

OPSET = 13  # from which a weight may have one scale per channel


@dataclass(frozen=True)
class Scheme:
    """How a network is quantized: the integers, the rule for ranges, and the nodes ``excluded``, which stay in float.

    ``ranges`` are those of single tensors, where no rule is to find them.
    """

    profile: Profile
    rule: str = "mse"
    per_channel: bool = True
    excluded: frozenset[str] = frozenset()
    ranges: tuple[tuple[str, Range], ...] = ()

    @property
    def whole(self) -> Scheme:
        """With nothing excluded."""
        return replace(self, excluded=frozenset())


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized network, and how it came about.

    ``rule`` is how weights were rounded, ``said`` what there is to say of it, ``plain`` which go to the nearest number
    all the same, and why.
    """

    model: Model
    placement: Placement
    ranges: Mapping[str, Range]
    grids: Mapping[str, Grid]
    weights: Mapping[str, Codes]
    rule: str = "nearest"
    said: str = ""
    plain: Mapping[str, str] = field(default_factory=dict)


def quantized(model: Model, ctx: Context, scheme: Scheme) -> Quantized:
    """A copy of a model on integers; the model must be in opset ``OPSET`` or newer."""
    placement, seen = _finite(model, ctx, scheme)
    ranges = _ranges(seen, placement, scheme)
    grids = grids_of(model, placement, ranges, scheme.profile.activations)
    steps = {site.tensor: float(grids[site.grid].scale) for site in placement.sites}
    views = {name: view for name in placement.nodes if (view := linear(model.node(name))) is not None}
    weights = {
        name: nearest(view, scheme.profile.weights, per_channel=scheme.per_channel, step=steps[view.x.name])
        for name, view in views.items()
    }
    result = model.copy()
    insert(result, placement, grids, weights)
    return Quantized(result, placement, ranges, grids, weights)


def _finite(model: Model, ctx: Context, scheme: Scheme) -> tuple[Placement, Mapping[str, Histogram]]:
    """The placement without what has no range: nodes that read or make a value that is not finite stay in float."""
    placement = placed(model, scheme.excluded)
    missing = {site.tensor for site in placement.sites} - dict(scheme.ranges).keys()
    seen = histograms(model, ctx) if missing else {}
    if not (strange := missing - seen.keys()):
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


def _ranges(seen: Mapping[str, Histogram], placement: Placement, scheme: Scheme) -> dict[str, Range]:
    """What each grid is to cover: the ranges of all tensors that share it."""
    given, rule, format = dict(scheme.ranges), RULES[scheme.rule], scheme.profile.activations
    missing = {site.tensor for site in placement.sites} - given.keys()
    found = given | {name: rule(seen[name], format) for name in missing}
    return {name: joined([found[t] for t in tensors]) for name, tensors in placement.grids.items()}


def with_ranges(model: Model, ctx: Context, scheme: Scheme) -> Scheme:
    """The scheme with the ranges of all tensors that may lie on a grid, so that they need not be found again."""
    found, rule = dict(scheme.ranges), RULES[scheme.rule]
    for name, seen in histograms(model, ctx).items():
        if name not in found:
            found[name] = rule(seen, scheme.profile.activations)
    return replace(scheme, ranges=tuple(sorted(found.items())))


def histograms(model: Model, ctx: Context) -> Mapping[str, Histogram]:
    """Of every tensor that may lie on a grid, whatever is excluded: so they are found once."""
    return model.get(Histograms(tuple(site.tensor for site in placed(model).sites)), ctx)


def joined(ranges: Sequence[Range]) -> Range:
    """The range that covers all of them."""
    return min(each[0] for each in ranges), max(each[1] for each in ranges)


def grids_of(model: Model, placement: Placement, ranges: Mapping[str, Range], format: Format) -> dict[str, Grid]:
    """The grid of all tensors that share one, within what a clip leaves of each; one that is there already is kept."""
    grids = {}
    for name, tensors in placement.grids.items():
        if there := [grid for t in tensors if (grid := on_grid(model, t)) is not None]:
            grids[name] = there[0]
            continue
        limits = [limits_of(model, t) for t in tensors]
        within = max(each[0] for each in limits), min(each[1] for each in limits)
        grids[name] = activation_grid(*ranges[name], format, within)
    return grids
