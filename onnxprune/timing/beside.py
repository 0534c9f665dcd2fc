"""A network's time beside the original's: whether it keeps within what was asked for, and whether the cut pays."""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.errors import UsageError
from onnxprune.feeds import first
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.units import Amount

__all__ = ["TOLERANCE", "Beside", "beside", "settled"]

TOLERANCE = 0.05  # of a time: what two measurements of one network may differ by
NO_GAIN = 1.01  # times as long as the original: the cut does not pay
AGAIN = 3


@dataclass(frozen=True)
class Beside:
    """Milliseconds of the original and of a network, measured in turns."""

    before: float
    after: float

    @property
    def share(self) -> float:
        """Of the original's time."""
        return self.after / self.before

    @property
    def pays(self) -> bool:
        """Whether the network is no slower than the original."""
        return self.share <= NO_GAIN

    def of(self, amount: Amount) -> float:
        """The share of the time that ``amount`` allows."""
        return self.after / amount.of(self.before)


def beside(model: Model, ctx: Context) -> Beside:
    """Measure both; raises UsageError where nobody takes the time, ModelError where one of them does not run."""
    if ctx.clock is None:
        raise UsageError("a time is measured by a clock, and the context has none; give macs= instead")
    feeds = first(ctx)
    before, after = ctx.clock.milliseconds([(each.lean(), feeds) for each in (ctx.original, model)])
    return Beside(before, after)


def settled(model: Model, ctx: Context) -> Beside:
    """The same, measured again where the network seems to be slower: the best of a few."""
    found = beside(model, ctx)
    for _ in range(AGAIN):
        if found.pays:
            break
        found = min(found, beside(model, ctx), key=lambda each: each.share)
    return found
