"""``calibration=auto``: every grid by the rule by which the network loses least, and never more than by one for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import net
from prunes import calibrated

from onnxprune.cache import Cache
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.quantization.choosing import BestRules, ranges_by
from onnxprune.quantization.network import Scheme, histograms, quantized
from onnxprune.quantization.profiles import PROFILES

from .test_sensitivity import NETS
from .test_sensitivity import made as ordinary

NET = "(float[N,6,6] x) => (float[N,6,6] y) <float[6,6] w> {{ a = MatMul(x, w)  y = {}(a) }}"
FINE, WIDE = "average", "minmax"  # the range that cuts peaks off, and the one that holds them


def made(op: str, factor: float, **parts: Any) -> tuple[Model, Context]:
    """A network that reads values with few large ones among them; what it makes of them depends on one kind alone."""
    model = net(NET.format(op))
    model.put("w", factor * np.eye(6, dtype=np.float32))
    x = np.random.default_rng(0).normal(size=(80, 6, 6)).astype(np.float32)
    return model, calibrated(model, {"x": x * np.abs(x)}, **parts)


def chosen(model: Model, ctx: Context, rule: str) -> dict[str, str]:
    return dict(model.get(BestRules(Scheme(PROFILES["u8s8"], rule)), ctx))


def top(model: Model, ctx: Context, rules: dict[str, str]) -> float:
    """The greatest value that the range of what the layer reads covers."""
    return float(dict(ranges_by(model, ctx, Scheme(PROFILES["u8s8"]), rules))["x"][1])


@pytest.mark.parametrize("rule", [FINE, WIDE])
def test_a_network_that_needs_the_peaks_gets_a_wide_range_and_one_that_cuts_them_off_a_fine_one(rule: str) -> None:
    peaks, small = made("Exp", 1.0), made("Tanh", 9.0)
    wide, fine = (top(*each, chosen(*each, rule)) for each in (peaks, small))
    assert wide == top(*peaks, {"x": WIDE})
    assert fine < 0.8 * wide


@pytest.mark.parametrize("rule", ["mse", FINE])
@pytest.mark.parametrize("name", NETS)
def test_no_more_is_lost_than_by_one_rule_for_all_on_samples_that_were_not_looked_at(name: str, rule: str) -> None:
    model, ctx = ordinary(name)
    assert ctx.calibration is not None
    scheme = Scheme(PROFILES["u8s8"], rule)
    ranges = ranges_by(model, ctx, scheme, chosen(model, ctx, rule))
    schemes = (scheme, Scheme(PROFILES["u8s8"], rule, ranges=ranges))
    old, new = losses(model, [quantized(model, ctx, each).model for each in schemes], ctx.calibration.split()[1])
    assert new <= old * (1 + 1e-6)


def test_rules_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ctx = made("Exp", 1.0, cache=Cache(tmp_path))
    found = chosen(model, ctx, FINE)
    monkeypatch.setattr(BestRules, "compute", None)
    assert chosen(made("Exp", 1.0)[0], ctx, FINE) == found
    assert histograms(model, ctx).keys() == found.keys()
