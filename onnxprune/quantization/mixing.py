"""Which nodes to leave in float so that no more than so much is lost: the fewest multiplications that will do.

Nodes go back to float in the order of what they lose (``NodeLosses``) per multiply-accumulate, as many as are needed:
their number is doubled until that is met, then bisected. Of those, the ones that can go back on integers, the most
expensive first: twice as many at once after each time that it went well, half as many where it did not. Every network
on the way is really quantized, and measured on data that nothing was fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnxprune.analyses.cost import NodeCosts
from onnxprune.evaluate import Accuracy
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.progress import Progress

__all__ = ["Mixed", "costs", "mixed"]

BACK = 16  # networks with some of the nodes on integers again
EXACT = 1e-9  # points


@dataclass(frozen=True, eq=False)
class Mixed:
    """A network whose nodes ``left`` stay in float, and what it is worth."""

    left: frozenset[str]
    accuracy: Accuracy
    rule: str = "nearest"  # by which weights are rounded

    def within(self, drop: float) -> bool:
        """Whether it loses no more than so many points."""
        return self.accuracy.drop <= drop + EXACT

    def told(self) -> str:
        """What was measured."""
        found = self.accuracy
        return f"{found.metric} {found.before:.4f} → {found.after:.4f} on {found.n} samples"


def mixed(
    drop: float,
    losses: Mapping[str, float],
    costs: Mapping[str, float],
    attempt: Callable[[frozenset[str]], Mixed],
    progress: Progress,
) -> Mixed:
    """The network with the cheapest nodes in float that loses at most ``drop`` points, or the best that was found.

    ``losses`` are of the nodes that may stay in float, ``costs`` of all; ``attempt`` quantizes all but some nodes.
    """
    order = sorted(losses, key=lambda name: (-losses[name] / costs[name], name))
    known = dict[frozenset[str], Mixed]()
    with progress.task("drop", len(order).bit_length() + BACK) as step:

        def tried(left: frozenset[str]) -> Mixed:
            if left not in known:
                known[left] = attempt(left)
                step()
            return known[left]

        count = _least(lambda count: tried(frozenset(order[:count])).within(drop), len(order))
        found = tried(frozenset(order[:count]))
        rest, size = sorted(found.left, key=lambda name: (-costs[name], name)), 1
        for _ in range(BACK if found.within(drop) else 0):
            if not (group := rest[:size]):
                break
            fewer = tried(found.left.difference(group))
            if fewer.within(drop):
                found, rest, size = fewer, rest[size:], 2 * size
            elif size > 1:
                size //= 2
            else:
                rest = rest[1:]
    return found


def _least(enough: Callable[[int], bool], most: int) -> int:
    """The least number that is enough, if from it on all are; ``most`` where none is."""
    low, high = -1, 0
    while high < most and not enough(high):
        low, high = high, min(max(2 * high, 1), most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def costs(model: Model, ctx: Context) -> dict[str, float]:
    """The MACs of every node; of one that multiplies nothing, the numbers that it makes."""
    return {each.node: float(max(each.macs, each.activation_bytes // 4, 1)) for each in model.get(NodeCosts(), ctx)}
