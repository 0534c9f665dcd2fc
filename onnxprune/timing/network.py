"""The time of a whole network as a function of sizes: its layers by their tables, all else by what it writes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

from onnxprune.analyses.peak import bytes_term, fixed_sizes, tensor_bytes
from onnxprune.axes.linear import linear
from onnxprune.costs import CostModel, Term
from onnxprune.errors import ModelError, PassError
from onnxprune.feeds import first
from onnxprune.model import Model
from onnxprune.passes import Analysis, Context
from onnxprune.shapes import concrete
from onnxprune.timing.layers import layer_of
from onnxprune.timing.tables import Lookup, Table

__all__ = ["NetworkTime"]

Shapes = Mapping[str, tuple[int, ...]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkTime(Analysis[CostModel]):
    """The milliseconds that a network takes, as a function of sizes; at the present ones it is what was measured.

    Where the tables of the layers say more than that, all of them are scaled down: on their own, layers put their
    inputs and outputs in order. Where they say less, the rest is shared by all other operators as they write bytes.
    """

    uses = ("shapes", "clock")

    def compute(self, model: Model, ctx: Context) -> CostModel:
        """Measure the network, and each layer as it is; tables learn of other sizes when a planner asks."""
        if ctx.clock is None:
            raise PassError("a time is measured by a clock, and the context has none")
        shapes = concrete(model, ctx.shapes)
        (whole,) = ctx.clock.milliseconds([(model.lean(), first(ctx))])
        lookups = tuple(_lookups(model, ctx, shapes))
        axes = [axis for each in lookups for axis in each.factors]
        sizes: dict[Hashable, int] = {axis: model.tensor(axis.tensor).size(axis.dim) or 1 for axis in axes}
        known = CostModel(lookups, sizes).total()
        scale = min(1.0, whole / known) if known else 1.0
        rest = _rest(model, shapes, {each.where for each in lookups}, whole - scale * known)
        layers = CostModel(tuple(each.scaled(scale) for each in lookups), sizes)
        return CostModel((*layers.parts, *rest.parts), {**rest.sizes, **layers.sizes})


def _lookups(model: Model, ctx: Context, shapes: Shapes) -> Iterator[Lookup]:
    """One for each layer that runs on its own; equal layers share a table."""
    views = [view for node in model.nodes if (view := linear(node)) is not None]
    tables = dict[str, Table]()
    with ctx.progress.task("layer times", len(views)) as step:
        for view in views:
            layer = layer_of(model, view, shapes)
            if layer is not None and ctx.clock is not None:
                table = tables.setdefault(layer.signature(), Table(layer, ctx.clock, ctx.cache))
                if _runs(table, view.node.name):
                    yield Lookup(view.node.name, (view.made, view.read), table)
            step()


def _runs(table: Table, name: str) -> bool:
    try:
        table.at(*table.layer.sizes)
    except (ModelError, ValueError) as error:
        log.info("no table of times for '%s': %s", name, error)
        return False
    return True


def _rest(model: Model, shapes: Shapes, layers: Collection[str], milliseconds: float) -> CostModel:
    """What other operators take, in proportion to the bytes that they write."""
    written = [t for n in model.nodes if n.name not in layers for t in n.outputs if t is not None]
    total = sum(tensor_bytes(t, shapes) for t in written)
    if not total:
        return CostModel((Term("the rest", milliseconds),), {})
    terms = (bytes_term(t, shapes) for t in written)
    sizes = {axis: size for t in written for axis, size in fixed_sizes(t).items()}
    return CostModel(tuple(replace(t, coefficient=t.coefficient * milliseconds / total) for t in terms), sizes)
