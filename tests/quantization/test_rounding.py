"""How weights are rounded: what an error costs in what a layer makes, and rules that make it cost less."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from oracle import net
from prunes import calibrated, samples

from onnxprune.axes.linear import Linear, linear
from onnxprune.loss import losses
from onnxprune.node import Array
from onnxprune.passes import Changed
from onnxprune.quantization import refining
from onnxprune.quantization.gptq import gptq
from onnxprune.quantization.grids import Format, Grid
from onnxprune.quantization.inserting import Codes
from onnxprune.quantization.matrices import across, along, matrix, tensor
from onnxprune.quantization.network import Scheme, quantized
from onnxprune.quantization.profiles import PROFILES
from onnxprune.quantization.quadratic import cost, damped, root
from onnxprune.quantization.refining import refined, rerounded
from onnxprune.quantization.rounding import RULES, nearest, rounded
from onnxprune.quantization.seen import seen
from onnxprune.quantization.steps import blocked, fitting
from onnxprune.runtime import Session
from passes.quantize import Quantize

FORMATS = {bits: Format("int8", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (2, 3, 4, 8)}
every_rule = pytest.mark.parametrize("rule", RULES)


def problem(seed: int, groups: int = 1, outputs: int = 6, columns: int = 12) -> tuple[Array, Array]:
    """Weights [groups, outputs, columns], and H of correlated rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, 64, columns)) @ rng.normal(size=(groups, columns, columns))
    return rng.normal(size=(groups, outputs, columns)), x.swapaxes(1, 2) @ x


def grid_of(weight: Array, bits: int) -> Grid:
    return fitting(weight, None, FORMATS[bits])


def view_of(text: str) -> Linear:
    view = linear(net(text).nodes[0])
    assert view is not None
    return view


# -- the cost ---------------------------------------------------------------------------------------------------------


def test_an_error_costs_what_it_changes_in_the_output() -> None:
    rng = np.random.default_rng(0)
    x, error = rng.normal(size=(50, 4)), rng.normal(size=(1, 3, 4))
    np.testing.assert_allclose(cost(error, (x.T @ x)[None])[0], np.square(x @ error[0].T).sum(axis=0))
    assert not np.allclose(cost(error, None)[0], np.square(x @ error[0].T).sum(axis=0))


def test_the_root_is_upper_triangular_and_its_square_is_h() -> None:
    h = damped(problem(1, groups=3)[1], 0.0)
    upper = root(h)
    np.testing.assert_allclose(upper @ upper.swapaxes(1, 2), h)
    assert not np.tril(upper, -1).any()


# -- rules -------------------------------------------------------------------------------------------------------------


@every_rule
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_a_rule_costs_less_than_rounding_to_nearest(rule: str, bits: int) -> None:
    """Over some problems, each of several outputs."""
    before, after = 0.0, 0.0
    for seed in range(8):
        weight, h = problem(seed, groups=1 + seed % 3)
        grid = grid_of(weight, bits)
        before += cost(weight - grid(weight), h).sum()
        after += cost(weight - grid.restored(RULES[rule](weight, h, grid)), h).sum()
    assert after < before


@every_rule
def test_where_columns_are_not_correlated_every_weight_goes_to_its_nearest_number(rule: str) -> None:
    weight, _ = problem(2, groups=2)
    h, grid = np.tile(np.diag(np.arange(1.0, 13.0)), (2, 1, 1)), grid_of(weight, 4)
    np.testing.assert_array_equal(RULES[rule](weight, h, grid), grid.quantized(weight))


@every_rule
def test_what_is_never_read_is_rounded_to_nearest(rule: str) -> None:
    weight, h = problem(3)
    h[:, 5], h[:, :, 5] = 0, 0
    grid = grid_of(weight, 4)
    found = RULES[rule](weight, h, grid)
    np.testing.assert_array_equal(found[:, :, 5], grid.quantized(weight)[:, :, 5])
    assert (found != grid.quantized(weight)).any()


def test_two_columns_that_are_read_alike_make_up_for_each_other() -> None:
    """0.4 + 0.4 is nearer to 1 than to 0."""
    h, grid = np.full((1, 2, 2), 1.0), Grid(FORMATS[4], np.float32(1), np.int8(0))
    weight = np.array([[[0.4, 0.4]]])
    assert grid.quantized(weight).sum() == 0
    assert gptq(weight, h, grid).sum() == 1


