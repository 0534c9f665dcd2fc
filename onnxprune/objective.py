"""What a plan loses, measured: the network is cut by it, healed on some of the data, and held against the original.

The order of plans changes with healing: what looks cheap in a network that is only cut, or healed layer by layer from
sums of the original, may be what a healing in sequence makes up for worst, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from onnxprune.axes.cutting import cut
from onnxprune.cache import Cache
from onnxprune.calibrate import Calibration
from onnxprune.footprints import Family, Ranking
from onnxprune.healing import heal
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.plan import Amounts
from onnxprune.progress import Progress
from onnxprune.reference import Reference

__all__ = ["Objective"]

HEALED_ON = 192  # samples at most: of two plans the better one shows long before healing is at its best
SHARE = 0.6  # of the samples, at most; plans are compared on the others
COMPARED_ON = 512


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of plans on the calibration data ``data``, of families in the order in which their atoms go."""

    model: Model
    ctx: Context
    data: Calibration
    families: Mapping[str, tuple[Family, Ranking]]
    heals: bool = True
    _known: dict[tuple[tuple[str, int], ...], float] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _parts(self) -> tuple[Calibration, Calibration]:
        """What is healed on, and what is compared on."""
        unit, order = self.data.batch or 1, self.data.order
        held = max(min(HEALED_ON, int(SHARE * len(order))) // unit, 1) * unit
        rest = order[held : held + max(COMPARED_ON // unit, 1) * unit]
        return replace(self.data, order=order[:held]), replace(self.data, order=rest if len(rest) else order)

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self.ctx.original, self._parts[1])

    @cached_property
    def _quick(self) -> Context:
        """For healing of which nobody hears, and of which nothing is kept."""
        return replace(self.ctx, calibration=self._parts[0], cache=Cache(None), progress=Progress.silent())

    def __call__(self, amounts: Amounts) -> float:
        """The loss of the network without so many atoms of each family; infinite where it is not finite."""
        key = tuple(sorted(amounts.items()))
        if key not in self._known:
            (loss,) = self._reference.losses([self.less(amounts)])
            self._known[key] = loss if loss == loss else float("inf")
        return self._known[key]

    def less(self, amounts: Amounts) -> Model:
        """The network without so many atoms of each family, healed."""
        result, doomed = self.model.copy(), dict[Axis, Array]()
        for family, ranking in (self.families[where] for where, amount in amounts.items() if amount):
            for axis, slots in family.group.slots(ranking.order[: amounts[family.where]]).items():
                doomed[axis] = np.union1d(doomed.get(axis, slots), slots)
        cut(result, doomed)
        if self.heals:
            heal(result, self._quick, doomed)
        return result
