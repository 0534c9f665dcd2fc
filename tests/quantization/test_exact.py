"""The exact oracle: on grids so fine that rounding does not count, a quantized network is the float one.

Whatever is left of a difference would be a pair in the wrong place, a grid that is not shared, a bias off its grid or a
clip that was taken away and should not have been.
"""

from __future__ import annotations

import numpy as np
import pytest
from contexts import context
from generator import random_feeds, random_model

from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.quantization.grids import Format
from onnxprune.quantization.network import Quantized, Scheme, quantized
from onnxprune.quantization.profiles import PROFILES, Profile
from onnxprune.runtime import Session

FINE = Profile(Format("uint16", 0, 65535), Format("int16", -32767, 32767), "no machine")
OPSET = 21  # from which there are grids of 16 bits
CLOSE = 5e-3  # of the largest value


def both(seed: int, profile: Profile) -> tuple[Quantized, float] | None:
    """A random graph on integers, and how far its outputs are from those in float; None where these are not finite."""
    proto = random_model(seed, rare=True)
    model = Model(proto)
    model.lift(OPSET)
    feeds = [random_feeds(proto, seed + k) for k in range(3)]
    session = Session(proto, optimise=False)
    wanted = [[y for y in session(feed) if y.dtype.kind == "f"] for feed in feeds]
    if not all(np.isfinite(y).all() for ys in wanted for y in ys):
        return None
    data = Calibration.load({name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]}, model)
    found = quantized(model, context(model, calibration=data), Scheme(profile, "minmax"))
    after = Session(found.model.proto(), optimise=False)
    made = [[z for z in after(feed) if z.dtype.kind == "f"] for feed in feeds]
    return found, max(distance(y, z) for ys, zs in zip(wanted, made, strict=True) for y, z in zip(ys, zs, strict=True))


def distance(y: np.ndarray, z: np.ndarray) -> float:
    assert y.shape == z.shape
    delta = np.abs(y.astype(np.float64) - z.astype(np.float64)).max(initial=0)
    return float(delta / max(float(np.abs(y).max(initial=0)), 1e-3))


@pytest.mark.parametrize("seed", range(60))
def test_a_random_graph_computes_the_same_on_fine_grids(seed: int) -> None:
    found = both(seed, FINE)
    assert found is None or found[1] <= CLOSE


def test_grids_of_8_bits_are_seen_to_differ() -> None:
    """The control: and that something is on integers in nearly all of these graphs."""
    coarse = [found for seed in range(20) if (found := both(seed, PROFILES["u8s8"])) is not None]
    assert sum(error > CLOSE for _, error in coarse) >= 0.6 * len(coarse)
    assert sum(bool(each.weights) for each, _ in coarse) >= 0.9 * len(coarse)
