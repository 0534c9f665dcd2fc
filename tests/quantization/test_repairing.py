"""Repairs of a quantized network: what rounding did is made up for, and nothing is kept that does not help."""

from __future__ import annotations

import re

import numpy as np
import pytest
from oracle import assert_same_function, net
from prunes import calibrated, samples

from onnxprune.axes.facts import at
from onnxprune.calibrate import Calibration
from onnxprune.loss import FAINT, losses
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization import judging, repairing
from onnxprune.quantization.absorbing import absorbed
from onnxprune.quantization.correcting import correct, with_biases, without_zeros
from onnxprune.quantization.equalising import Harm, factors, rescale
from onnxprune.quantization.judging import judged
from onnxprune.quantization.network import Scheme, quantized
from onnxprune.quantization.profiles import PROFILES
from onnxprune.quantization.repairing import absorption, balanced, correction, equalisation
from onnxprune.quantization.scaling import scales
from onnxprune.quantization.strengths import Strengths
from onnxprune.reference import Reference
from onnxprune.taps import tapped

DEEP = """
    (float[N,3,8,8] x) => (float[N,5] y)
    <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,8,1,1] u, float[8] c, float[8,5] v, float[5] f>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)
      k = Conv<pads=[1,1,1,1], group=8>(r, d, e)  m = Relu(k)  p = Conv(m, u, c)
      s = Add(r, p)  t = Relu(s)  g = GlobalAveragePool(t)  h = Flatten(g)  y = Gemm(h, v, f) }"""
CLIPPED = DEEP.replace("Relu(a)", "Clip(a, zero, six)").replace("float[5] f>", "float[5] f, float zero, float six>")


def context(model: Model) -> Context:
    return calibrated(model, samples(model, 60))


def scheme(**options: object) -> Scheme:
    return Scheme(PROFILES["u8s8"], **options)  # type: ignore[arg-type]


def unbalanced(spread: float, text: str = DEEP) -> Model:
    """The same function with channels of very different magnitudes."""
    model = net(text)
    found = scales(model)
    factors = np.exp(np.random.default_rng(1).uniform(-spread, spread, found.count))
    factors[0] = 1
    rescale(model, found, factors)
    return model


def loss(model: Model, ctx: Context, plan: Scheme) -> float:
    assert ctx.calibration is not None
    return losses(model, [quantized(model, ctx, plan).model], ctx.calibration)[0]


@pytest.mark.parametrize("per_channel", [True, False])
def test_an_equalised_network_computes_the_same(per_channel: bool) -> None:
    model = unbalanced(3)
    result = balanced(model, context(model), per_channel=per_channel)
    assert result is not None
    assert result.fingerprint() != model.fingerprint()
    assert_same_function(result, model)


@pytest.mark.parametrize("per_channel", [True, False])
def test_rescaled_channels_cost_nothing_once_they_are_balanced(per_channel: bool) -> None:
    even, model = net(DEEP), unbalanced(3)
    ctx, plan = context(model), scheme(per_channel=per_channel)
    result = balanced(model, ctx, per_channel=per_channel)
    assert result is not None
    before, after = loss(even, context(even), plan), loss(result, ctx, plan)
    assert after < 2 * before
    assert loss(model, ctx, plan) > 5 * before  # the control


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_harm_of_rounding_has_the_slope_that_differences_have_and_is_convex(per_channel: bool) -> None:
    model, rng = net(DEEP), np.random.default_rng(0)
    found = scales(model)
    axes = tuple(dict.fromkeys(at(layer.x, layer.x_channel) for layer in found.layers))
    harm = Harm(found, model.get(Strengths(axes), context(model)), per_channel=per_channel)
    for _ in range(5):
        one, two = rng.normal(size=(2, found.count))
        one[0] = two[0] = 0
        step = 1e-4 * (two - one)
        difference = (harm(one + step)[0] - harm(one - step)[0]) / 2
        assert harm(one)[1] @ step == pytest.approx(difference, rel=1e-4)
        assert harm((one + two) / 2)[0] < (harm(one)[0] + harm(two)[0]) / 2


@pytest.mark.parametrize("per_channel", [True, False])
def test_no_other_factors_are_much_better(per_channel: bool) -> None:
    model = unbalanced(3)
    found = scales(model)
    axes = tuple(dict.fromkeys(at(layer.x, layer.x_channel) for layer in found.layers))
    seen = model.get(Strengths(axes), context(model))
    harm, best = Harm(found, seen, per_channel=per_channel), np.log(factors(found, seen, per_channel=per_channel))
    least, slope = harm(best)
    assert least < harm(np.zeros(found.count))[0] - 1
    for sign in (-1, 1):
        assert harm(best + sign * 0.3 * slope / np.abs(slope).max())[0] > least - 0.05


