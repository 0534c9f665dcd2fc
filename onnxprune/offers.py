"""What the families of a network offer to a planner, and why some offer nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from onnxprune.alignment import Grain
from onnxprune.axes.groups import Group
from onnxprune.axes.reasons import Reason
from onnxprune.footprints import Ranking, families
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.overrides import Layers, of_layers
from onnxprune.passes import Context
from onnxprune.plan import Candidate
from onnxprune.sharing import sharers
from onnxprune.units import Share

__all__ = ["Offers"]

FLOOR = 0.05  # of a layer's channels stay in any case
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Offers:
    """The families that were ``ranked``, of which ``least`` channels stay at least; ``layers`` stand above that.

    ``ratio`` is the share of every layer that goes, None where a planner has the choice. ``obstacle`` tells why an atom
    may not go.
    """

    ranked: Mapping[str, Ranking]
    least: int
    layers: Layers
    ratio: Share | None
    obstacle: Callable[[Group, int], Reason | None]

    def candidates(self, model: Model, ctx: Context, grain: Grain, doomed: dict[Axis, Array]) -> Iterator[Candidate]:
        """What every family offers; layers of which nothing can be removed are skipped with the reason."""
        shared = sharers(model)
        for family in families(model, ctx):
            (width, count), ranking = family.width, self.ranked.get(family.where)
            own = of_layers(self.layers, [name for layers in family.made.values() for name in layers])
            floor = max(own.get("min", self.least), math.ceil(FLOOR * width))
            align = Grain(own["align"]) if "align" in own else grain
            free = 0 if ranking is None else len(ranking.order)
            steps = family.steps(min(free, len(family.atoms) - math.ceil(floor / count)), align)
            if ranking is not None and len(steps) > 1:
                offer = family.candidate(ranking, steps, doomed, self._left_out(own, align.of(width)))
                yield _bound(offer, own.get("ratio"))
                continue
            why = f"with align={align.of(width)} and at least {floor} kept, none of its {width} channels can go"
            reason = Reason("floor" if floor + count > width else "align", why)
            if not free:
                reasons = (self.obstacle(family.group, atom) for atom in family.atoms.tolist())
                reason = next(filter(None, reasons), Reason("recipe", "kept by recipe"))
            family.skip(model, reason, {} if free else shared)

    def _left_out(self, own: Mapping[str, Share], align: int) -> Reason:
        if (ratio := own.get("ratio", self.ratio)) is None:
            return Reason("goal", "others do less harm for what they save")
        return Reason("align", f"ratio={ratio} of its channels is less than may go with align={align}")


def _bound(offer: Candidate, ratio: Share | None) -> Candidate:
    """An offer from which there is nothing to choose where the share is given that goes."""
    if ratio is None:
        return offer
    return replace(offer, steps=np.array([offer.permitted(ratio * (len(offer.harm) - 1) + ROUNDING)]))