def test_adaround_takes_one_of_the_two_neighbours() -> None:
    weight, h = problem(4)
    grid = grid_of(weight, 4)
    at = np.clip(weight / grid.scale + grid.zero, -8, 7)
    assert (np.abs(RULES["adaround"](weight, h, grid) - at) < 1 + 1e-6).all()


@every_rule
@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("transposed", [0, 1])
def test_no_output_is_worse_off_than_with_nearest(rule: str, bits: int, transposed: int) -> None:
    shape = "5,12" if transposed else "12,5"
    view = view_of(f"(float[N,12] x) => (float[N,5] y) <float[{shape}] w> {{ y = Gemm<transB={transposed}>(x, w) }}")
    value, better = view.weight.value(), 0
    for seed in range(8):
        h = problem(seed)[1]
        codes = nearest(view, FORMATS[bits], per_channel=True)
        found = rounded(view, value, codes.grid, h, RULES[rule])
        after, before = (cost(matrix(view, value - each.restored).astype(np.float64), h) for each in (found, codes))
        assert (after <= before).all()
        better += int((after < before).sum())
    assert better > 0


# -- steps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_channel", [True, False])
def test_of_the_steps_that_are_tried_the_best_is_taken(per_channel: bool) -> None:
    weight, h = problem(5)
    grid = fitting(weight, h, FORMATS[3], per_channel=per_channel)
    least = cost(weight - grid(weight), h)
    for factor, zero in itertools.product((0.5, 0.8, 1.0), (0, -1)):
        top = np.abs(weight).max(axis=2, keepdims=True) if per_channel else np.abs(weight).max()
        other = Grid(FORMATS[3], np.float32(factor * top / 3.5), np.int8(zero))
        costs = cost(weight - other(weight), h)
        assert (least <= costs * (1 + 1e-6)).all() if per_channel else least.sum() <= costs.sum() * (1 + 1e-6)
    assert grid.scale.size == (6 if per_channel else 1)


def test_steps_that_fit_what_is_read_cost_less_than_those_that_fit_the_weights() -> None:
    weight, h = problem(6)
    with_h, without = (fitting(weight, each, FORMATS[2]) for each in (h, None))
    assert cost(weight - with_h(weight), h).sum() < cost(weight - without(weight), h).sum()


def test_the_longer_end_of_the_range_lies_where_the_largest_weights_are() -> None:
    weight = np.array([[[1.0, -0.5, 0.5, 1.0], [-1.0, 0.5, -0.5, -1.0]]])
    grid = fitting(weight, None, FORMATS[2])
    np.testing.assert_allclose(grid(weight), weight, atol=1e-6)
    assert grid.zero.ravel().tolist() == [-1, 0]


def test_weights_of_zero_have_a_grid() -> None:
    grid = fitting(np.zeros((1, 2, 4)), None, FORMATS[4])
    assert not grid(np.zeros((1, 2, 4))).any()
    assert (grid.scale > 0).all()


def test_every_block_has_steps_of_its_own() -> None:
    weight, h = problem(7)
    weight[:, :, 8:] *= 100
    grid = blocked(weight, h, FORMATS[4], 8)
    assert grid.scale.shape == (1, 6, 2)
    assert (grid.scale[:, :, 1] > 20 * grid.scale[:, :, 0]).all()


# -- tensors -----------------------------------------------------------------------------------------------------------

