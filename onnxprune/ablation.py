"""Ablation: a network without some atoms of a group, the layers that read them refitted, and what it loses by that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.healing import store
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.readers import Reader, rest_of

__all__ = ["LEAST", "MOST", "Losses", "ablated", "leaves_some"]

Losses: TypeAlias = Callable[[Sequence[Model]], list[float]]  # of networks that lack some channels

LEAST, MOST = 1e-12, 1e12  # of a loss


def leaves_some(group: Group, gone: Array) -> bool:
    """Whether every axis keeps a slot without these atoms."""
    return all(len(slots) < len(group.atoms[axis]) for axis, slots in group.slots(gone).items())


def ablated(model: Model, group: Group, readers: Sequence[Reader], gone: Array, losses: Losses) -> tuple[Model, float]:
    """A copy without atoms, the layers that read them refitted where that helps, and what its outputs lose.

    The loss, as ``losses`` tells it, is kept between LEAST and MOST. On fewer rows than a layer has columns, a refit
    may do worse than none.
    """
    raw = model.copy()
    cut(raw, group.slots(gone))
    refitted = raw.copy()
    store(refitted, rest_of(refitted, readers, gone))
    tried = [refitted, raw] if readers else [raw]
    found = [min(max(loss, LEAST), MOST) if loss == loss else MOST for loss in losses(tried)]
    least = min(found)
    return tried[found.index(least)], least
