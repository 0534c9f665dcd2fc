"""What quantization cannot use: a clear message, or float where it must be, told in the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contexts import context
from oracle import feeds, net, run
from prunes import calibrated, samples

import onnxprune as op
from onnxprune.errors import OnnxPruneError
from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from onnxprune.passes import Context
from passes.quantize import Quantize

MODELS = Path(__file__).parents[2] / "models"
LAYERS = """(float[N,3,8,8] x) => (float[N,6,8,8] y) <float[6,3,3,3] w, float[6] b, float[6,6,1,1] v>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  y = Conv(r, v) }"""


def quantize(model: Model, ctx: Context | None = None, **options: object) -> tuple[Model, PassRecord]:
    after, ctx = model.copy(), ctx or calibrated(model, samples(model, 20))
    (record,) = PassManager((Quantize(**options),)).run(after, ctx, verify_each=True)  # type: ignore[arg-type]
    return after, record


def pairs(model: Model) -> int:
    return sum(node.op == "QuantizeLinear" for node in model.nodes)


def reasons(record: PassRecord) -> str:
    return "; ".join(f"{skip.where}: {skip.why}" for skip in record.skipped)


def near(after: Model, before: Model, limit: float = 0.05) -> None:
    inputs = samples(before, 20)
    for z, y in zip(run(after, inputs), run(before, inputs), strict=True):
        assert np.abs(z - y).max() <= limit * np.abs(y).max()


def test_without_calibration_data_there_is_nothing_to_go_by() -> None:
    with pytest.raises(OnnxPruneError, match=r"quantize.*--calib"):
        op.compress(MODELS / "digits_cnn.onnx", "fold,quantize")


def test_one_sample_is_enough_to_run() -> None:
    model = net(LAYERS)
    after, _ = quantize(model, calibrated(model, samples(model, 1)))
    assert pairs(after) == 3
    assert all(np.isfinite(each).all() for each in run(after, feeds(model)))


@pytest.mark.parametrize("rule", ["minmax", "average", "percentile", "entropy", "mse"])
@pytest.mark.parametrize("profile", ["u8s8", "s8s8"])
def test_tensors_that_never_change_have_a_scale_that_is_not_0(rule: str, profile: str) -> None:
    model = net(LAYERS)
    for name, value in (("w", 0), ("b", 0)):
        model.put(name, np.full_like(model.tensor(name).value(), value))
    after, _ = quantize(model, calibration=rule, profile=profile)
    scales = [t.value() for t in after.constants if t.name.endswith("_scale")]
    assert pairs(after) == 3
    assert all((scale > 0).all() for scale in scales)
    assert not np.any(run(after, feeds(model))[0])


@pytest.mark.parametrize("held", [0.0, -2.5, 7.0])
@pytest.mark.parametrize("rule", ["minmax", "average", "percentile", "mse"])
def test_an_input_that_is_one_number_is_kept_exactly_enough(held: float, rule: str) -> None:
    model = net(LAYERS)
    data = {"x": np.full((20, 3, 8, 8), held, np.float32)}
    after, _ = quantize(model, calibrated(model, data), calibration=rule)
    given = {"x": np.full((2, 3, 8, 8), held, np.float32)}
    (z,), (y,) = run(after, given), run(model, given)
    assert np.abs(z - y).max() <= 0.05 * max(np.abs(y).max(), 1e-6)


def test_data_that_is_not_finite_is_refused_with_the_place(tmp_path: Path) -> None:
    with np.load(MODELS / "digits.calib.npz") as data:
        (name,) = data.files
        x = data[name].copy()
    x[5, 0, 3, 3] = np.nan
    np.savez(tmp_path / "bad.npz", **{name: x})
    with pytest.raises(OnnxPruneError, match=rf"{name}.*5"):
        op.compress(MODELS / "digits_cnn.onnx", "fold,quantize", calib=tmp_path / "bad.npz")


@pytest.mark.parametrize("make", ["Log", "Sqrt", "Reciprocal"])
def test_a_network_that_makes_values_that_are_not_finite_keeps_what_meets_them_in_float(make: str) -> None:
    text = LAYERS.replace("y = Conv(r, v)", f"m = {make}(r)  i = Conv(m, v)  y = Conv(r, v)")
    model = net(text.replace("(float[N,6,8,8] y)", "(float[N,6,8,8] y, float[N,6,8,8] i)"))
    after, record = quantize(model)
    bad = next(node for node in after.nodes if any(t is not None and t.name == "i" for t in node.outputs))
    if make == "Sqrt":  # of what a Relu leaves it is finite
        assert not record.skipped
    else:
        assert (
            reasons(record)
            == f"{bad.name}: stays in float: on the calibration data it meets values that are not finite"
        )
        assert all(t is None or "dequantized" not in t.name for t in bad.inputs)
    assert pairs(after) >= 3


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_other_floats_stay_as_they_are_and_are_told(kind: str) -> None:
    model = net(LAYERS.replace("float[", f"{kind}["))
    after, record = quantize(model)
    assert not record.changed
    assert pairs(after) == 0
    assert record.note == "there is nothing to quantize"
    told = "float16" if kind == "float16" else "float64"
    assert f"stays in float: it computes on {told}, and kernels take float32" in reasons(record)


@pytest.mark.parametrize("opset", [7, 9, 11, 12])
def test_old_opsets_are_lifted_and_that_is_told(opset: int) -> None:
    model = net(LAYERS, opset=opset)
    after, record = quantize(model)
    assert after.opset == 13
    assert f"; opset {opset} → 13" in record.note
    today, inputs = quantize(net(LAYERS))[0], feeds(model)
    assert np.array_equal(run(after, inputs), run(today, inputs))


def test_newer_opsets_stay() -> None:
    after, record = quantize(net(LAYERS, opset=18))
    assert (after.opset, "opset" in record.note) == (18, False)


@pytest.mark.parametrize(
    ("layer", "constants", "why"),
    [
        ("r2 = ConvTranspose(r, u)", "float[6,6,1,1] u", "onnxruntime has no integer kernel for ConvTranspose"),
        ('r2 = Einsum<equation="nchw,cd->ndhw">(r, u)', "float[6,6] u", "onnxruntime has no integer kernel for Einsum"),
    ],
)
def test_an_operator_without_an_integer_kernel_stays_in_float_and_is_told(layer: str, constants: str, why: str) -> None:
    model = net(
        LAYERS.replace("float[6,6,1,1] v>", f"float[6,6,1,1] v, {constants}>")
        .replace("y =", f"{layer}  y =")
        .replace("(r, v)", "(r2, v)")
    )
    after, record = quantize(model)
    assert reasons(record).endswith(f"stays in float: {why}")
    assert pairs(after) == 4  # around each of the two convolutions
    near(after, model)


def test_recurrent_layers_and_subgraphs_stay_in_float_and_are_told() -> None:
    model = net(
        """(float[5,1,8] x) => (float[5,1,4] y) <float[1,16,8] w, float[1,16,4] r, float[4,4] m>
        { h, s = LSTM<hidden_size=4>(x, w, r)  q = Squeeze(h)  u = Reshape(q, k)  y = MatMul(u, m) }""".replace(
            "float[4,4] m>", "float[4,4] m, int64[3] k = {5,1,4}>"
        )
    )
    after, record = quantize(
        model, calibrated(model, {"x": np.random.default_rng(0).normal(size=(4, 5, 1, 8)).astype(np.float32)})
    )
    assert "stays in float: onnxruntime has no integer kernel for LSTM with fixed grids" in reasons(record)
    assert pairs(after) == 1


def test_a_network_without_layers_is_left_alone() -> None:
    model = net("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    after, record = quantize(model)
    assert (record.changed, record.note, pairs(after)) == (False, "there is nothing to quantize", 0)


def test_the_context_without_data_is_refused_before_anything_is_done() -> None:
    model = net(LAYERS)
    with pytest.raises(OnnxPruneError, match="--calib"):
        PassManager((Quantize(),)).check(context(model))
