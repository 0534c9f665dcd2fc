"""Pruning a network for the tests of ``prune``: options as text, always under ``verify_each``."""

from __future__ import annotations

from typing import Any

import numpy as np
from contexts import context
from oracle import distance, net

from onnxprune.analyses.cost import Stats, Totals
from onnxprune.axes.linear import Linear, linear
from onnxprune.calibrate import Calibration
from onnxprune.evaluate import compare
from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from onnxprune.node import Axis
from onnxprune.options import build
from onnxprune.passes import Context
from passes.prune import PruneChannels


def pruning(**options: Any) -> PruneChannels:
    """The pass that a command line or recipe with these options gives; not healing by default."""
    return build(PruneChannels, {"heal": "none"} | {key: value for key, value in options.items() if value is not None})


def prune(model: Model, ctx: Context | None = None, **options: Any) -> tuple[Model, PassRecord]:
    """A pruned copy and the record of the pass; ``model`` is the original unless the context says otherwise."""
    after, ctx = model.copy(), ctx or context(model)
    (record,) = PassManager((pruning(**options),)).run(after, ctx, verify_each=True)
    return after, record


def quarter(model: Model, ctx: Context, **options: Any) -> tuple[Model, PassRecord]:
    """The same with the weakest quarter of the channels gone, and healed unless the options say otherwise."""
    return prune(model, ctx, **{"ratio": "25%", "align": 1, "min": 1, "importance": "l2", "heal": "auto", **options})


def unseen(after: Model, before: Model) -> float:
    """max|Δ| / max|y| on inputs that no calibration data holds."""
    return distance(after, before, seed=99)


def stats(model: Model, ctx: Context) -> Totals:
    """What the model costs."""
    return model.get(Stats(), ctx)


def sqnr(after: Model, ctx: Context) -> float:
    """The signal-to-noise ratio in dB on the check part of the calibration data."""
    assert ctx.calibration is not None
    found = compare(ctx.original, after, ctx.calibration.split()[1]).sqnr_db
    return float("inf") if found is None else found


def channels(model: Model) -> dict[str, int]:
    """How many channels each Conv, Gemm and MatMul makes, by the name of its weight."""
    return {view.weight.name: view.weight.size(view.rows) or 0 for view in views(model)}


def views(model: Model) -> list[Linear]:
    """The model's Conv, Gemm and MatMul of constant weights."""
    return [view for node in model.nodes if (view := linear(node)) is not None]


def left(model: Model, weight: str) -> list[int]:
    """The slots of the file's rows that are left of a weight."""
    slots = model.provenance.slots(Axis(weight, 0), model.tensor(weight).size(0) or 0)
    assert slots is not None
    return slots.tolist()


def samples(model: Model, count: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal samples of every input, ``count`` of them; where an input has no axis for samples, of whole graph runs."""
    rng, axis = np.random.default_rng(seed), 0 if any((t.rank or 0) < 2 for t in model.inputs) else 1
    shapes = {t.name: [d if isinstance(d, int) else 3 for d in (t.shape or ())[axis:]] for t in model.inputs}
    return {t.name: rng.normal(size=(count, *shapes[t.name])).astype(t.dtype) for t in model.inputs}


def calibrated(model: Model, data: dict[str, np.ndarray] | None = None, **parts: Any) -> Context:
    """A context with calibration data."""
    return context(model, calibration=Calibration.load(data if data is not None else samples(model), model), **parts)


WIDE = """(float[N,3,8,8] x) => (float[N,10] y)
    <float[24,3,3,3] w, float[24] b, float[32,24,3,3] v, float[32] c, float[48,32,1,1] u, float[48] d, float[768,10] m>
    { a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  e = Conv<pads=[1,1,1,1]>(r, v, c)  s = Relu(e)
      f = Conv(s, u, d)  t = Relu(f)  g = Flatten(t)  y = MatMul(g, m) }"""


def wide() -> Model:
    """Three convolutions of 24, 32 and 48 channels, and a MatMul that reads pixels."""
    return net(WIDE)


IMAGE = """(float[N,3,9,8] x) => (float[N,6,A,B] y) <float[8,3,3,3] w, float[8] b, {}>
    {{ a = Conv(x, w, b)  r = Relu(a)  {} }}"""


def redundant(text: str, rows: int = 0) -> Model:
    """Channels 1 and 5 of 'w' and 'b' are a tenth of 0 and of 4, and the layers that read them make much of them."""
    model = net(text)
    for name, dim in (("w", rows), ("b", 0)):
        if name in {t.name for t in model.constants}:
            value = np.moveaxis(np.array(model.tensor(name).value()), dim, 0)
            value[1], value[5] = 0.1 * value[0], 0.1 * value[4]
            model.put(name, np.moveaxis(value, 0, dim))
    for view in views(model)[1:]:
        if view.weight.size(view.columns) in (8, 4):
            value = np.moveaxis(np.array(view.weight.value()), view.columns, 0)
            for column in {1, 5 % len(value)}:
                value[column] *= 20
            model.put(view.weight.name, np.moveaxis(value, 0, view.columns))
    return model
