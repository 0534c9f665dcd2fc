"""Healing a cut network without labels or training: layer by layer, least squares from what is left.

Each Conv, Gemm or MatMul behind a cut gets the weights W (``ridge``) with which W·x comes nearest to what it made, with
x from the compressed network, healed up to here, and y from the original (asymmetric reconstruction: He et al. 2017).
The sums are taken over the fit part of the calibration data; λ, and whether the layer changes at all, is decided by
the error on the check part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from onnxprune.axes.linear import Linear, bias_of, linear, own_bias, put_bias, reads
from onnxprune.calibrate import Calibration
from onnxprune.errors import PassError
from onnxprune.evaluate import compare_each
from onnxprune.model import Model
from onnxprune.moments import Moments, Target, moments, width
from onnxprune.node import Array, Axis, Node
from onnxprune.passes import Analysis, Context
from onnxprune.ridge import Healed, refitted
from onnxprune.stepwise import Stepwise

__all__ = ["Aim", "Wave", "heal", "obstacle", "refit", "store", "unbiased"]

WIDEST = 6000  # columns: H and its factor then take half a gigabyte


class Aim(NamedTuple):
    """What a node is to make, by name: a tensor of the original, less what another of the network is by now."""

    node: str
    tensor: str
    other: str | None = None


class Runs:
    """A network and its original, run over both parts of the data as far as the waves have come."""

    def __init__(self, data: Calibration) -> None:
        """Begin with the graph inputs."""
        self._parts = [(part, Stepwise(part), Stepwise(part)) for part in data.split()]

    def moments(
        self, model: Model, original: Model, aims: Sequence[Aim], later: Sequence[Aim], seed: int
    ) -> list[list[Moments]]:
        """The sums for each aim, over the fit part and over the check part; ``later`` are the aims still to come."""
        targets, rest = _targets(model, aims), _targets(model, later)
        found = []
        for number, (part, ours, theirs) in enumerate(self._parts):
            xs = ours.batches(model, _given(targets), _given(rest))
            ys = theirs.batches(original, [t.tensor for t in targets], [t.tensor for t in rest])
            found.append(moments(model, targets, xs, ys, part.count, seed + number))
        return [list(pair) for pair in zip(*found, strict=True)]


def _targets(model: Model, aims: Iterable[Aim]) -> list[Target]:
    found = ((aim, linear(model.node(aim.node))) for aim in aims)
    return [Target(view, aim.tensor, aim.other) for aim, view in found if view is not None]


def _given(targets: Iterable[Target]) -> list[str]:
    return list(dict.fromkeys(name for t in targets for name in (t.view.x.name, t.other) if name is not None))


@dataclass(frozen=True)
class Wave(Analysis[Mapping[str, Healed]]):
    """What least squares makes of nodes that share runs, in the network that the waves before made; kept on disk.

    ``runs`` have come as far as those waves, and go on for the nodes ``later``.
    """

    aims: tuple[Aim, ...]
    later: tuple[Aim, ...] = field(default=(), compare=False, repr=False)
    runs: Runs | None = field(default=None, compare=False, repr=False)
    uses = ("original", "calibration", "seed")
    revision = 2

    def compute(self, model: Model, ctx: Context) -> Mapping[str, Healed]:
        """Fit on one part of the data, choose on the other."""
        if ctx.calibration is None:
            raise PassError("healing needs calibration data: give --calib, or heal=none")
        runs = self.runs or Runs(ctx.calibration)
        sums = runs.moments(model, ctx.original, self.aims, self.later, ctx.seed)
        views = (target.view for target in _targets(model, self.aims))
        return {view.node.name: refitted(view, *pair) for view, pair in zip(views, sums, strict=True)}

    def pack(self, result: Mapping[str, Healed]) -> dict[str, Array]:
        """As named arrays: errors in the order of the names, weights and biases by number."""
        packed = {"names": np.array(json.dumps(list(result)))}
        packed["errors"] = np.array([(layer.before, layer.after) for layer in result.values()]).reshape(-1, 2)
        for kind in ("weight", "bias"):
            values = enumerate(getattr(layer, kind) for layer in result.values())
            packed |= {f"{kind}{number}": value for number, value in values if value is not None}
        return packed

    def unpack(self, arrays: Mapping[str, Array]) -> Mapping[str, Healed]:
        """From named arrays."""
        rows = enumerate(zip(json.loads(str(arrays["names"])), arrays["errors"].tolist(), strict=True))
        return {
            name: Healed(before, after, arrays.get(f"weight{number}"), arrays.get(f"bias{number}"))
            for number, (name, (before, after)) in rows
        }


def heal(model: Model, ctx: Context, cut: Iterable[Axis]) -> str:
    """Refit every operator behind one of the axes ``cut``; the note that goes into the report.

    What cannot be refitted is skipped with the reason. Nothing is changed where the healed network's outputs are no
    nearer to the original's on the check part. Without calibration data there is nothing to heal with.
    """
    nodes = _healable(model, ctx.original, set(cut))
    if not nodes or ctx.calibration is None:
        return "nothing to heal"
    found = refit(model, nodes, ctx)
    for name in (name for name, layer in found.items() if math.isnan(layer.before)):
        model.skip(name, "not healed: what it reads or makes is not finite on the calibration data")
    healed, (fit, check) = model.copy(), ctx.calibration.split()
    store(healed, found)
    before, after = _qualities(ctx.original, (model, healed), check)
    held_out = "" if fit.fingerprint() != check.fingerprint() else " on the very samples it was fitted to"
    if math.isinf(before):
        return "nothing to heal: the outputs are the same"
    if not after > before:
        return f"healing refused: outputs {before:.1f} → {after:.1f} dB{held_out}"
    store(model, found)
    count = sum(layer.weight is not None for layer in found.values())
    return f"healed {count} of {len(nodes)} layers, outputs {before:.1f} → {after:.1f} dB{held_out}"


def refit(model: Model, nodes: Collection[str], ctx: Context) -> Mapping[str, Healed]:
    """What least squares makes of the nodes; a run that was killed goes on with the wave that it was at."""
    work, found = model.copy(), dict[str, Healed]()
    with ctx.progress.task("healing", len(nodes)) as step:
        waves = _waves(model, ctx.original, nodes)
        runs = None if ctx.calibration is None else Runs(ctx.calibration)
        for number, wave in enumerate(waves):
            later = tuple(aim for after in waves[number + 1 :] for aim in after)
            found |= (healed := work.get(Wave(tuple(wave), later, runs), ctx))
            store(work, healed)
            step(len(wave))
    return found


def unbiased(model: Model, cut: Collection[Hashable]) -> list[Linear]:
    """The layers that a cut of these axes lets ``heal`` give a bias vector that they do not have."""
    views = _behind(model, cut)
    return [view for view in views if view.plain and view.node.op != "MatMul" and own_bias(model, view) is None]


def _behind(model: Model, cut: Collection[Hashable]) -> Iterator[Linear]:
    """The linear nodes that read one of the axes, or what is computed from a tensor that has one."""
    reached = {axis.tensor for axis in cut if isinstance(axis, Axis)}
    for node in model.nodes:
        if any(t is not None and t.name in reached for t in (*node.inputs, *node.captures)):
            reached.update(t.name for t in node.outputs if t is not None)
        if (view := linear(node)) is not None and (view.x.name in reached or view.read in cut):
            yield view


def _qualities(original: Model, results: Sequence[Model], data: Calibration) -> list[float]:
    """Signal to noise of the worst output in dB; infinite for equal outputs."""
    ratios = [each.sqnr_db for each in compare_each(original, results, data)]
    return [math.inf if ratio is None else ratio for ratio in ratios]


def _healable(model: Model, original: Model, cut: set[Axis]) -> tuple[str, ...]:
    """The linear nodes to refit, in the order of the graph; the others that read a cut axis are skipped."""
    found = []
    for view in _behind(model, cut):
        if not (why := obstacle(model, original, view)):
            found.append(view.node.name)
        elif view.read in cut:
            model.skip(view.node.name, f"not healed: {why}")
    return tuple(found)


def obstacle(model: Model, original: Model, view: Linear) -> str | None:
    if not view.plain:
        return f"its weight '{view.weight.name}' is no constant that is multiplied from the right"
    if len(reads(model, view.weight.name)) > 1:
        return f"weight '{view.weight.name}' is shared"
    if view.node.op == "MatMul" and view.weight.rank != 2:
        return "its weight is batched"
    if (columns := width(view)) >= WIDEST:
        return f"{columns} columns make a normal matrix of {columns**2 * 8 / 2**30:.1f} GiB"
    if original.tensor(view.y.name).shape is None:
        return f"the original has no tensor '{view.y.name}' of known rank"
    if view.bias is not None and bias_of(view) is None:
        return f"its bias '{view.bias.name}' is no constant of one value per channel"
    return None


def _waves(model: Model, original: Model, nodes: Collection[str]) -> list[list[Aim]]:
    """The nodes by the number of them that lie before each, with what each is to make."""
    depths, behind = _depths(model, nodes)
    waves: dict[int, list[Aim]] = {}
    for node in (model.node(name) for name in nodes):
        waves.setdefault(depths[node.name], []).append(_aim(model, original, node, depths[node.name], behind))
    return [waves[depth] for depth in sorted(waves)]


def _depths(model: Model, nodes: Collection[str]) -> tuple[dict[str, int], dict[str, int]]:
    """How many of the nodes lie one behind the other before each of them, and before every tensor."""
    depths, behind, wanted = dict[str, int](), dict[str, int](), set(nodes)
    for node in model.nodes:
        depth = max((behind.get(t.name, 0) for t in (*node.inputs, *node.captures) if t is not None), default=0)
        if node.name in wanted:
            depths[node.name] = depth
            depth += 1
        behind.update((t.name, depth) for t in node.outputs if t is not None)
    return depths, behind


def _aim(model: Model, original: Model, node: Node, depth: int, behind: Mapping[str, int]) -> Aim:
    """The node's own output, or the sum that it is a summand of, once all is healed that makes the other summand."""
    y, readers = node.y(), model.consumers(node.y().name)
    if len(readers) != 1 or readers[0].op != "Add" or readers[0].domain or model.is_output(y.name):
        return Aim(node.name, y.name)
    total, others = readers[0].y(), [t for t in readers[0].inputs if t is not None and t.name != y.name]
    if len(others) != 1 or others[0].fixed or others[0].shape != y.shape or original.tensor(total.name).shape is None:
        return Aim(node.name, y.name)
    healed = behind.get(others[0].name, 0) <= depth
    return Aim(node.name, total.name, others[0].name) if healed else Aim(node.name, y.name)


def store(model: Model, found: Mapping[str, Healed]) -> None:
    views = [view for name in found if (view := linear(model.node(name))) is not None]
    names = [own_bias(model, view) for view in views]
    for view, name in zip(views, names, strict=True):
        layer = found[view.node.name]
        if layer.weight is not None:
            model.put(view.weight.name, layer.weight)
        if layer.bias is not None:
            model.set_input(view.node, 2, put_bias(model, view, name, layer.bias))
            model.set_attribute(view.node, "beta", None)
