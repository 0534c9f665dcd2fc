"""Histograms and the ranges made of them."""

from __future__ import annotations

import numpy as np
import pytest
from contexts import context
from oracle import net
from prunes import calibrated

from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.quantization.grids import activation_grid
from onnxprune.quantization.histograms import BINS, Histogram, Histograms
from onnxprune.quantization.profiles import PROFILES
from onnxprune.quantization.ranges import RULES

FORMAT = PROFILES["u8s8"].activations
NET = "(float[N,4] x) => (float[N,4] y) { r = Relu(x)  y = Add(r, x) }"


def values(count: int = 5000) -> np.ndarray:
    """Normal values, and one that lies far outside."""
    return np.append(np.random.default_rng(0).normal(size=count), 60.0).astype(np.float32)


def seen(x: np.ndarray) -> Histogram:
    counts, _ = np.histogram(x, BINS)
    return Histogram(float(x.min()), float(x.max()), float(x.min()) / 2, float(x.max()) / 2, counts)


def noise(x: np.ndarray, rule: str) -> float:
    return float(np.mean((activation_grid(*RULES[rule](seen(x), FORMAT), FORMAT)(x) - x) ** 2))


def test_mse_is_the_rule_with_the_least_noise() -> None:
    for x in (values(), np.abs(values()), np.clip(values(), -1, 1), values()[:-1]):
        found = {rule: noise(x, rule) for rule in RULES}
        assert found["mse"] <= 1.01 * min(found.values())


def test_a_single_value_far_outside_does_not_make_the_grid_coarse() -> None:
    x = np.append(np.random.default_rng(0).normal(size=200_000), 60.0).astype(np.float32)
    assert RULES["minmax"](seen(x), FORMAT)[1] == 60
    for rule in ("percentile", "entropy"):
        assert RULES[rule](seen(x), FORMAT)[1] < 30, rule


@pytest.mark.parametrize("rule", RULES)
def test_no_range_is_wider_than_what_was_seen(rule: str) -> None:
    for x in (values(), np.abs(values()), -np.abs(values()), np.zeros(9, np.float32), np.full(9, 3, np.float32)):
        low, high = RULES[rule](seen(x), FORMAT)
        assert min(x.min(), 0) <= low <= high <= max(x.max(), 0) + 1e-6


def found(data: dict[str, np.ndarray], **parts: object) -> dict[str, Histogram]:
    model = net(NET)
    return dict(model.get(Histograms(("x", "r", "y")), calibrated(model, data, **parts)))


def test_limits_are_those_of_all_samples_and_counts_are_of_all_values() -> None:
    x = np.random.default_rng(1).normal(size=(70, 4)).astype(np.float32)
    histograms = found({"x": x})
    for name, value in {"x": x, "r": np.maximum(x, 0), "y": np.maximum(x, 0) + x}.items():
        each = histograms[name]
        assert (each.low, each.high) == (value.min(), value.max())
        assert each.mean_low == pytest.approx(value.min(axis=1).mean())
        assert each.mean_high == pytest.approx(value.max(axis=1).mean())
        assert each.counts.sum() == value.size
        exact, _ = np.histogram(value, BINS, (value.min(), value.max()))
        assert np.abs(np.cumsum(each.counts) - np.cumsum(exact)).max() <= 2


def test_what_is_not_finite_has_no_histogram() -> None:
    model = net("(float[N,4] x) => (float[N,4] y) { r = Log(x)  y = Relu(x) }")
    data = calibrated(model, {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)})
    assert model.get(Histograms(("r", "y")), data).keys() == {"y"}


def test_histograms_are_the_same_from_the_disk() -> None:
    ask = Histograms(("x", "r", "y"))
    model = net(NET)
    first = ask.compute(
        model, calibrated(model, {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)})
    )
    again = ask.unpack(ask.pack(first))
    assert again.keys() == first.keys()
    for name, one in first.items():
        other = again[name]
        assert (one.low, one.high, one.mean_low, one.mean_high) == (
            other.low,
            other.high,
            other.mean_low,
            other.mean_high,
        )
        assert np.array_equal(one.counts, other.counts)


def test_without_data_there_are_no_ranges() -> None:
    model: Model = net(NET)
    with pytest.raises(PassError, match="give --calib"):
        model.get(Histograms(("x",)), context(model))
