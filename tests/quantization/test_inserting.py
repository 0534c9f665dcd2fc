"""The quantized graph: what its pairs do to tensors, and what onnxruntime makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from kernels import optimised
from oracle import feeds, net, run
from prunes import calibrated, samples

from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.network import Quantized, Scheme, quantized
from onnxprune.quantization.profiles import PROFILES
from onnxprune.runtime import Session
from passes.quantize import Quantize

RESIDUAL = """
    (float[N,3,8,8] x) => (float[N,5] y)
    <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,8,1,1] u, float[8] c, float[8,5] v, float[5] f>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)
      k = Conv<pads=[1,1,1,1], group=8>(r, d, e)  m = Clip(k)  p = Conv(m, u, c)
      s = Add(r, p)  t = Relu(s)  g = GlobalAveragePool(t)  h = Flatten(g)  y = Gemm(h, v, f) }"""
INTEGERS = {"QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "QGemm"}


def made(text: str = RESIDUAL, profile: str = "u8s8", **options: object) -> tuple[Model, Context, Quantized]:
    model = net(text)
    ctx = calibrated(model, samples(model, 40))
    return model, ctx, quantized(model, ctx, Scheme(PROFILES[profile], **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", ["u8s8", "u8s7"])  # of s8s8, onnxruntime turns only chains into what x86 has
@pytest.mark.parametrize("per_channel", [True, False])
def test_every_layer_becomes_an_integer_kernel(profile: str, per_channel: bool, tmp_path: Path) -> None:
    found = optimised(made(profile=profile, per_channel=per_channel)[2].model, tmp_path)
    assert found["QLinearConv"] == 3
    assert found["QLinearAdd"] == found["QGemm"] == 1
    assert not found.keys() & {"Conv", "FusedConv", "Gemm", "Add", "Relu", "Clip"}


def test_a_float_network_has_no_integer_kernel(tmp_path: Path) -> None:
    """The control."""
    assert not optimised(net(RESIDUAL), tmp_path).keys() & INTEGERS


@pytest.mark.parametrize("limits", [(0.0, 6.0), (0.0, 0.37), (-1.0, 1.0), (-0.2, 0.7)])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_clip_behind_a_layer_is_part_of_its_kernel(limits: tuple[float, float], profile: str, tmp_path: Path) -> None:
    text = """(float[N,3,6,6] x) => (float[N,2,6,6] y) <float[6,3,1,1] w, float low, float high, float[2,6,1,1] v>
        { a = Conv(x, w)  r = Clip(a, low, high)  y = Conv(r, v) }"""
    model = net(text)
    for name, value in zip(("low", "high"), limits, strict=True):
        model.put(name, np.float32(value))
    ctx = calibrated(model, samples(model, 40))
    found = optimised(quantized(model, ctx, Scheme(PROFILES[profile])).model, tmp_path)
    assert found["QLinearConv"] == 2
    assert not found.keys() & {"Clip", "Conv"}


def test_a_pair_rounds_its_tensor_to_the_grid() -> None:
    model, _, found = made()
    inputs = feeds(model)
    x = inputs["x"]
    grid = next(found.grids[site.grid] for site in found.placement.sites if site.tensor == "x")
    tapped = found.model.proto()
    tapped.graph.output.append(onnx.ValueInfoProto(name="x_dequantized"))
    got = Session(tapped, optimise=False)(inputs)[-1]
    assert np.array_equal(got, grid(x))
    assert not np.array_equal(got, x)


def test_kernels_compute_what_the_graph_says_within_a_step() -> None:
    """Run as written, in float between the pairs, and run on integers."""
    model, _, found = made()
    inputs, proto = feeds(model, batch=16), found.model.proto()
    written, kernels = (Session(proto, optimise=each)(inputs)[0] for each in (False, True))
    step = float(found.grids[next(s.grid for s in found.placement.sites if s.tensor == "h")].scale)
    weight = np.abs(model.tensor("v").value()).sum(axis=0).max()
    assert np.abs(written - kernels).max() <= 2 * step * weight
    assert np.abs(written - run(model, inputs)[0]).max() <= 0.05 * np.abs(written).max()


def test_weights_and_biases_are_stored_as_integers() -> None:
    model, _, found = made()
    kinds = {t.name: t.dtype for t in found.model.constants}
    for name in ("w", "d", "u", "v"):
        assert kinds[f"{name}_quantized"] == np.int8
        assert name not in kinds
    for name in ("b", "e", "c", "f"):
        assert kinds[f"{name}_quantized"] == np.int32
    for name, codes in found.weights.items():
        view_weight = model.node(name).x(1).value()
        scale = codes.grid.scale.reshape([-1 if d == codes.grid.axis else 1 for d in range(view_weight.ndim)])
        assert (np.abs(codes.restored - view_weight) <= 0.5001 * scale).all()


def test_a_bias_beside_weights_that_are_zero_keeps_its_value() -> None:
    model = net("(float[N,3,4,4] x) => (float[N,4,4,4] y) <float[4,3,1,1] w, float[4] b> { y = Conv(x, w, b) }")
    weight = model.tensor("w").value().copy()
    weight[1] = 0
    weight[2] *= 1e-12
    model.put("w", weight)
    ctx = calibrated(model, samples(model, 40))
    found = quantized(model, ctx, Scheme(PROFILES["u8s8"])).model
    inputs = feeds(model)
    want, got = run(model, inputs)[0], run(found, inputs)[0]
    step = 2 * np.abs(want).max() / 255
    assert np.abs(want - got).max() <= 2 * step


def test_what_a_subgraph_or_the_caller_reads_keeps_its_name() -> None:
    text = """(float[1,3,4,4] x, bool c) => (float[1,4,4,4] y, float[1,4,4,4] a) <float[4,3,1,1] w>
        { a = Conv(x, w)
          y = If (c) <then_branch = t () => (float[1,4,4,4] p) { p = Relu(a) },
                      else_branch = e () => (float[1,4,4,4] q) { q = Neg(a) }> }"""
    model = net(text)
    x = {"x": np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32), "c": np.array(True)}
    ctx = calibrated(model, {"x": np.stack([x["x"]] * 3), "c": np.array([True] * 3)})
    found = quantized(model, ctx, Scheme(PROFILES["u8s8"])).model
    y, a = run(found, x)
    assert np.array_equal(y, np.maximum(a, 0))
    assert 0 < np.abs(a - run(model, x)[1]).max() <= 0.02 * np.abs(a).max()


def record(model: Model, ctx: Context, **options: object) -> tuple[Model, PassRecord]:
    after = model.copy()
    (found,) = PassManager((Quantize(**options),)).run(after, ctx, verify_each=True)  # type: ignore[arg-type]
    return after, found


def test_an_old_opset_is_raised_and_that_is_said() -> None:
    model = net("(float[1,3] x) => (float[1,2] y) <float[3,2] w> { y = MatMul(x, w) }", 9)
    after, found = record(model, calibrated(model, samples(model, 9)))
    assert after.opset == 13
    assert found.note.startswith("quantized 1 layers; opset 9 → 13")


def test_layers_to_keep_stay_in_float_and_are_named() -> None:
    model = net(RESIDUAL)
    after, found = record(model, calibrated(model, samples(model, 9)), keep=("Conv_0",))
    assert after.tensor("w").constant
    assert not after.tensor("u").constant
    assert [(s.where, s.why) for s in found.skipped] == [("Conv_0", "stays in float: keep=Conv_0")]


def test_a_second_run_finds_nothing_to_do() -> None:
    model = net(RESIDUAL)
    ctx = calibrated(model, samples(model, 9))
    after, _ = record(model, ctx)
    again = after.copy()
    (found,) = PassManager((Quantize(),)).run(again, ctx, verify_each=True)
    assert not found.changed
    assert again.fingerprint() == after.fingerprint()
