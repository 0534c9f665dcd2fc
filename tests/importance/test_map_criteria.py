"""Criteria that watch feature maps say what numpy says of all maps at once, which are read here by a plain run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contexts import context
from oracle import net
from prunes import calibrated, samples

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.analyses.sensitivity import Sensitivity
from onnxprune.axes.linear import linear
from onnxprune.calibrate import Calibration
from onnxprune.importance import CRITERIA, Seen
from onnxprune.model import Model
from onnxprune.node import Array, Axis
from onnxprune.passes import Context
from onnxprune.readers import readers_of
from onnxprune.runtime import Session
from onnxprune.watching import Scene, look

HEAD = "(float[N,3,6,5] x) => ({} y) <float[8,3,3,3] w, float[8] b, {}> {{ a = Conv(x, w, b)  r = Relu(a)  {} }}"
DIRECT = HEAD.format("float[N,4,4,3]", "float[4,8,1,1] v", "y = Conv(r, v)")
FLAT = HEAD.format("float[N,4]", "float[96,4] v", "f = Flatten(r)  y = MatMul(f, v)")
POOLED = HEAD.format("float[N,4]", "float[8,4] v", "p = GlobalAveragePool(r)  f = Flatten(p)  y = MatMul(f, v)")
TOKENS = """(float[N,5,3] x) => (float[N,5,4] y) <float[3,8] w, float[8,4] v>
    { a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }"""
DENSE = """(float[N,3] x) => (float[N,4] y) <float[3,8] w, float[8] b, float[8,4] v>
    { a = Gemm(x, w, b)  r = Relu(a)  y = MatMul(r, v) }"""
NORMED = """(float[N,3,6,5] x) => (float[N,4,4,3] y)
    <float[8,3,3,3] w, float[8] scale, float[8] d, float[8] mean, float[8] var, float[4,8,1,1] v>
    { a = Conv(x, w)  n = BatchNormalization(a, scale, d, mean, var)  r = Relu(n)  y = Conv(r, v) }"""
TWO = """(float[N,3,6,5] x) => (float[N,4,4,3] y) <float[8,3,3,3] w, float[8,3,3,3] u, float[4,8,1,1] v>
    { a = Conv(x, w)  b = Conv(x, u)  s = Add(a, b)  r = Relu(s)  y = Conv(r, v) }"""


def values(model: Model, name: str, ctx: Context) -> Array:
    """A tensor on all of the fit part, as [samples, channels, places …]."""
    assert ctx.calibration is not None
    (x,) = (feeds["x"] for feeds in ctx.calibration.split()[0].batches(1000))
    shown = model.proto()
    del shown.graph.output[:]
    shown.graph.output.add().name = name
    (found,) = Session(shown, optimise=False)({"x": x})
    return np.moveaxis(found, -1, 1) if found.ndim == 3 else found


def order(model: Model, ctx: Context, name: str) -> list[int]:
    (ranking,) = Sensitivity(name).compute(model, ctx).values()
    return ranking.order.tolist()


def ranks(maps: Array) -> Array:
    """The mean rank of each channel, map by map."""
    planes = maps if maps.ndim > 3 else maps.reshape(*maps.shape[:2], 1, -1)
    return np.array([np.mean([np.linalg.matrix_rank(plane) for plane in planes[:, c]]) for c in range(maps.shape[1])])


def wins(maps: Array) -> Array:
    """Place by place, who is the largest; of equals each has its part."""
    won = np.zeros(maps.shape[1])
    for place in np.moveaxis(maps, 1, -1).reshape(-1, maps.shape[1]):
        best = np.flatnonzero(place == place.max())
        won[best] += 1 / len(best)
    return won


def energy(maps: Array) -> Array:
    return np.sum(maps.astype(float) ** 2, axis=(0, *range(2, maps.ndim)))


DEFINED = {"hrank": ranks, "maxout": wins}


@pytest.mark.parametrize("name", DEFINED)
@pytest.mark.parametrize(
    "text", [DIRECT, FLAT, POOLED, TOKENS, DENSE], ids=["maps", "flat", "pooled", "tokens", "dense"]
)
def test_the_order_is_that_of_the_definition(text: str, name: str) -> None:
    """Flattened and pooled maps are seen as they were before."""
    model = net(text)
    ctx = calibrated(model, samples(model, 100))
    maps = values(model, "r", ctx)
    expected = sorted(range(8), key=lambda c: (DEFINED[name](maps)[c].round(9), energy(maps)[c]))
    assert order(model, ctx, name) == expected
    assert expected != list(range(8))


@pytest.mark.parametrize("name", DEFINED)
def test_what_is_seen_is_the_sum_over_all_samples_however_many(name: str) -> None:
    model = net(DIRECT)
    ctx = calibrated(model, samples(model, 100))
    (seen,) = observed(model, ctx, name)
    maps = values(model, "r", ctx)
    scale = len(maps) if name == "hrank" else 1
    np.testing.assert_allclose(seen.sums, [scale * DEFINED[name](maps), energy(maps)], rtol=1e-6)
    (few,) = observed(model, calibrated(model, samples(model, 20)), name)
    assert few.sums.shape == seen.sums.shape
    assert (few.sums.sum(axis=1) < seen.sums.sum(axis=1)).all()


def observed(model: Model, ctx: Context, name: str, data: bool = True) -> list[Seen]:
    """What a criterion sees of the group of 'w'."""
    group = next(each for each in model.get(ChannelGroups(), ctx) if Axis("w", 0) in each.atoms)
    makers = [v for n in model.nodes if (v := linear(n)) is not None and v.made in group.atoms]
    watch = CRITERIA[name].watches
    assert watch is not None
    fit = ctx.calibration.split()[0] if ctx.calibration is not None and data else None
    (seen,) = look(model, watch, [Scene(group, makers, readers_of(model, model, group))], fit)
    return seen


@pytest.mark.parametrize("name", DEFINED)
def test_of_equals_the_one_of_less_energy_goes_first(name: str) -> None:
    """Channels 2 and 5 are the same but for their scale, and so of one rank; both are far below all others."""
    model = net(DIRECT)
    w, b = np.array(model.tensor("w").value()), np.array(model.tensor("b").value())
    w[5], b[5] = w[2], b[2]
    for scale in (0.5, 2.0):
        w[5], b[5] = 0.01 * scale * w[2], 0.01 * scale * b[2] - 1e-4
        model.put("w", w)
        model.put("b", b)
        found = order(model, calibrated(model), name)
        maps = values(model, "r", calibrated(model))
        expected = sorted(range(8), key=lambda c: (DEFINED[name](maps)[c].round(9), energy(maps)[c]))
        assert found == expected


# -- bn --------------------------------------------------------------------------------------------------------------


def test_gamma_is_read_off_the_network_where_it_stands() -> None:
    model = net(NORMED)
    gamma = np.array([3, -1, 0.5, 2, -4, 0.1, 1.5, -0.2], np.float32)
    model.put("scale", gamma)
    expected = np.argsort(np.abs(gamma)).tolist()
    assert order(model, context(model), "bn") == order(model, calibrated(model), "bn") == expected
    assert order(model, context(model), "l2") != expected


def test_where_it_was_folded_away_the_spread_of_what_the_layer_makes_stands_for_it() -> None:
    model = net(DIRECT)
    ctx = calibrated(model, samples(model, 100))
    deviation = values(model, "a", ctx).astype(float).std(axis=(0, 2, 3))
    assert order(model, ctx, "bn") == np.argsort(deviation).tolist()
    assert order(model, ctx, "bn") != order(model, ctx, "l2")


def test_folding_does_not_change_the_order_where_the_statistics_are_those_of_the_data() -> None:
    from passes.fold import Fold

    model = net(NORMED)
    ctx = calibrated(model, samples(model, 100))
    made = values(model, "a", ctx).astype(float)
    model.put("mean", made.mean(axis=(0, 2, 3)).astype(np.float32))
    model.put("var", made.var(axis=(0, 2, 3)).astype(np.float32))
    folded = model.copy()
    Fold().run(folded, ctx)
    assert "BatchNormalization" not in {node.op for node in folded.nodes}
    assert order(folded, ctx, "bn") == order(model, ctx, "bn")
    model.put("var", np.linspace(1, 50, 8).astype(np.float32) * model.tensor("var").value())
    assert order(model, ctx, "bn") == np.argsort(np.abs(model.tensor("scale").value())).tolist()


def test_layers_that_make_the_same_channels_add_up() -> None:
    model = net(TWO)
    model.put("u", 100 * model.tensor("u").value())
    ctx = calibrated(model)
    deviations = [values(model, name, ctx).astype(float).std(axis=(0, 2, 3)) for name in "ab"]
    expected = np.sum([each / each.sum() for each in deviations], axis=0)
    assert order(model, ctx, "bn") == np.argsort(expected).tolist()
    assert order(model, ctx, "bn") != np.argsort(deviations[1]).tolist()


def test_a_normalisation_that_others_read_beside_does_not_count() -> None:
    model = net(NORMED.replace("=> (float[N,4,4,3] y)", "=> (float[N,4,4,3] y, float[N,4,4,3] z)")
                .replace("y = Conv(r, v)", "y = Conv(r, v)  z = Conv(a, v)"))  # fmt: skip
    assert observed(model, context(model), "bn") == []
    (seen,) = observed(net(NORMED), context(net(NORMED)), "bn")
    np.testing.assert_allclose(seen.sums[2], net(NORMED).tensor("scale").value().astype(float) ** 2)


# -- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bn", "hrank", "maxout"])
def test_what_is_not_finite_is_not_seen(name: str) -> None:
    model = net(DIRECT)
    ctx = calibrated(model)
    assert observed(model, ctx, name)
    value = np.array(model.tensor("w").value())
    value[0] = np.nan
    model.put("w", value)
    assert not observed(model, ctx, name)


@pytest.mark.parametrize("shape", [{"x": (20, 1, 3, 6, 5)}, {"x": (20, 3, 6, 5)}], ids=["whole runs", "samples"])
def test_a_batch_of_one_is_seen_as_any_other(shape: dict[str, Any]) -> None:
    free, fixed = net(DIRECT), net(DIRECT.replace("N,", "1,"))
    data = np.random.default_rng(0).normal(size=shape["x"]).astype(np.float32)
    found = []
    for model, x in ((free, data.reshape(20, 3, 6, 5)), (fixed, data)):
        ctx = context(model, calibration=Calibration.load({"x": x}, model))
        found.append(observed(model, ctx, "hrank")[0].sums)
    np.testing.assert_allclose(*found, rtol=1e-6)