@pytest.mark.parametrize("margin", [0.0, 0.8])
def test_a_channel_that_reaches_a_limit_stays_as_it_is(margin: float) -> None:
    model = net(CLIPPED)
    model.put("zero", np.float32(0))
    model.put("six", np.float32(1.5))
    result = balanced(model, context(model), per_channel=False, margin=margin)
    assert result is not None
    assert_same_function(result, model)


def test_a_network_without_layers_has_nothing_to_equalise() -> None:
    model = net("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    assert balanced(model, context(model), per_channel=True) is None


HIGH = """
    (float[N,3,8,8] x) => (float[N,5] y)
    <float[8,3,3,3] w, float[8] b, float[8,2,1,1] u, float[8] d, float[8,8,3,3] v, float[8] c, float[5,8] z, float[5] f>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  k = Conv<group=4>(r, u, d)  m = Relu(k)
      p = Conv<pads=[1,1,1,1]>(m, v, c)  t = Relu(p)  g = GlobalAveragePool(t)  h = Flatten(g)
      s = Gemm<transB=1, beta=0.5>(h, z, f)  q = Relu(s)  y = Identity(q) }"""


def high() -> Model:
    """The first layer makes 400 and more of every other channel, of which the second takes as much away."""
    model, by = net(HIGH), np.array([400, 0, 600, 0, 400, 0, 500, 0], np.float32)
    taken = np.einsum("goi,gi->go", model.tensor("u").value().reshape(4, 2, 2), by.reshape(4, 2)).reshape(-1)
    model.put("b", model.tensor("b").value() + by)
    model.put("d", model.tensor("d").value() - taken)
    return model


def test_high_biases_are_added_by_the_layers_behind() -> None:
    model = high()
    ctx = context(model)
    result = absorbed(model, ctx)
    assert result is not None
    assert ctx.calibration is not None
    assert losses(model, [result], ctx.calibration)[0] < 1e-5  # beyond three deviations it is not the same
    before, after = model.tensor("b").value(), result.tensor("b").value()
    assert (after[::2] < before[::2] / 4).all()
    assert after[1] == before[1]
    assert result.tensor("c").value().tobytes() == model.tensor("c").value().tobytes()  # there are zeros around m


def test_a_dense_layer_adds_what_was_absorbed_in_its_own_way() -> None:
    model = net("""
        (float[N,3] x) => (float[N,5] y) <float[3,4] w, float[4] b, float[4,5] v, float[1,5] c>
        { a = Gemm(x, w, b)  r = Relu(a)  y = Gemm<alpha=0.5, beta=2.0>(r, v, c) }""")
    model.put("b", np.full(4, 50, np.float32))
    result = absorbed(model, context(model))
    assert result is not None
    assert (result.tensor("b").value() < 20).all()
    assert_same_function(result, model)


@pytest.mark.parametrize("shown", ["a", "r"])
def test_what_others_see_keeps_its_bias(shown: str) -> None:
    model = net(f"""
        (float[N,3] x) => (float[N,5] y, float[N,4] z) <float[3,4] w, float[4] b, float[4,5] v>
        {{ a = Gemm(x, w, b)  r = Relu(a)  y = Gemm(r, v)  z = Neg({shown}) }}""")
    model.put("b", np.full(4, 50, np.float32))
    assert absorbed(model, context(model)) is None


def test_no_high_bias_no_absorption() -> None:
    model = net(
        "(float[N,3,4,4] x) => (float[N,5,4,4] y) <float[4,3,1,1] w, float[5,4,1,1] v>"
        " { a = Conv(x, w)  r = Relu(a)  y = Conv<pads=[0,0,0,0]>(r, v) }"
    )
    assert absorbed(model, context(model)) is None


@pytest.mark.parametrize("per_channel", [True, False])
def test_absorption_is_kept_where_it_helps(per_channel: bool) -> None:
    model, plan = high(), scheme(per_channel=per_channel)
    ctx = context(model)
    absorbs, said = absorption(model, ctx, plan)
    assert absorbs
    assert said.startswith("; absorption of high biases: loss")
    result = absorbed(model, ctx)
    assert result is not None
    assert loss(result, ctx, plan) < loss(model, ctx, plan) / 2


def test_every_layer_makes_its_mean_again() -> None:
    model = net(DEEP)
    ctx = context(model)
    assert ctx.calibration is not None
    result = quantized(model, ctx, scheme(per_channel=False))
    names = [*result.weights]
    after = correct(model, result, ctx, ctx.calibration)
    wanted, before, now = (means(each, ctx, names) for each in (model, result.model, after))
    steps = [bias_step(result.model, name) for name in names]
    errors = [np.abs(y - z).max() for y, z in zip(wanted, now, strict=True)]
    assert all(error <= step + 1e-5 for error, step in zip(errors[:-1], steps[:-1], strict=True))
    assert errors[-1] < np.abs(wanted[-1] - before[-1]).max() / 5  # behind a pool, whose kernel rounds in its own way
    assert np.abs(wanted[-2] - before[-2]).max() > 20 * steps[-2]  # the control


def bias_step(model: Model, name: str) -> float:
    source = model.producer(model.node(name).x(2).name)
    assert source is not None
    return float(source.x(1).value().max())


def means(model: Model, ctx: Context, names: list[str]) -> list[np.ndarray]:
    assert ctx.calibration is not None
    session = tapped(model, [model.node(name).y().name for name in names])
    found = [session(feeds) for feeds in ctx.calibration.batches(60)]
    return [y.mean(axis=(0, 2, 3) if y.ndim == 4 else 0) for y in found[0]]


def test_layers_without_a_bias_get_one_of_zeros() -> None:
    model = net(
        "(float[N,3,4,4] x) => (float[N,5,4,4] y) <float[4,3,1,1] w, float[5,4,1,1] v> {a = Conv(x, w) y = Conv(a, v)}"
    )
    result = with_biases(model, [node.name for node in model.nodes])
    assert all(node.input(2) is not None for node in result.nodes)
    assert_same_function(result, model)


def test_a_bias_of_zeros_that_was_of_no_use_goes_again() -> None:
    model = net(
        "(float[N,3,4,4] x) => (float[N,5,4,4] y) <float[4,3,1,1] w, float[5,4,1,1] v> {a = Conv(x, w) y = Conv(a, v)}"
    )
    ctx = context(model)
    plain, other = (
        quantized(each, ctx, scheme()) for each in (model, with_biases(model, [n.name for n in model.nodes]))
    )
    result = without_zeros(other.model)
    assert all(node.input(2) is None for node in result.nodes if node.op == "Conv")
    assert sorted(node.op for node in result.nodes) == sorted(node.op for node in plain.model.nodes)
    assert_same_function(result, plain.model)


@pytest.mark.parametrize("per_channel", [True, False])
def test_what_helps_is_found_and_told(per_channel: bool) -> None:
    model, plan = unbalanced(3), scheme(per_channel=per_channel)
    ctx = context(model)
    assert ctx.calibration is not None
    margin, said = equalisation(model, ctx, plan)
    assert margin == 0
    even = balanced(model, ctx, per_channel=per_channel, margin=margin)
    assert even is not None
    better = quantized(even, ctx, plan)
    before, after = losses(model, [quantized(model, ctx, plan).model, better.model], ctx.calibration)
    assert after < before / 5
    found = re.fullmatch("; equalisation: loss (.*) → (.*)", said)
    assert found is not None
    by_halves = [float(each) for each in found.groups()]
    assert by_halves[0] == pytest.approx(before, rel=0.5)
    assert after / 2 < by_halves[1] < before / 5
    corrects, also = correction(even, better, ctx)
    assert corrects
    assert also.startswith("; correction of biases: loss")


def test_what_does_not_help_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plan = net(DEEP), scheme()
    ctx = context(model)
    monkeypatch.setattr(repairing, "balanced", lambda *_, **__: unbalanced(3))
    monkeypatch.setattr(repairing, "correct", lambda *_: quantized(unbalanced(3), ctx, plan).model)
    margin, said = equalisation(model, ctx, plan)
    assert margin is None
    assert said.startswith("; equalisation refused")
    corrects, said = correction(model, quantized(model, ctx, plan), ctx)
    assert not corrects
    assert said.startswith("; correction of biases refused")


def test_every_sample_judges_what_was_fitted_to_others() -> None:
    model = net(DEEP)
    ctx, fitted = context(model), list[Calibration]()
    assert ctx.calibration is not None
    plain = quantized(model, ctx, scheme()).model

    def fit(data: Calibration) -> Model:
        fitted.append(data)
        return plain

    found = judged(model, [fit, lambda _: model], ctx.calibration)
    assert found == [pytest.approx(Reference(model, ctx.calibration).typical(plain), rel=0.1), pytest.approx(FAINT)]
    one, other = (set(each.order) for each in fitted)
    assert not one & other
    assert one | other == set(ctx.calibration.order)


def test_of_much_data_a_part_drawn_at_random_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    model, fitted = net(DEEP), list[Calibration]()
    ctx = context(model)
    assert ctx.calibration is not None
    monkeypatch.setattr(judging, "HALF", 5)

    def fit(data: Calibration) -> Model:
        fitted.append(data)
        return model

    judged(model, [fit], ctx.calibration)
    assert [each.count for each in fitted] == [5, 5]
    assert len(drawn := {number for each in fitted for number in each.order}) == 10
    assert drawn != set(range(10))
