"""Healing a cut network without labels or training: layer by layer, least squares from what is left.

Each Conv, Gemm or MatMul that reads a cut axis gets the weights W (bias included, x extended by 1) that minimise

    Σ ‖y − W·x‖² + λ·‖W − W₀‖²,        W = W₀ + (G − W₀·H)·(H + λ·I)⁻¹,   H = Σ x·xᵀ,  G = Σ y·xᵀ

with x from the compressed network, healed up to here, and y from the original (asymmetric reconstruction: He et al.
2017). H and G are summed up in float64 over the fit part of the calibration data; λ, and whether the layer changes at
all, is decided by the error on the check part.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from onnxprune.axes.linear import Linear, bias_of, linear, own_bias, put_bias, reads
from onnxprune.calibrate import Calibration
from onnxprune.errors import PassError
from onnxprune.evaluate import compare_each
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Analysis, Context
from onnxprune.patches import Rows, rows_of
from onnxprune.taps import tapped

__all__ = ["Healed", "Wave", "heal", "refit", "unbiased"]

log = logging.getLogger(__name__)

RIDGES = (1e-6, 1e-4, 1e-2, 1.0)  # λ as a share of the mean diagonal of H
POSITIONS = 64  # rows per sample of a convolution, or more to have ROWS_PER_COLUMN in all
ROWS_PER_COLUMN = 10
WIDEST = 6000  # columns: H and its factor then take half a gigabyte
BATCH = 32


@dataclass(frozen=True, eq=False)
class Healed:
    """One layer: its relative error on the check part before and after, and new weights where they are better."""

    before: float
    after: float
    weight: Array | None = field(default=None, repr=False)
    bias: Array | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Wave(Analysis[Mapping[str, Healed]]):
    """What least squares makes of nodes that share runs, in the network that the waves before made; kept on disk."""

    nodes: tuple[str, ...]
    uses = ("original", "calibration", "seed")

    def compute(self, model: Model, ctx: Context) -> Mapping[str, Healed]:
        """Fit on one part of the data, choose on the other."""
        if ctx.calibration is None:
            raise PassError("healing needs calibration data: give --calib, or heal=none")
        fit, check = ctx.calibration.split()
        views = [view for name in self.nodes if (view := linear(model.node(name))) is not None]
        fitted = _moments(model, ctx.original, views, fit, ctx.seed)
        checked = _moments(model, ctx.original, views, check, ctx.seed + 1)
        return {v.node.name: _refitted(v, fitted[v.node.name], checked[v.node.name]) for v in views}

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
    """Refit every operator that reads one of the axes ``cut``; the note that goes into the report.

    What cannot be refitted is skipped with the reason. Nothing is changed where the healed network's outputs are no
    nearer to the original's on the check part. Without calibration data there is nothing to heal with.
    """
    nodes = _consumers(model, ctx.original, set(cut))
    if not nodes or ctx.calibration is None:
        return "nothing to heal"
    found = refit(model, nodes, ctx)
    for name in (name for name, layer in found.items() if math.isnan(layer.before)):
        model.skip(name, "not healed: what it reads or makes is not finite on the calibration data")
    healed, (fit, check) = model.copy(), ctx.calibration.split()
    _store(healed, found)
    before, after = _qualities(ctx.original, (model, healed), check)
    held_out = "" if fit.fingerprint() != check.fingerprint() else " on the very samples it was fitted to"
    if math.isinf(before):
        return "nothing to heal: the outputs are the same"
    if not after > before:
        return f"healing refused: outputs {before:.1f} → {after:.1f} dB{held_out}"
    _store(model, found)
    count = sum(layer.weight is not None for layer in found.values())
    return f"healed {count} of {len(nodes)} layers, outputs {before:.1f} → {after:.1f} dB{held_out}"


def refit(model: Model, nodes: Collection[str], ctx: Context) -> Mapping[str, Healed]:
    """What least squares makes of the nodes; a run that was killed goes on with the wave that it was at."""
    work, found = model.copy(), dict[str, Healed]()
    with ctx.progress.task("healing", len(nodes)) as step:
        for wave in _waves(model, nodes):
            found |= (healed := work.get(Wave(tuple(wave)), ctx))
            _store(work, healed)
            step(len(wave))
    return found


def unbiased(model: Model, cut: Collection[Hashable]) -> list[Linear]:
    """The layers that a cut of these axes lets ``heal`` give a bias vector that they do not have."""
    views = [view for node in model.nodes if (view := linear(node)) is not None and view.read in cut]
    return [view for view in views if view.plain and view.node.op != "MatMul" and own_bias(model, view) is None]


def _qualities(original: Model, results: Sequence[Model], data: Calibration) -> list[float]:
    """Signal to noise of the worst output in dB; infinite for equal outputs."""
    ratios = [each.sqnr_db for each in compare_each(original, results, data)]
    return [math.inf if ratio is None else ratio for ratio in ratios]


def _consumers(model: Model, original: Model, cut: set[Axis]) -> tuple[str, ...]:
    """The linear nodes to refit, in the order of the graph; the others that read a cut axis are skipped."""
    found = []
    for view in (linear(node) for node in model.nodes):
        if view is None or view.read not in cut:
            continue
        if why := _obstacle(model, original, view):
            model.skip(view.node.name, f"not healed: {why}")
        else:
            found.append(view.node.name)
    return tuple(found)


def _obstacle(model: Model, original: Model, view: Linear) -> str | None:
    width = view.weight.elements() // (view.weight.size(view.rows) or 1)
    if not view.plain:
        return f"its weight '{view.weight.name}' is no constant that is multiplied from the right"
    if len(reads(model, view.weight.name)) > 1:
        return f"weight '{view.weight.name}' is shared"
    if view.node.op == "MatMul" and view.weight.rank != 2:
        return "its weight is batched"
    if width >= WIDEST:
        return f"{width} columns make a normal matrix of {width**2 * 8 / 2**30:.1f} GiB"
    if original.tensor(view.y.name).shape is None:
        return f"the original has no tensor '{view.y.name}' of known rank"
    if view.bias is not None and bias_of(view) is None:
        return f"its bias '{view.bias.name}' is no constant of one value per channel"
    return None


def _waves(model: Model, nodes: Iterable[str]) -> list[list[str]]:
    """The nodes by the number of them that lie before each."""
    level: dict[str, int] = {}
    waves: dict[int, list[str]] = {}
    wanted = set(nodes)
    for node in model.nodes:
        depth = max((level.get(t.name, 0) for t in (*node.inputs, *node.captures) if t is not None), default=0)
        if node.name in wanted:
            waves.setdefault(depth, []).append(node.name)
            depth += 1
        level.update((t.name, depth) for t in node.outputs if t is not None)
    return [waves[depth] for depth in sorted(waves)]


@dataclass(eq=False)
class _Moments:
    """Sums over rows (x, 1) and y, per group: Σ x·xᵀ, Σ y·xᵀ and Σ ‖y‖²."""

    h: Array | float = 0.0  # [groups, columns + 1, columns + 1]
    g: Array | float = 0.0  # [groups, outputs, columns + 1]
    energy: float = 0.0

    def add(self, rows: Rows) -> None:
        x = np.concatenate([rows.x, np.ones((*rows.x.shape[:2], 1))], axis=2)
        with np.errstate(all="ignore"):  # what is not finite shows in the sums
            self.h = self.h + x.swapaxes(1, 2) @ x
            self.g = self.g + rows.y.swapaxes(1, 2) @ x
            self.energy += float(np.sum(rows.y**2))

    @property
    def finite(self) -> bool:
        """Whether all rows were."""
        return bool(np.isfinite(self.h).all() and np.isfinite(self.g).all() and math.isfinite(self.energy))

    def error(self, weights: Array) -> float:
        """Σ ‖y − W·x‖² as a share of Σ ‖y‖²."""
        loss = np.sum((weights @ self.h) * weights) - 2 * np.sum(weights * self.g) + self.energy
        return max(float(loss), 0.0) / (self.energy or 1.0)


def _moments(model: Model, original: Model, views: list[Linear], part: Calibration, seed: int) -> dict[str, _Moments]:
    """Stream the data through both networks; x from the model, y from the same tensor of the original.

    Every node draws its own rows, so that they do not depend on how many samples come at once.
    """
    sums = {view.node.name: _Moments() for view in views}
    draws = {view.node.name: np.random.default_rng(seed) for view in views}
    given, wanted = (tapped(model, [v.x.name for v in views]), tapped(original, [v.y.name for v in views]))
    for feeds in part.batches(BATCH):
        xs = dict(zip(given.outputs, given(feeds), strict=True))
        ys = dict(zip(wanted.outputs, wanted(feeds), strict=True))
        for view in views:
            target = np.take(ys[view.y.name], _kept(model, view), view.y_channel)
            rows = rows_of(view, xs[view.x.name], target, _limit(view, part.count), draws[view.node.name])
            sums[view.node.name].add(rows)
    return sums


def _kept(model: Model, view: Linear) -> Array:
    """The original's channels that are left of an output."""
    axis = view.y.axes()[view.y_channel]
    slots = model.provenance.slots(axis, view.y.size(axis.dim) or 0)
    if slots is None:
        raise PassError(f"'{axis}' does not stem from the original's tensor of that name")
    return slots


