"""Healing a cut network without labels or training: layer by layer, least squares from what is left.

Each Conv, Gemm or MatMul behind a cut gets the weights W (``ridge``) with which W·x comes nearest to what it made, with
x from the compressed network, healed up to here, and y from the original (asymmetric reconstruction: He et al. 2017).
λ, and whether the layer changes at all, is decided by the error on the check part of the calibration data of weights
that were fitted to the fit part; the weights that stay are fitted to both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxprune.aims import Aim, waves
from onnxprune.axes.linear import Linear, bias_of, linear, own_bias, put_bias, reads
from onnxprune.calibrate import Calibration
from onnxprune.errors import PassError
from onnxprune.evaluate import compare_each
from onnxprune.finite import first_not_finite
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.moments import Sums, Target, kept_rows, moments, wide
from onnxprune.node import Array, Axis
from onnxprune.passes import Analysis, Context, Repair
from onnxprune.ridge import Healed, refitted
from onnxprune.stepwise import Stepwise

__all__ = ["Healing", "Wave", "heal", "obstacle", "refit", "store", "unbiased"]

FIGURES = ("before", "after", "ridge", "steps", "rows", "unknowns")


class Runs:
    """A network and its original, run over both parts of the data as far as the waves have come."""

    def __init__(self, data: Calibration) -> None:
        """Begin with the graph inputs."""
        self._parts = [(part, Stepwise(part), Stepwise(part)) for part in dict.fromkeys(data.split())]

    def moments(
        self, model: Model, original: Model, aims: Sequence[Aim], later: Sequence[Aim], seed: int
    ) -> list[tuple[Sums, Sums]]:
        """The sums for each aim, over the fit part and over the check part; ``later`` are the aims still to come."""
        targets, rest = _targets(model, aims), _targets(model, later)
        found = []
        for number, (part, ours, theirs) in enumerate(self._parts):
            xs = ours.batches(model, _given(targets), _given(rest))
            ys = theirs.batches(original, [t.tensor for t in targets], [t.tensor for t in rest])
            found.append(moments(model, targets, xs, ys, part.count, seed + number))
        return [(parts[0], parts[-1]) for parts in zip(*found, strict=True)]  # a lone part is both


def _targets(model: Model, aims: Iterable[Aim]) -> list[Target]:
    found = ((aim, linear(model.node(aim.node))) for aim in aims)
    return [Target(view, *aim[1:]) for aim, view in found if view is not None]


def _given(targets: Iterable[Target]) -> list[str]:
    return list(dict.fromkeys(name for t in targets for name in (t.view.x.name, t.other) if name is not None))


@dataclass(frozen=True)
class Wave(Analysis[Mapping[str, Healed]]):
    """What least squares makes of nodes that share runs, in the network that the waves before made; kept on disk.

    If they are to be ``matched``, outputs also get the means and variances that they had in the original.
    ``runs`` have come as far as those waves, and go on for the nodes ``later``.
    """

    aims: tuple[Aim, ...]
    matched: bool = False
    later: tuple[Aim, ...] = field(default=(), compare=False, repr=False)
    runs: Runs | None = field(default=None, compare=False, repr=False)
    uses = ("original", "calibration", "seed")
    revision = 3

    def compute(self, model: Model, ctx: Context) -> Mapping[str, Healed]:
        """Fit on one part of the data, choose on the other."""
        if ctx.calibration is None:
            raise PassError("healing needs calibration data: give --calib, or heal=none")
        runs = self.runs or Runs(ctx.calibration)
        sums = runs.moments(model, ctx.original, self.aims, self.later, ctx.seed)
        views = (target.view for target in _targets(model, self.aims))
        found = (
            (view, refitted(view, fit, check, self.matched)) for view, (fit, check) in zip(views, sums, strict=True)
        )
        return {view.node.name: layer for view, layer in found}

    def pack(self, result: Mapping[str, Healed]) -> dict[str, Array]:
        """As named arrays: errors in the order of the names, weights and biases by number."""
        packed = {"names": np.array(json.dumps(list(result)))}
        figures = [[getattr(layer, name) for name in FIGURES] for layer in result.values()]
        packed["figures"] = np.array(figures, np.float64).reshape(-1, len(FIGURES))
        for kind in ("weight", "bias"):
            values = enumerate(getattr(layer, kind) for layer in result.values())
            packed |= {f"{kind}{number}": value for number, value in values if value is not None}
        return packed

    def unpack(self, arrays: Mapping[str, Array]) -> Mapping[str, Healed]:
        """From named arrays."""
        rows = enumerate(zip(json.loads(str(arrays["names"])), arrays["figures"].tolist(), strict=True))
        return {
            name: Healed(before, after, arrays.get(f"weight{n}"), arrays.get(f"bias{n}"), ridge, *map(int, counts))
            for n, (name, (before, after, ridge, *counts)) in rows
        }


@dataclass(frozen=True)
class Healing:
    """What was done: a note in one line, and the layers that have other weights now."""

    note: str
    repairs: tuple[Repair, ...] = ()


def heal(model: Model, ctx: Context, cut: Iterable[Axis], *, full: bool = False) -> Healing:
    """Refit every operator behind one of the axes ``cut``.

    What cannot be refitted is skipped with the reason. Nothing is changed where the healed network's outputs are no
    nearer to the original's on the check part. Without calibration data there is nothing to heal with. In ``full``,
    the means and variances of what layers make are those of the original too, if that lowers the network's loss.
    """
    nodes = _healable(model, ctx.original, set(cut))
    if not nodes or ctx.calibration is None:
        return Healing("nothing to heal")
    found, (fit, check) = refit(model, nodes, ctx), ctx.calibration.split()
    if unsound := [name for name, layer in found.items() if math.isnan(layer.before)]:
        why = f"not healed: what it reads or makes is not finite on the calibration data{_blamed(model, ctx)}"
        for name in unsound:
            model.skip(name, why)
    healed, remark = _with(model, found), _wanting(found, ctx.calibration.count)
    remark += ", chosen on the very samples they were fitted to" if fit.fingerprint() == check.fingerprint() else ""
    if full:
        other = refit(model, nodes, ctx, matched=True)
        one, two = losses(ctx.original, [healed, _with(model, other)], check)
        verdict = "kept" if two < one else "refused"
        remark += f"; means and variances of the original {verdict}: loss {one:.3g} → {two:.3g}"
        found, healed = (other, _with(model, other)) if two < one else (found, healed)
    before, after = _qualities(ctx.original, (model, healed), check)
    if math.isinf(before):
        return Healing("nothing to heal: the outputs are the same")
    if not after > before:
        return Healing(f"healing refused: outputs {before:.1f} → {after:.1f} dB")
    store(model, found)
    changed = {name: layer for name, layer in found.items() if layer.weight is not None}
    repairs = tuple(Repair(name, layer.how, layer.before, layer.after) for name, layer in changed.items())
    note = (
        f"healed {len(changed)} of {len(nodes)} layers{_sampled(model, nodes)}, outputs {before:.1f} → {after:.1f} dB"
    )
    return Healing(note + remark, repairs)


def _sampled(model: Model, nodes: Iterable[str]) -> str:
    """What to say of layers that are too wide for sums."""
    count = sum(wide(view) for view in map(linear, map(model.node, nodes)) if view is not None)
    return f" ({count} of them wide, from a sample of what they read)" if count else ""


def _with(model: Model, found: Mapping[str, Healed]) -> Model:
    result = model.copy()
    store(result, found)
    return result


def _wanting(found: Mapping[str, Healed], samples: int) -> str:
    """What to say of layers that have more unknowns than there are rows to fit them to."""
    of_use = {name: kept_rows(layer.unknowns) for name, layer in found.items()}
    short = {name: layer for name, layer in found.items() if 0 < layer.rows < of_use[name]}
    if not short:
        return ""
    wanted = max(math.ceil(samples * of_use[name] / layer.rows) for name, layer in short.items())
    return f"; {len(short)} layers have more unknowns than rows: give about {wanted:,} samples instead of {samples:,}"


def _blamed(model: Model, ctx: Context) -> str:
    """Who made the first value that is not finite."""
    place = None if ctx.calibration is None else first_not_finite(model, ctx.calibration)
    return "" if place is None else f": '{place[0].name}' ({place[0].kind}) makes the first such value, in '{place[1]}'"


def refit(model: Model, nodes: Collection[str], ctx: Context, *, matched: bool = False) -> Mapping[str, Healed]:
    """What least squares makes of the nodes; a run that was killed goes on with the wave that it was at."""
    work, found = model.copy(), dict[str, Healed]()
    with ctx.progress.task("healing", len(nodes)) as step:
        parts = waves(model, ctx.original, nodes)
        runs = None if ctx.calibration is None else Runs(ctx.calibration)
        for number, wave in enumerate(parts):
            later = tuple(aim for after in parts[number + 1 :] for aim in after)
            found |= (healed := work.get(Wave(tuple(wave), matched, later, runs), ctx))
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
    if original.tensor(view.y.name).shape is None:
        return f"the original has no tensor '{view.y.name}' of known rank"
    if view.bias is not None and bias_of(view) is None:
        return f"its bias '{view.bias.name}' is no constant of one value per channel"
    return None


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
