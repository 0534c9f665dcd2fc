"""Which channels must be removed together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onnxprune.axes.facts import Fact, axes
from onnxprune.axes.groups import Group, collect, settle
from onnxprune.model import Model
from onnxprune.node import Axis, Tensor
from onnxprune.passes import Analysis, Context

__all__ = ["ChannelGroups", "sized", "stated"]

MOST = 2**18  # slots: an axis of more is no axis of channels, and is kept whole


@dataclass(frozen=True)
class ChannelGroups(Analysis[tuple[Group, ...]]):
    """The groups of tied axes that hold at least one axis of a constant, in the order of the graph."""

    def compute(self, model: Model, ctx: Context | None = None) -> tuple[Group, ...]:
        """State the facts of every node and settle them."""
        tensors = _tensors(model)
        order = {name: index for index, name in enumerate(tensors)}
        groups = settle(*stated(model), lambda axis: tensors[axis.tensor].constant)
        return tuple(sorted(groups, key=lambda g: min((order[a.tensor], a.dim) for a in g.atoms)))


def stated(model: Model) -> tuple[list[Fact], dict[Axis, int | None]]:
    """All facts of a model, and the number of slots of every axis that they name, None where it is not fixed."""
    facts = collect(model)
    return facts, sized(model, facts)


def sized(model: Model, facts: Iterable[Fact]) -> dict[Axis, int | None]:
    """The number of slots of every axis that facts name, None where it is not fixed."""
    tensors = _tensors(model)
    return {axis: _slots(tensors[axis.tensor], axis) for fact in facts for axis in axes(fact)}


def _tensors(model: Model) -> dict[str, Tensor]:
    tensors = {t.name: t for node in model.nodes for t in node.tensors()}
    return tensors | {t.name: t for t in (*model.inputs, *model.outputs)}


def _slots(tensor: Tensor, axis: Axis) -> int | None:
    size = tensor.size(axis.dim)
    return size if size is not None and 0 <= size <= MOST else None
