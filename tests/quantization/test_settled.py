"""Networks that are quantized already, in whole or in part: what is there stays, and nothing is rounded twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import feeds, net, run
from prunes import calibrated, samples

from benchmarks.quantized.scores import left_in_float
from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from onnxprune.passes import Context
from passes.quantize import Quantize

CHAIN = """(float[N,3,8,8] x) => (float[N,5,4,4] y)
    <float[6,3,3,3] w, float[6] b, float[6,6,1,1] v, float[6,12,1,1] u, float[5,6,1,1] t>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
      c = Conv(m, v)  d = Concat<axis=1>(m, c)  e = Conv(d, u)  f = Relu(e)  y = Conv(f, t) }"""

FORK = """(float[N,3,8,8] x) => (float[N,5,8,8] y)
    <float[6,3,1,1] w, float[6] b, float[6,3,1,1] v, float[6,12,1,1] u, float[5,6,1,1] t>
    { a = Conv(x, w, b)  c = Conv(x, v)  d = Concat<axis=1>(a, c)  e = Conv(d, u)  s = Add(e, a)  y = Conv(s, t) }"""


def quantize(model: Model, ctx: Context, **options: object) -> tuple[Model, PassRecord]:
    after = model.copy()
    (record,) = PassManager((Quantize(**options),)).run(after, ctx, verify_each=True)  # type: ignore[arg-type]
    return after, record


def layers(model: Model) -> list[str]:
    return [node.name for node in model.nodes if node.op == "Conv"]


def twice(model: Model) -> list[str]:
    """The tensors that are restored from integers and rounded again."""
    restored = {t.name for node in model.nodes if node.op == "DequantizeLinear" for t in node.outputs if t is not None}
    return [node.x().name for node in model.nodes if node.op == "QuantizeLinear" and node.x().name in restored]


def test_a_quantized_network_is_kept_and_that_is_said() -> None:
    model = net(CHAIN)
    ctx = calibrated(model, samples(model, 20))
    once, _ = quantize(model, ctx)
    again, record = quantize(once, ctx)
    assert (record.changed, record.note) == (False, "there is nothing to quantize: it is quantized already")
    assert again.fingerprint() == once.fingerprint()
    assert {skip.why for skip in record.skipped} == {"stays as it is: it is quantized already"}


@pytest.mark.parametrize("text", [CHAIN, FORK])
@pytest.mark.parametrize("kept", range(4))
def test_what_is_left_in_float_is_quantized_on_the_grids_that_are_there(text: str, kept: int, tmp_path: Path) -> None:
    model = net(text)
    ctx = calibrated(model, samples(model, 20))
    whole, _ = quantize(model, ctx)
    part, record = quantize(model, ctx, keep=(layers(model)[kept],))
    assert not twice(part)
    rest, record = quantize(part, ctx)
    assert record.note.startswith("quantized 1 layers")
    assert not twice(rest)
    assert sum(node.op == "QuantizeLinear" for node in rest.nodes) == sum(n.op == "QuantizeLinear" for n in whole.nodes)
    for name, value in ((t.name, t.value()) for t in part.constants if t.name.endswith(("_scale", "_zero_point"))):
        assert np.array_equal(rest.tensor(name).value(), value)
    part.save(tmp_path / "part.onnx")
    rest.save(tmp_path / "rest.onnx")
    assert sum(left_in_float(tmp_path / "part.onnx").values()) == 1
    assert not left_in_float(tmp_path / "rest.onnx")
    inputs = feeds(model)
    (z,), (y,) = run(rest, inputs), run(model, inputs)
    assert np.abs(z - y).max() < 0.1 * np.abs(y).max()


def test_a_layer_whose_weight_alone_is_quantized_stays_as_it_is() -> None:
    model = net("""(float[N,4] x) => (float[N,5] y) <float[4,6] w, int8[6,5] q, float s = {0.01}, int8 z = {0}>
        { a = MatMul(x, w)  v = DequantizeLinear(q, s, z)  y = MatMul(a, v) }""")
    after, record = quantize(model, calibrated(model, samples(model, 20)))
    assert record.note.startswith("quantized 1 layers")
    assert [skip.why for skip in record.skipped] == ["stays as it is: it is quantized already"]
    assert sum(node.op == "QuantizeLinear" for node in after.nodes) == 1


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_what_onnxruntime_quantized_is_kept(form: str, tmp_path: Path) -> None:
    from onnxruntime import quantization as ort

    models = Path(__file__).parents[2] / "models"
    with np.load(models / "digits.calib.npz") as data:
        ((name, x),) = data.items()
    given = iter([{name: x[:64]}])
    reader = type("Reader", (ort.CalibrationDataReader,), {"get_next": lambda _: next(given, None)})()
    ort.quantize_static(models / "digits_cnn.onnx", tmp_path / "q.onnx", reader, quant_format=ort.QuantFormat[form])
    model = Model.load(tmp_path / "q.onnx")
    after, record = quantize(model, calibrated(model, {name: x[:64]}))
    assert record.changed == (form == "QOperator")
    assert not twice(after)
    (z,), (y,) = run(after, {name: x}), run(model, {name: x})
    assert np.abs(z - y).max() <= (0.02 * np.abs(y).max() if form == "QOperator" else 0)