def _limit(view: Linear, samples: int) -> int:
    columns = view.weight.elements() // (view.weight.size(view.rows) or 1)
    return max(POSITIONS, -(-ROWS_PER_COLUMN * columns // samples))


def _refitted(view: Linear, fit: _Moments, check: _Moments) -> Healed:
    """The best on the check part of the present weights and those of every ridge."""
    start = _matrix(view)
    if not (fit.finite and check.finite):
        return Healed(math.nan, math.nan)
    offers = [start, *(_ridge(start, fit, share, view.node.op != "MatMul") for share in RIDGES)]
    errors = [check.error(weights) for weights in offers]
    best = int(np.argmin(errors))
    weight, bias = _tensors(view, offers[best])
    log.info("%s: relative error %.4f → %.4f", view.node.name, errors[0], errors[best])
    if not best or not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return Healed(errors[0], errors[0])
    return Healed(errors[0], errors[best], weight, None if view.node.op == "MatMul" else bias)


def _ridge(start: Array, fit: _Moments, share: float, biased: bool) -> Array:
    """W₀ + (G − W₀·H)·(H + λ·I)⁻¹ for every group; an operator without bias keeps its last column 0."""
    size = start.shape[2] if biased else start.shape[2] - 1
    h, g = np.asarray(fit.h)[:, :size, :size], np.asarray(fit.g)[:, :, :size]
    result = start.copy()
    for group, (first, normal, target) in enumerate(zip(start[:, :, :size], h, g, strict=True)):
        ridge = share * float(np.trace(normal)) / size or 1.0
        result[group, :, :size] += _solved(normal, (target - first @ normal).T, ridge).T
    return result


def _solved(normal: Array, right: Array, ridge: float) -> Array:
    """(H + λ·I)⁻¹·R, with λ ten times larger until the matrix is positive definite; 0 where it never is."""
    for scale in 10.0 ** np.arange(12):
        matrix = normal + scale * ridge * np.eye(len(normal))
        with suppress(np.linalg.LinAlgError):
            np.linalg.cholesky(matrix)
            return np.linalg.solve(matrix, right)
    return np.zeros_like(right)


def _matrix(view: Linear) -> Array:
    """The weights as [groups, outputs, columns + 1] in float64, the bias as the last column."""
    weight, bias = np.moveaxis(view.weight.value().astype(np.float64), view.rows, 0), bias_of(view)
    if bias is None:
        raise PassError(f"the bias of '{view.node.name}' is no constant of one value per channel")
    flat = np.column_stack([view.node.attrs.get("alpha", 1.0) * weight.reshape(len(weight), -1), bias])
    return flat.reshape(view.groups, len(weight) // view.groups, -1)


def _tensors(view: Linear, matrix: Array) -> tuple[Array, Array]:
    """The inverse of ``_matrix``, in the weight's shape and dtype; the bias for beta = 1."""
    held = view.weight.value()
    flat = matrix.reshape(-1, matrix.shape[2])
    rows_first = np.moveaxis(held, view.rows, 0).shape
    weight = np.moveaxis(flat[:, :-1].reshape(rows_first), 0, view.rows) / view.node.attrs.get("alpha", 1.0)
    return weight.astype(held.dtype), flat[:, -1].astype(held.dtype)


def _store(model: Model, found: Mapping[str, Healed]) -> None:
    views = [view for name in found if (view := linear(model.node(name))) is not None]
    names = [own_bias(model, view) for view in views]
    for view, name in zip(views, names, strict=True):
        layer = found[view.node.name]
        if layer.weight is not None:
            model.put(view.weight.name, layer.weight)
        if layer.bias is not None:
            model.set_input(view.node, 2, put_bias(model, view, name, layer.bias))
            model.set_attribute(view.node, "beta", None)
