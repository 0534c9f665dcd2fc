"""Which rule finds the best range: for every grid, that by which the network loses least when it alone is rounded to.

Differences of what is lost on few samples are chance as well, so that the choice has to prove itself: it counts only if
the network with all its grids loses less by it on samples that it was not made on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Analysis, Context
from onnxprune.quantization.grids import Grid
from onnxprune.quantization.network import Scheme, grids_of, histograms, joined, quantized
from onnxprune.quantization.placement import Placement, placed
from onnxprune.quantization.ranges import RULES
from onnxprune.reference import Change, Reference, Run, behind
from onnxprune.taps import tapped

__all__ = ["BestRules", "ranges_by"]

SAMPLES = 32  # of the part that rules are chosen on
MARGIN = 0.7  # of what is lost by the scheme's rule: another has to be better than that


@dataclass(frozen=True)
class BestRules(Analysis[Mapping[str, str]]):
    """The rule for every tensor on a grid; those that share one have one rule. Kept on disk.

    A tensor is rounded for all that read it, and whatever lies behind runs in float.
    """

    scheme: Scheme
    uses = ("calibration", "seed", "shapes")
    revision = 2

    def compute(self, model: Model, ctx: Context) -> Mapping[str, str]:
        """Grid after grid on one half of the data, then all of them on the other."""
        if ctx.calibration is None:
            raise PassError("ranges are measured on calibration data: give --calib")
        fit, check = ctx.calibration.split(0.5)
        placement, plain = placed(model), self.scheme.rule
        chosen = self._chosen(model, ctx, placement, Reference(model, fit.few(SAMPLES)))
        rules = {t: chosen.get(name, plain) for name, tensors in placement.grids.items() for t in tensors}
        schemes = (self.scheme, replace(self.scheme, ranges=ranges_by(model, ctx, self.scheme, rules)))
        old, new = Reference(model, check).losses([quantized(model, ctx, each).model for each in schemes])
        return rules if new < old else dict.fromkeys(rules, plain)

    def _chosen(self, model: Model, ctx: Context, placement: Placement, reference: Reference) -> dict[str, str]:
        """The rule for every grid that can be tried."""
        candidates = self._candidates(model, ctx, placement)
        changes = {name: _behind(model, placement.grids[name]) for name in candidates}
        found, later = dict[str, str](), list(changes.values())
        with ctx.progress.task("ranges", len(candidates)) as step:
            for name, grids in candidates.items():
                runs = _runs(model, placement.grids[name], changes[name], list(grids.values()))
                tried = reference.compared(runs, changes[name], later := later[1:]) if runs else []
                losses = [each.value for each in tried]  # the mean: few samples have the largest values
                least = min(losses, default=0.0)
                if losses and least < MARGIN * losses[0]:
                    found[name] = list(grids)[losses.index(least)]
                step()
        return found

    def _candidates(self, model: Model, ctx: Context, placement: Placement) -> dict[str, dict[str, Grid]]:
        """Of every grid the different ones that rules lead to, that of the scheme's rule first."""
        seen, format, plain = histograms(model, ctx), self.scheme.profile.activations, self.scheme.rule
        known = {name: tensors for name, tensors in placement.grids.items() if all(t in seen for t in tensors)}
        found: dict[str, dict[str, Grid]] = {name: {} for name in known}
        some = replace(placement, sites=tuple(site for site in placement.sites if site.grid in known))
        for rule in (plain, *(rule for rule in RULES if rule != plain)):
            ranges = {name: joined([RULES[rule](seen[t], format) for t in tensors]) for name, tensors in known.items()}
            for name, grid in grids_of(model, some, ranges, format).items():
                if not any(_equal(grid, other) for other in found[name].values()):
                    found[name][rule] = grid
        return found

    def pack(self, result: Mapping[str, str]) -> dict[str, Array]:
        """As named arrays."""
        return {"rules": np.array(json.dumps(dict(result)))}

    def unpack(self, arrays: Mapping[str, Array]) -> Mapping[str, str]:
        """From named arrays."""
        rules: dict[str, str] = json.loads(str(arrays["rules"]))
        return rules


def ranges_by(
    model: Model, ctx: Context, scheme: Scheme, rules: Mapping[str, str]
) -> tuple[tuple[str, tuple[float, float]], ...]:
    """The ranges of tensors, each by its own rule, as a scheme holds them; none for what is not finite."""
    seen, format = histograms(model, ctx), scheme.profile.activations
    return tuple(sorted((name, RULES[rule](seen[name], format)) for name, rule in rules.items() if name in seen))


def _behind(model: Model, tensors: Sequence[str]) -> Change:
    """What becomes another where all that read the tensors read others."""
    made = (t.name for name in tensors for node in model.consumers(name) for t in node.outputs if t is not None)
    return behind(model, made)


def _runs(model: Model, tensors: Sequence[str], change: Change, grids: Sequence[Grid]) -> list[Run]:
    """What lies behind the tensors, read from each of the grids; none where there is nothing to compare."""
    known = {*change.given, *(t.name for t in model.inputs)}
    rounded = [name for name in tensors if name in known]
    if len(grids) < 2 or not change.outputs or not rounded:
        return []
    tail = tapped(model, change.outputs, given=change.given)

    def run(grid: Grid) -> Run:
        return lambda feeds: tail({**feeds, **{name: grid(feeds[name]) for name in rounded}}, change.outputs)

    return [run(grid) for grid in grids]


def _equal(one: Grid, other: Grid) -> bool:
    return bool(one.scale == other.scale and one.zero == other.zero)
