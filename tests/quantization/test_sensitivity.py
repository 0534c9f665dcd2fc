"""What a network loses by each node on integers: what it loses with that node alone, and by the bad one most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import net
from prunes import calibrated, samples

from onnxprune.cache import Cache
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.inserting import insert
from onnxprune.quantization.network import Scheme, quantized
from onnxprune.quantization.placement import alone
from onnxprune.quantization.profiles import PROFILES
from onnxprune.quantization.sensitivity import SAMPLES, NodeLosses
from onnxprune.spool import LARGE

RESIDUAL = """
    (float[N,3,8,8] x) => (float[N,5] y, float[N,8] h)
    <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,8,1,1] u, float[8] c, float[8,5] v, float[5] f>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)
      k = Conv<pads=[1,1,1,1], group=8>(r, d, e)  m = Clip(k)  p = Conv(m, u, c)
      s = Add(r, p)  t = Relu(s)  g = GlobalAveragePool(t)  h = Flatten(g)  y = Gemm(h, v, f) }"""
LOGARITHM = """
    (float[N,16] x) => (float[N,4] y) <float[16,8] w, float[8,8] v, float[8] scale, float[8,4] u>
    { a = MatMul(x, w)  p = Exp(a)  b = MatMul(p, v)  c = Add(b, scale)  l = Log(c)  y = MatMul(l, u) }"""
SCHEME = Scheme(PROFILES["u8s8"])


def logarithm() -> Model:
    """The logarithm of exponentials that a layer reads: of what lies on their grid it keeps the greatest alone."""
    model = net(LOGARITHM)
    model.put("w", 3 * model.tensor("w").value())
    model.put("v", np.eye(8, dtype=np.float32))
    return model


NETS = {"residual": lambda: net(RESIDUAL), "logarithm": logarithm}


def made(name: str, **parts: Any) -> tuple[Model, Context]:
    model = NETS[name]()
    return model, calibrated(model, samples(model, 40), **parts)


@pytest.mark.parametrize("name", NETS)
def test_the_loss_of_a_node_is_that_of_the_network_in_which_it_alone_is_quantized(name: str) -> None:
    model, ctx = made(name)
    whole, found = quantized(model, ctx, SCHEME), model.get(NodeLosses(SCHEME), ctx)
    for node, loss in found.items():
        single = model.copy()
        insert(
            single,
            alone(model, whole.placement, node),
            whole.grids,
            {k: v for k, v in whole.weights.items() if k == node},
        )
        assert loss == pytest.approx(losses(model, [single], ctx.calibration.few(SAMPLES))[0], rel=1e-3, abs=1e-9)
        assert loss > 0
    assert found.keys() == {each for each in whole.placement.nodes if model.node(each).op not in ("Flatten", "Reshape")}


def test_the_layer_that_is_known_to_be_bad_loses_most() -> None:
    model, ctx = made("logarithm")
    found = dict(model.get(NodeLosses(SCHEME), ctx))
    bad = next(node.name for node in model.nodes if node.y().name == "b")
    worst = found.pop(bad)
    assert worst > 10 * max(found.values())


def test_losses_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ctx = made("residual", cache=Cache(tmp_path))
    found = model.get(NodeLosses(SCHEME), ctx)
    monkeypatch.setattr(NodeLosses, "compute", None)
    again = net(RESIDUAL).get(NodeLosses(SCHEME), ctx)
    assert dict(again) == dict(found)


def test_a_layer_whose_large_weight_was_edited_is_measured_too() -> None:
    """It stands in a file of the process then."""
    text = "(float[N,512] x) => (float[N,4] y) <float[512,600] w, float[600,4] v>"
    model = net(text + "{ a = MatMul(x, w)  y = MatMul(a, v) }")
    before = dict(model.get(NodeLosses(SCHEME), calibrated(model, samples(model, 9))))
    model.put("w", model.tensor("w").value().copy())
    assert model.tensor("w").value().nbytes >= LARGE
    assert dict(model.get(NodeLosses(SCHEME), calibrated(model, samples(model, 9)))) == before
