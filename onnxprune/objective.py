"""What a plan loses, measured: the network without what the plan removes, healed in closed form and run.

Every layer that reads what went gets the weights of the best refit, which follow from sums taken once (``Reader``).
That is no healing in sequence, but comes near it, and takes a matrix of each layer and one run for a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from onnxprune.analyses.sensitivity import with_readers
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.calibrate import Calibration
from onnxprune.footprints import Family, Ranking
from onnxprune.healing import store
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.plan import Amounts
from onnxprune.readers import Reader
from onnxprune.ridge import Healed, tensors

__all__ = ["Objective"]

KEPT = 4  # refits of every group
SAMPLES = 512  # at most: plans are compared on the same samples, and differ by more than these do


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of plans (``losses``) on calibration data, of families in the order in which their atoms go."""

    original: Model
    model: Model
    data: Calibration
    families: Mapping[str, tuple[Family, Ranking]]
    readers: Mapping[int, Sequence[Reader]]  # of each group, by its identity
    _known: dict[tuple[int, bytes], Mapping[str, Healed]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, model: Model, ctx: Context, data: Calibration, families: Sequence[tuple[Family, Ranking]]) -> Self:
        """Take the sums of all layers that read channels of the families."""
        readers = dict[int, Sequence[Reader]]()
        for batch in with_readers(model, ctx, [(family, ranking.order) for family, ranking in families]):
            readers |= {id(family.group): read for family, _, read in batch}
        return cls(ctx.original, model, _some(data), {f.where: (f, ranking) for f, ranking in families}, readers)

    def __call__(self, amounts: Amounts) -> float:
        """The loss of the network without so many atoms of each family; infinite where it is not finite."""
        (loss,) = losses(self.original, [self.less(amounts)], self.data)
        return loss if loss == loss else float("inf")

    def less(self, amounts: Amounts) -> Model:
        """The network without so many atoms of each family."""
        result, doomed, found = self.model.copy(), dict[Axis, Array](), dict[str, Healed]()
        for group, gone in self._gone(amounts):
            doomed |= group.slots(gone)
            found |= self._refitted(group, gone)
        store(result, found)
        cut(result, doomed)
        return result

    def _gone(self, amounts: Amounts) -> list[tuple[Group, Array]]:
        gone = dict[int, tuple[Group, Array]]()
        for family, ranking in (self.families[where] for where, amount in amounts.items() if amount):
            _, others = gone.get(id(family.group), (family.group, np.zeros(0, int)))
            own = ranking.order[: amounts[family.where]]
            gone[id(family.group)] = family.group, np.union1d(others, own)
        return list(gone.values())

    def _refitted(self, group: Group, gone: Array) -> Mapping[str, Healed]:
        """What becomes of the readers of a group; that of the last plans is kept."""
        key = id(group), gone.tobytes()
        self._known[key] = found = self._known.pop(key, None) or _refitted(self.model, self.readers[id(group)], gone)
        if len(self._known) > KEPT * len(self.readers):
            del self._known[next(iter(self._known))]
        return found


def _some(data: Calibration) -> Calibration:
    unit = data.batch or 1
    return replace(data, order=data.order[: max(SAMPLES // unit, 1) * unit])


def _refitted(model: Model, readers: Sequence[Reader], gone: Array) -> Mapping[str, Healed]:
    """The weights of the readers in the model that still has the atoms ``gone``: 0 for what comes from these."""
    layers: dict[str, list[Array]] = {}
    for reader in readers:
        weights = np.zeros_like(reader.weights)
        weights[:, np.append(~np.isin(reader.atoms, gone), True)] = reader.rest(gone)
        layers.setdefault(reader.layer, []).append(weights)
    found = {}
    for name, parts in layers.items():
        if (view := linear(model.node(name))) is not None:
            weight, bias = tensors(view, np.stack(parts))
            found[name] = Healed(0.0, 0.0, weight, None if view.node.op == "MatMul" else bias)
    return found
