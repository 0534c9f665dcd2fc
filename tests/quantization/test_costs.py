"""What a quantized network costs: kernels on integers hold integers, whatever the graph writes between two pairs."""

from __future__ import annotations

from oracle import net
from prunes import calibrated, samples, stats

from onnxprune.quantization.network import Scheme, quantized
from onnxprune.quantization.profiles import PROFILES

CHAIN = """(float[1,8,8,8] x) => (float[1,8,8,8] y) <float[8,8,1,1] w, float[8,8,1,1] v, float[8,8,1,1] u>
    { a = Conv(x, w)  r = Relu(a)  b = Conv(r, v)  s = Add(r, b)  c = Clip(s)  y = Conv(c, u) }"""


def test_activations_on_integers_take_a_quarter_of_the_bytes() -> None:
    model = net(CHAIN)
    ctx = calibrated(model, samples(model, 9))
    before, after = stats(model, ctx), stats(quantized(model, ctx, Scheme(PROFILES["u8s8"])).model, ctx)
    image = 4 * 8 * 8 * 8
    assert before.peak_activation_bytes == 3 * image
    assert after.peak_activation_bytes == image + image / 4  # the graph's input is in float, its integers beside it
    assert after.macs == before.macs
    assert after.bytes < 0.3 * before.bytes + 200


def test_what_is_computed_in_float_between_takes_its_bytes() -> None:
    model = net(CHAIN.replace("Clip(s)", "Elu(s)"))
    ctx = calibrated(model, samples(model, 9))
    after = stats(quantized(model, ctx, Scheme(PROFILES["u8s8"])).model, ctx)
    image = 4 * 8 * 8 * 8
    assert after.peak_activation_bytes >= image + image
