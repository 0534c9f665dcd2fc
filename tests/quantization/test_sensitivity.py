"""What a network loses by each node on integers: what it loses with that node alone, and by the bad one most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from onnxprune.quantization.sensitivity import NodeLosses, few

RESIDUAL = """
    (float[N,3,8,8] x) => (float[N,5] y, float[N,8] h)
    <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,8,1,1] u, float[8] c, float[8,5] v, float[5] f>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)
      k = Conv<pads=[1,1,1,1], group=8>(r, d, e)  m = Clip(k)  p = Conv(m, u, c)
      s = Add(r, p)  t = Relu(s)  g = GlobalAveragePool(t)  h = Flatten(g)  y = Gemm(h, v, f) }"""
LOGARITHM = """
    (float[N,16] x) => (float[N,4] y) <float[16,12] w, float[12,8] scale_v, float[8] scale_e, float[8,4] u>
    { a = MatMul(x, w)  p = Mul(a, a)  q = Mul(p, p)  b = MatMul(q, scale_v)  c = Add(b, scale_e)  l = Log(c)
      y = MatMul(l, u) }"""  # fourth powers, of which a grid keeps the greatest alone
SCHEME = Scheme(PROFILES["u8s8"])


def made(text: str, **parts: Any) -> tuple[Model, Context]:
    model = net(text)
    return model, calibrated(model, samples(model, 40), **parts)


@pytest.mark.parametrize("text", [RESIDUAL, LOGARITHM])
def test_the_loss_of_a_node_is_that_of_the_network_in_which_it_alone_is_quantized(text: str) -> None:
    model, ctx = made(text)
    whole, found = quantized(model, ctx, SCHEME), model.get(NodeLosses(SCHEME), ctx)
    for name, loss in found.items():
        single = model.copy()
        insert(
            single,
            alone(model, whole.placement, name),
            whole.grids,
            {k: v for k, v in whole.weights.items() if k == name},
        )
        assert loss == pytest.approx(losses(model, [single], few(ctx))[0], rel=1e-3, abs=1e-9)
        assert loss > 0
    assert found.keys() == {name for name in whole.placement.nodes if model.node(name).op not in ("Flatten", "Reshape")}


def test_the_layer_that_is_known_to_be_bad_loses_most() -> None:
    model, ctx = made(LOGARITHM)
    found = dict(model.get(NodeLosses(SCHEME), ctx))
    bad = next(node.name for node in model.nodes if node.y().name == "b")
    worst = found.pop(bad)
    assert worst > 10 * max(found.values())


def test_losses_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ctx = made(RESIDUAL, cache=Cache(tmp_path))
    found = model.get(NodeLosses(SCHEME), ctx)
    monkeypatch.setattr(NodeLosses, "compute", None)
    again = net(RESIDUAL).get(NodeLosses(SCHEME), ctx)
    assert dict(again) == dict(found)
