"""Healing: least squares finds what can be found, changes nothing else, and stays only where it helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from folds import ops
from generator import random_feeds, random_model
from nets import NETS, OPSETS
from oracle import net, run
from prunes import IMAGE, calibrated, quarter, redundant, samples, sqnr, unseen, views

from onnxprune import healing, moments, ridge
from onnxprune.aims import Aim
from onnxprune.calibrate import Calibration
from onnxprune.healing import Wave, refit
from onnxprune.model import Model
from onnxprune.moments import Moments
from onnxprune.patches import Rows
from onnxprune.ridge import RIDGES

# -- what can be made good is made good ------------------------------------------------------------------------------


FLAT = "(float[N,3,4,4] x) => (float[N,6] y) <float[8,3,3,3] w, float[8] b, {}> {{ a = Conv(x, w, b) r = Relu(a) {} }}"
DENSE = "(float[N,4] x) => (float[N,6] y) <float[4,8] w, {}> {{ a = MatMul(x, w) r = Relu(a) {} }}"
TOKENS = "(float[N,5,4] x) => (float[N,5,6] y) <float[4,8] w, {}> {{ a = MatMul(x, w) r = Relu(a) {} }}"
SIGNAL = "(float[N,3,9] x) => (float[N,6,A] y) <float[8,3,3] w, float[8] b, {}> {{ a = Conv(x, w, b) r = Relu(a) {} }}"
VOLUME = "(float[N,2,4,3,3] x) => (float[N,6,A,B,C] y) <float[8,2,1,1,1] w, {}> {{ a = Conv(x, w) r = Relu(a) {} }}"
READERS = {
    "1×1": (IMAGE, "float[6,8,1,1] v, float[6] c", "y = Conv(r, v, c)"),
    "without bias": (IMAGE, "float[6,8,1,1] v", "y = Conv(r, v)"),
    "3×3": (IMAGE, "float[6,8,3,3] v", "y = Conv<pads=[1,1,1,1]>(r, v)"),
    "strided": (IMAGE, "float[6,8,3,2] v", "y = Conv<strides=[2,3]>(r, v)"),
    "dilated": (IMAGE, "float[6,8,2,2] v", "y = Conv<dilations=[2,3]>(r, v)"),
    "padded on one side": (IMAGE, "float[6,8,3,3] v", "y = Conv<pads=[2,0,0,1]>(r, v)"),
    "same, upper": (IMAGE, "float[6,8,2,2] v", 'y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(r, v)'),
    "same, lower": (IMAGE, "float[6,8,2,2] v", 'y = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(r, v)'),
    "valid": (IMAGE, "float[6,8,3,3] v, float[6] c", 'y = Conv<auto_pad="VALID">(r, v, c)'),
    "of two groups": (IMAGE, "float[6,4,3,3] v, float[6] c", "y = Conv<group=2>(r, v, c)"),
    "of two groups, without bias": (IMAGE, "float[6,4,1,1] v", "y = Conv<group=2>(r, v)"),
    "of a signal": (SIGNAL, "float[6,8,3] v", "y = Conv<pads=[2,0]>(r, v)"),
    "of a volume": (VOLUME, "float[6,8,2,1,2] v", "y = Conv(r, v)"),
    "pixels": (FLAT, "float[32,6] v, float[6] c", "f = Flatten(r)  y = Gemm(f, v, c)"),
    "pixels, without bias": (FLAT, "float[32,6] v", "f = Flatten(r)  y = MatMul(f, v)"),
    "Gemm": (DENSE, "float[8,6] v, float[6] c", "y = Gemm(r, v, c)"),
    "Gemm, transposed": (DENSE, "float[6,8] v, float[1,6] c", "y = Gemm<transB=1>(r, v, c)"),
    "Gemm, scaled": (DENSE, "float[8,6] v, float[6] c", "y = Gemm<alpha=0.3, beta=2.0>(r, v, c)"),
    "Gemm, all of it": (DENSE, "float[6,8] v, float[1] c", "y = Gemm<transB=1, alpha=3.0, beta=2.0>(r, v, c)"),
    "Gemm, one number as its bias": (DENSE, "float[8,6] v, float c", "y = Gemm<beta=0.5>(r, v, c)"),
    "Gemm, without bias": (DENSE, "float[8,6] v", "y = Gemm<alpha=0.3>(r, v)"),
    "MatMul": (DENSE, "float[8,6] v", "y = MatMul(r, v)"),
    "MatMul of tokens": (TOKENS, "float[8,6] v", "y = MatMul(r, v)"),
    "MatMul of a vector": (DENSE.replace("N,", ""), "float[8,6] v", "y = MatMul(r, v)"),
}  # fmt: skip


@pytest.mark.parametrize(("net_text", "declared", "reader"), READERS.values(), ids=READERS.keys())
def test_what_the_rest_can_express_is_expressed(net_text: str, declared: str, reader: str) -> None:
    rows = 1 if "MatMul(x" in net_text else 0
    model = redundant(net_text.format(declared, reader), rows)
    ctx = calibrated(model)
    raw, (after, record) = quarter(model, ctx, heal="none")[0], quarter(model, ctx)
    assert raw.tensor("w").size(rows) == after.tensor("w").size(rows) == 6
    assert "healed 1 of 1 layers" in record.note
    assert unseen(raw, model) > 0.05
    assert unseen(after, model) < 1e-3
    assert ops(after) == ops(model)


def test_any_linear_combination_is_expressed_where_nothing_stands_between() -> None:
    model = net("""(float[N,4,7,7] x) => (float[N,6,A,B] y) <float[8,4,3,3] w, float[8] b, float[6,8,3,3] v, float[6] c>
                   { a = Conv(x, w, b)  y = Conv(a, v, c) }""")
    w, b, v = (np.array(model.tensor(name).value()) for name in "wbv")
    mix = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32) * 0.1
    w[5:], b[5:] = np.tensordot(mix, w[:5], 1), mix @ b[:5]
    v[:, 5:] *= 20
    for name, value in (("w", w), ("b", b), ("v", v)):
        model.put(name, value)
    ctx = calibrated(model)
    after, _ = quarter(model, ctx, ratio="38%")
    assert after.tensor("w").size(0) == 5
    assert unseen(after, model) < 1e-3
    assert unseen(quarter(model, ctx, ratio="38%", heal="none")[0], model) > 0.5


def test_layer_after_layer_is_made_good() -> None:
    text = """(float[N,3,6,6] x) => (float[N,4] y)
        <float[8,3,3,3] w, float[8] b, float[8,8,3,3] v, float[8] c, float[8,8,1,1] u, float[8] d, float[32,4] m>
        { a = Conv(x, w, b)  r = Relu(a)  e = Conv<pads=[1,1,1,1]>(r, v, c)  s = Relu(e)
          f = Conv<strides=[2,2]>(s, u, d)  t = Relu(f)  g = Flatten(t)  y = MatMul(g, m) }"""
    model = net(text)
    for weight, bias in (("w", "b"), ("v", "c"), ("u", "d")):
        for name in (weight, bias):
            value = np.array(model.tensor(name).value())
            value[3], value[6] = 0.2 * value[0], 0.1 * value[1]
            model.put(name, value)
    ctx = calibrated(model)
    after, record = quarter(model, ctx)
    assert [after.tensor(name).size(0) for name in "wvu"] == [6, 6, 6]
    assert "healed 3 of 3 layers" in record.note
    assert unseen(after, model) < 1e-3 < 0.05 < unseen(quarter(model, ctx, heal="none")[0], model)


@pytest.mark.parametrize(
    ("declared", "reader"),
    [
        pytest.param("float[6,8,1,1] v", "y = Conv(r, v)", id="a Conv without one"),
        pytest.param("float[6,8,1,1] v, float[6] c", "y = Conv(r, v, c)", id="a Conv with one"),
        pytest.param("float[6,4,1,1] v", "y = Conv<group=2>(r, v)", id="a grouped Conv without one"),
        pytest.param("float[6,8,1,1] v, float[6] c, float[6,6,1,1] t", "q = Conv(r, v, c)  y = Conv(q, t, c)",
                     id="a Conv that shares one"),
    ],
)  # fmt: skip
def test_what_is_constant_goes_into_the_bias(declared: str, reader: str) -> None:
    model = net(IMAGE.format(declared, reader))
    w, b = (np.array(model.tensor(name).value()) for name in "wb")
    w[[1, 5]], b[[1, 5]] = 0, [2, 3]
    model.put("w", w)
    model.put("b", b)
    ctx = calibrated(model)
    raw, after = (quarter(model, ctx, keep="Conv_2", **way)[0] for way in ({"heal": "none"}, {}))
    assert unseen(raw, model) > 0.1
    assert unseen(after, model) < 1e-3
    (conv,) = (view.node for view in views(after) if view.weight.name == "v")
    assert conv.x(2).size(0) == 6


# -- and what lies behind --------------------------------------------------------------------------------------------


RESIDUAL = """(float[N,3,6,6] x) => (float[N,6,A,B] y)
    <float[8,3,1,1] w, float[8] b, float[8,8,1,1] v, float[8] c, float[8,3,1,1] u, float[8] d, float[6,8,1,1] t>
    { a = Conv(x, w, b)  r = Tanh(a)  e = Conv(r, v, c)  f = Conv(x, u, d)  g = Tanh(f)  s = Add(e, g)
      h = Relu(s)  y = Conv(h, t) }"""


def test_the_last_summand_makes_up_for_the_others() -> None:
    """Where the one branch is off by a constant, the other is on by it; each alone aims at what it made itself."""
    model = net(RESIDUAL)
    off = model.copy()
    off.put("d", model.tensor("d").value() + 0.5)
    ctx = calibrated(model)
    work = off.copy()
    found = refit(work, ("Conv_2",), ctx)
    (healed,) = found.values()
    assert healed.weight is not None
    assert healed.after < 0.9 * healed.before
    plain = Wave((Aim("Conv_2", "e"),)).compute(off, ctx)["Conv_2"]
    assert plain.before < 1e-9


def test_layers_behind_what_read_a_cut_are_healed_too() -> None:
    model = net(RESIDUAL)
    ctx = calibrated(model)
    after, record = quarter(model, ctx, keep="Conv_3")
    assert "healed" in record.note
    raw = quarter(model, ctx, keep="Conv_3", heal="none")[0]
    assert raw.tensor("t").shape == model.tensor("t").shape
    assert not np.array_equal(after.tensor("t").value(), raw.tensor("t").value())


def test_a_matmul_gets_no_bias_and_does_what_it_can_without() -> None:
    text = DENSE.replace("r = Relu(a)", "d = Add(a, b)  r = Relu(d)")
    model = net(text.format("float[8] b, float[8,6] v", "y = MatMul(r, v)"))
    w, b = (np.array(model.tensor(name).value()) for name in "wb")
    w[:, [1, 5]], b[[1, 5]] = 0, [2, 3]
    model.put("w", w)
    model.put("b", b)
    ctx = calibrated(model)
    raw, after = quarter(model, ctx, heal="none")[0], quarter(model, ctx)[0]
    assert ops(after) == "MatMul Add Relu MatMul"
    assert len(after.nodes[-1].inputs) == 2
    assert sqnr(after, ctx) > sqnr(raw, ctx) + 1
    assert unseen(after, model) > 0.05


# -- and nothing else is found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("attributes", ["", "<transB=1, alpha=0.5, beta=2.0>"])
def test_the_weights_are_those_of_a_ridge_regression(attributes: str) -> None:
    """min ‖Y − X·Wᵀ‖² + λ·‖W − W₀‖², the bias free, solved anew as an overdetermined system.

    The ridge is the one that did best on the check part, the rows are those of both parts.
    """
    v = "float[6,8] v" if attributes else "float[8,6] v"
    model = net(DENSE.format(f"{v}, float[6] c", f"y = Gemm{attributes}(r, v, c)").replace("Relu", "Tanh"))
    ctx = calibrated(model, samples(model, 80))
    raw, (after, record) = quarter(model, ctx, heal="none")[0], quarter(model, ctx)
    assert ctx.calibration is not None
    (x, y), (x_check, y_check) = (_rows(raw, model, part) for part in ctx.calibration.split())
    start = _affine(raw)
    tried = {share: _ridge(x, y, start, share) for share in RIDGES}
    errors = {share: np.sum((y_check - x_check @ each) ** 2) for share, each in tried.items()}
    best = min(errors, key=lambda share: errors[share])
    both = (np.concatenate(pair) for pair in ((x, x_check), (y, y_check)))
    np.testing.assert_allclose(_affine(after), _ridge(*both, start, best), rtol=1e-3, atol=1e-4)
    assert np.abs(_affine(after) - start).max() > 0.01
    (repair,) = record.repairs
    energy = np.sum(y_check**2)
    assert repair.where == after.nodes[-1].name
    assert repair.before == pytest.approx(np.sum((y_check - x_check @ start) ** 2) / energy, rel=1e-4)
    assert repair.after == pytest.approx(errors[best] / energy, rel=1e-4)
    assert repair.how == f"least squares on 80 rows, λ = {best:g} of the mean diagonal"


def _rows(raw: Model, original: Model, part: Calibration) -> tuple[np.ndarray, np.ndarray]:
    (inputs,) = part.batches(1000)
    hidden = np.tanh(inputs["x"].astype(np.float64) @ raw.tensor("w").value())
    return np.column_stack([hidden, np.ones(len(hidden))]), run(original, inputs)[0].astype(np.float64)


def _affine(model: Model) -> np.ndarray:
    node = model.nodes[-1]
    v, c = (node.x(index).value().astype(np.float64) for index in (1, 2))
    v = v.T if node.attrs.get("transB", 0) else v
    return np.vstack([node.attrs.get("alpha", 1.0) * v, node.attrs.get("beta", 1.0) * c])


def _ridge(x: np.ndarray, y: np.ndarray, start: np.ndarray, share: float) -> np.ndarray:
    size = x.shape[1] - 1
    stay = np.sqrt(share * np.sum(x[:, :size] ** 2) / size) * np.eye(size + 1)[:size]
    return np.linalg.lstsq(np.vstack([x, stay]), np.vstack([y, stay @ start]), rcond=None)[0]


@pytest.mark.parametrize("name", NETS)
def test_only_what_lies_behind_a_cut_is_changed(name: str) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    ctx = calibrated(model)
    raw, (after, record) = quarter(model, ctx, heal="none", ratio="50%")[0], quarter(model, ctx, ratio="50%")
    reached = {t.name for t in raw.constants if t.shape != model.tensor(t.name).shape}
    for node in raw.nodes:
        if any(t is not None and t.name in reached for t in node.inputs):
            reached.update(t.name for t in node.outputs)
    behind = [v for v in views(raw) if v.x.name in reached]
    held = {t.name: t.value() for t in after.constants}
    changed = {t.name for t in raw.constants if not np.array_equal(t.value(), held.get(t.name))}
    assert changed <= {t.name for v in behind for t in (v.weight, v.bias) if t is not None}
    assert "heal" in record.note
    assert sqnr(after, ctx) >= sqnr(raw, ctx)


def test_random_nets_are_never_worse_than_raw_on_the_check_part() -> None:
    better = worse = 0
    for seed in range(16):
        proto = random_model(seed)
        model = Model.load(proto)
        ctx = calibrated(model, random_data(proto, model, seed))
        same = {"ratio": "40%", "approximate": "no"}
        raw, after = quarter(model, ctx, heal="none", **same)[0], quarter(model, ctx, **same)[0]
        better += sqnr(after, ctx) > sqnr(raw, ctx) + 0.1
        worse += sqnr(after, ctx) < sqnr(raw, ctx)
    assert worse == 0
    assert better >= 8


def random_data(proto: Any, model: Model, seed: int) -> dict[str, np.ndarray]:
    """Forty samples, in whole batches where the graph says how many."""
    return {
        name: np.concatenate([random_feeds(proto, seed * 100 + k, batch=4)[name] for k in range(10)])
        for name in (t.name for t in model.inputs)
    }


def test_healing_that_helps_no_output_is_refused() -> None:
    """The layer is nearer to its original, but nobody sees it: the outputs are as before, and the weights stay."""
    model = net("""(float[N,3,6,6] x) => (float[N,6,A,B] y) <float[8,3,3,3] w, float[6,8,1,1] v, float zero = {0}>
                   { a = Conv(x, w)  b = Conv(a, v)  y = Mul(b, zero) }""")
    ctx = calibrated(model)
    raw, (after, record) = quarter(model, ctx, heal="none")[0], quarter(model, ctx)
    assert record.note.endswith("; nothing to heal: the outputs are the same")
    assert after.fingerprint() == raw.fingerprint()


def test_healing_that_makes_the_outputs_worse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = redundant(IMAGE.format("float[6,8,1,1] v", "y = Conv(r, v)"))
    ctx = calibrated(model)
    raw = quarter(model, ctx, heal="none")[0]
    monkeypatch.setattr(healing, "_qualities", lambda _, pair, data: [3.0 if alike(m, raw) else 2.0 for m in pair])
    after, record = quarter(model, ctx)
    assert record.note.endswith("; healing refused: outputs 3.0 → 2.0 dB")
    assert after.fingerprint() == raw.fingerprint()
    monkeypatch.setattr(healing, "_qualities", lambda _, pair, data: [3.0 if alike(m, raw) else 4.0 for m in pair])
    assert "healed 1 of 1 layers, outputs 3.0 → 4.0 dB" in quarter(model, ctx)[1].note


def test_a_tie_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = redundant(IMAGE.format("float[6,8,1,1] v", "y = Conv(r, v)"))
    ctx = calibrated(model)
    monkeypatch.setattr(healing, "_qualities", lambda *_: [3.0, 3.0])
    assert alike(quarter(model, ctx)[0], quarter(model, ctx, heal="none")[0])


def alike(one: Model, other: Model) -> bool:
    return one.fingerprint() == other.fingerprint()


def test_a_layer_that_cannot_get_better_keeps_its_weights() -> None:
    """Nothing to make good: the removed channels were zero."""
    model = net(IMAGE.format("float[6,8,1,1] v", "y = Conv(r, v)"))
    for name in "wb":
        value = np.array(model.tensor(name).value())
        value[[1, 5]] = 0
        model.put(name, value)
    ctx = calibrated(model)
    raw, (after, record) = quarter(model, ctx, heal="none")[0], quarter(model, ctx)
    assert unseen(raw, model) < 1e-6
    assert unseen(after, model) < 1e-5
    assert "heal" in record.note


# -- means and variances ---------------------------------------------------------------------------------------------


def test_matched_weights_give_outputs_the_mean_and_variance_that_they_are_to_have() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 80, 5)), 2 * rng.normal(size=(2, 80, 3)) + 3
    sums, weights = Moments(), rng.normal(size=(2, 3, 6))
    sums.add(Rows(x, y))
    weights[1, 2, :-1] = 0  # what does not vary cannot be made to
    augmented = np.concatenate([x, np.ones((2, 80, 1))], axis=2)
    made = augmented @ sums.matched(weights).swapaxes(1, 2)
    np.testing.assert_allclose(made.mean(axis=1), y.mean(axis=1))
    ratio = made.std(axis=1) / y.std(axis=1)
    before = (augmented @ weights.swapaxes(1, 2)).std(axis=1) / y.std(axis=1)
    reached = np.clip(1 / np.maximum(before, 1e-9), 1 / moments.STRETCH, moments.STRETCH) * before
    np.testing.assert_allclose(ratio, reached, atol=1e-6)
    assert ratio[1, 2] == pytest.approx(0, abs=1e-6)
    assert np.sum(np.abs(ratio - 1) < 1e-6) > 2 > np.sum(np.abs(before - 1) < 1e-3)


def test_full_healing_matches_means_and_variances_where_that_lowers_the_loss() -> None:
    text = IMAGE.format("float[6,8,3,3] v, float[6] c", "y = Conv(r, v, c)")
    model = net(text)
    ctx = calibrated(model)
    plain, full = (quarter(model, ctx, heal=how) for how in ("ls", "full"))
    assert "; means and variances of the original refused: loss " in full[1].note  # least squares is the least error
    assert plain[0].fingerprint() == full[0].fingerprint()
    one, two = map(float, full[1].note.rpartition("loss ")[2].split(" → "))
    assert 0 < one < two


def test_full_healing_keeps_what_lowers_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without least squares, as no ridge is on offer that changes anything, matching is what is left."""
    monkeypatch.setattr(ridge, "RIDGES", (1e12,))
    model = net(IMAGE.format("float[6,8,3,3] v, float[6] c", "y = Conv(r, v, c)"))
    ctx = calibrated(model)
    (plain, _), (full, record) = (quarter(model, ctx, heal=how) for how in ("ls", "full"))
    if " kept: loss " not in record.note:
        pytest.fail(record.note)
    assert sqnr(full, ctx) != sqnr(plain, ctx)