LAYERS = {
    "convolution": "(float[1,4,5,5] x) => (float[1,6,A,B] y) <float[6,4,3,3] w> { y = Conv(x, w) }",
    "grouped": "(float[1,4,5,5] x) => (float[1,6,A,B] y) <float[6,2,3,3] w> { y = Conv<group=2>(x, w) }",
    "depthwise": "(float[1,4,5,5] x) => (float[1,4,A,B] y) <float[4,1,3,3] w> { y = Conv<group=4>(x, w) }",
    "product": "(float[N,4] x) => (float[N,6] y) <float[4,6] w> { y = MatMul(x, w) }",
    "transposed": "(float[N,4] x) => (float[N,6] y) <float[6,4] w> { y = Gemm<transB=1>(x, w) }",
    "transposed kernel": "(float[1,4,5,5] x) => (float[1,6,A,B] y) <float[4,6,3,3] w> { y = ConvTranspose(x, w) }",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_grid_is_the_same_for_the_weight_and_for_its_matrix(layer: str) -> None:
    view = view_of(LAYERS[layer])
    value = view.weight.value()
    flat = matrix(view, value)
    np.testing.assert_array_equal(tensor(view, flat), value)
    grid = fitting(flat.astype(np.float64), None, FORMATS[4])
    whole = along(view, grid)
    np.testing.assert_array_equal(tensor(view, grid.quantized(flat)), whole.quantized(value))
    np.testing.assert_array_equal(across(view, whole).quantized(flat), grid.quantized(flat))


@pytest.mark.parametrize("layer", ["convolution", "grouped", "depthwise", "product", "transposed"])
def test_what_an_error_costs_is_what_the_layer_makes_of_it(layer: str) -> None:
    """H, with its groups and columns, is that of the matrix."""
    model = net(LAYERS[layer].replace("float[1,", "float[N,"))
    view = linear(model.nodes[0])
    assert view is not None
    ctx = calibrated(model, samples(model, 6))
    ((_, h),) = seen(model, [view.node.name], ctx)
    assert ctx.calibration is not None
    made = sum(np.square(Session(model.proto())(feeds)[0]).sum() for feeds in ctx.calibration.batches(1))
    weight = matrix(view, view.weight.value()).astype(np.float64)
    np.testing.assert_allclose(cost(weight, h).sum(), made, rtol=1e-5)


# -- networks ----------------------------------------------------------------------------------------------------------

NET = """
    (float[N,3,8,8] x) => (float[N,5] y)
    <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,8,1,1] u, float[8] c, float[8,5] v, float[5] f>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  k = Conv<pads=[1,1,1,1], group=8>(r, d, e)  m = Clip(k)
      p = Conv(m, u, c)  s = Add(r, p)  t = Relu(s)  g = GlobalAveragePool(t)  h = Flatten(g)  y = Gemm(h, v, f) }"""


@every_rule
def test_a_network_on_integers_loses_less(rule: str) -> None:
    model = net(NET)
    ctx = calibrated(model, samples(model, 64))
    assert ctx.calibration is not None
    plain = quantized(model, ctx, Scheme(PROFILES["u8s7"]))
    found = rerounded(model, plain, ctx, rule)
    before, after = losses(model, [plain.model, found.model], ctx.calibration)
    assert after < before
    for name, codes in found.weights.items():
        np.testing.assert_array_equal(codes.grid.scale, plain.weights[name].grid.scale)
        node = found.model.node(name)
        decoder = found.model.producer(node.x(1).name)
        assert decoder is not None
        np.testing.assert_array_equal(decoder.x().value(), codes.values)


def test_weights_that_would_make_a_network_worse_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """On samples that they were not rounded for; gptq is not refused, what rounds to 0 is."""
    model = net(NET)
    ctx = calibrated(model, samples(model, 64))
    plain = quantized(model, ctx, Scheme(PROFILES["u8s7"]))

    def nothing(view: Linear, value: Array, grid: Grid, h: Array, rule: object) -> Codes:
        return Codes(np.zeros(value.shape, np.int8), grid)

    monkeypatch.setattr(refining, "rounded", nothing)
    worse = refined(model, plain, ctx, "gptq")
    assert worse.model.fingerprint() == plain.model.fingerprint()
    assert "refused" in worse.said
    monkeypatch.undo()
    better = refined(model, plain, ctx, "gptq")
    assert better.model.fingerprint() != plain.model.fingerprint()
    assert "rounding by gptq: loss" in better.said


def test_how_weights_were_rounded_is_part_of_the_decisions(tmp_path: Path) -> None:
    model = net(NET)
    ctx = calibrated(model, samples(model, 256))
    rounds = {rule: model.copy() for rule in ("gptq", "nearest")}
    for rule, each in rounds.items():
        outcome = Quantize(round=rule, profile="u8s7").run(each, ctx)
        assert isinstance(outcome, Changed)
        assert outcome.decisions is not None
        assert outcome.decisions["round"] == rule
        (tmp_path / f"{rule}.json").write_text(json.dumps(outcome.decisions))
    for rule, each in rounds.items():
        again = model.copy()
        Quantize(decisions=tmp_path / f"{rule}.json", round="adaround").run(again, ctx)
        assert again.fingerprint() == each.fingerprint()
    assert rounds["gptq"].fingerprint() != rounds["nearest"].fingerprint()
