"""Factors that nobody notices: a network with random ones computes what it did, and has as many as it can have."""

from __future__ import annotations

import numpy as np
import pytest
from nets import NETS as TIED
from nets import OPSETS
from oracle import assert_different_function, assert_same_function, net

from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.quantization.equalising import rescale
from onnxprune.quantization.scaling import Scales, scales

WEIGHTS = """
    <float[4,3,3,3] w, float[4,3,3,3] w2, float[4] b, float[4,1,3,3] d, float[5,4,1,1] v, float[5,4,1,1] v2,
     float[4,4,1,1] p, float[4,4,1,1] p2, float[4,2,1,1] g, float[5,8,1,1] e, float[4,1,1] scale, float[4,1,1] q,
     float[1] one, float[4] scale2, float[4] o, float[4] mean, float[4] var, float[64,7] f, float[7] c,
     float[3,3,1,1] p3, float[1,4,4,4] k, float bound>
"""
LAST = "y = Conv(m, v)"

NETS = {  # and how many factors there are
    "a pair": (f"a = Conv(x, w, b)  m = Relu(a)  {LAST}", 4),
    "a slope per channel": (f"a = Conv(x, w, b)  m = PRelu(a, scale)  {LAST}", 4),
    "a pool": (f"a = Conv(x, w, b)  m = MaxPool<kernel_shape=[2,2]>(a)  {LAST}", 4),
    "a depthwise triple": (f"a = Conv(x, w, b)  r = Relu(a)  m = Conv<group=4>(r, d)  {LAST}", 8),
    "groups": (f"a = Conv(x, w, b)  r = Relu(a)  m = Conv<group=2>(r, g, b)  {LAST}", 8),
    "two readers": ("m = Conv(x, w, b)  s = Conv(m, v)  t = Conv(m, v2)  y = Add(s, t)", 4),
    "a residual": (f"a = Conv(x, w)  r = Conv(a, p)  t = Relu(r)  s = Conv(t, p2)  m = Add(a, s)  {LAST}", 8),
    "two halves": ("a = Conv(x, w)  s = Conv(x, w2)  m = Concat<axis=1>(a, s)  y = Conv(m, e)", 8),
    "a gain and an offset": (f"a = Conv(x, w, b)  r = Relu(a)  s = Mul(r, scale)  m = Add(q, s)  {LAST}", 8),
    "a divisor": (f"a = Conv(x, w, b)  r = Relu(a)  m = Div(r, scale)  {LAST}", 8),
    "what is taken off": (f"a = Conv(x, w, b)  r = Relu(a)  m = Sub(q, r)  {LAST}", 4),
    "statistics of its own": (f"a = Conv(x, w, b)  m = InstanceNormalization(a, scale2, o)  {LAST}", 4),
    "a gain behind a curve": (f"a = Conv(x, w, b)  r = Sigmoid(a)  m = Mul(r, scale)  {LAST}", 4),
    "weights of channels that are computed": (
        f"a = Conv(x, w, b)  t = GlobalAveragePool(a)  r = Conv(t, p)  s = Sigmoid(r)  m = Mul(s, a)  {LAST}",
        4,
    ),
    "positions that are columns": ("a = Conv(x, w, b)  r = Relu(a)  m = Flatten(r)  y = Gemm(m, f, c)", 4),
    "half: a constant beside": ("a = Conv(x, w)  m = Concat<axis=1>(a, k)  y = Conv(m, e)", 4),
    "none: a curve": (f"a = Conv(x, w, b)  m = Sigmoid(a)  {LAST}", 0),
    "none: a limit below": (f"a = Conv(x, w, b)  m = Clip(a, bound)  {LAST}", 0),
    "none: one number for all channels": (f"a = Conv(x, w, b)  m = Add(a, one)  {LAST}", 0),
    "none: a sum with one channel": (f"a = Conv(x, w, b)  s = ReduceMean<axes=[1]>(a)  m = Add(a, s)  {LAST}", 0),
    "none: a shared weight": ("a = Conv(x, p3)  s = Conv(a, p3)  y = Conv(s, p3)", 0),
    "none: an output": ("a = Conv(x, w, b)  y = Relu(a)", 0),
}


def built(body: str) -> Model:
    output = "float[1,7] y" if "Gemm" in body else "float[1,K,A,B] y"
    return net(f"(float[1,3,6,6] x) => ({output}) {WEIGHTS} {{ {body} }}")


def drawn(found: Scales, seed: int = 0) -> Array:
    """Factors between 1/20 and 20, and 1 where there is none."""
    factors = np.exp(np.random.default_rng(seed).uniform(-3, 3, found.count))
    factors[0] = 1
    return np.asarray(factors)


def rescaled(model: Model, factors: Array) -> Model:
    result = model.copy()
    rescale(result, scales(model), factors)
    return result


@pytest.mark.parametrize("name", NETS)
def test_nobody_notices_factors(name: str) -> None:
    body, count = NETS[name]
    model = built(body)
    found = scales(model)
    assert found.count - 1 == count
    after = rescaled(model, drawn(found))
    assert_same_function(after, model)
    changed = [t.name for t in model.constants if not np.array_equal(t.value(), after.tensor(t.name).value())]
    assert bool(changed) == bool(count)


@pytest.mark.parametrize("name", [name for name, (_, count) in NETS.items() if count])
def test_each_of_the_constants_that_take_factors_up_is_needed(name: str) -> None:
    """The control: with one of them as it was, the network computes something else."""
    model = built(NETS[name][0])
    after = rescaled(model, drawn(scales(model)))
    read = {t.name for t in after.constants} & {t.name for t in model.constants}
    changed = [n for n in sorted(read) if not np.array_equal(model.tensor(n).value(), after.tensor(n).value())]
    assert len(changed) > 1
    for each in changed:
        broken = after.copy()
        broken.put(each, model.tensor(each).value())
        assert_different_function(broken, model)


@pytest.mark.parametrize("name", TIED)
def test_in_networks_of_every_kind_nobody_notices_factors(name: str) -> None:
    model = net(TIED[name], OPSETS.get(name, 17))
    assert_same_function(rescaled(model, drawn(scales(model))), model)


def test_many_of_those_networks_have_factors() -> None:
    assert sum(scales(net(text, OPSETS.get(name, 17))).count > 1 for name, text in TIED.items()) > len(TIED) / 4
