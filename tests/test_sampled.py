"""Least squares from rows gives what least squares from sums over the same rows gives."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune import sampled
from onnxprune.moments import Moments, kept_rows
from onnxprune.patches import Rows
from onnxprune.sampled import Sampled, most_rows


def rows(count: int, columns: int = 7, seed: int = 0) -> Rows:
    """Two groups of two outputs each."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1, 1, size=(2, count, columns)).astype(np.float32).astype(np.float64)
    return Rows(x, x[:, :, :2] + 0.1 * rng.normal(size=(2, count, 2)))


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("share", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("biased", [True, False])
def test_the_weights_are_those_of_the_sums(
    count: int, share: float, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled, "BLOCK", 3)
    sums, few, start = Moments(), Sampled(7), np.random.default_rng(1).normal(size=(2, 2, 8))
    start[:, :, -1] *= biased
    for part in (rows(count), rows(2, seed=1)):
        sums.add(part)
        few.add(part)
    found = few.nearest(start, share, biased)
    np.testing.assert_allclose(found, sums.nearest(start, share, biased), rtol=1e-6, atol=1e-8)
    assert np.abs(found - sums.nearest(start, 2 * share + 1, biased)).max() > 1e-3
    assert few.error(found) == pytest.approx(sums.error(found), rel=1e-5)
    assert few.error(found) != pytest.approx(sums.error(start), rel=1e-1)


def test_no_more_rows_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "ROOM", 4 * 7 * 10)
    assert (most_rows(7), most_rows(70), most_rows(10**6)) == (10, 1, 1)
    many, first = Sampled(7), Sampled(7)
    for part in (rows(6), rows(6, seed=1), rows(6, seed=2)):
        many.add(part)
    first.add(rows(6))
    first.add(Rows(rows(6, seed=1).x[:, :4], rows(6, seed=1).y[:, :4]))
    start = np.zeros((2, 2, 8))
    np.testing.assert_array_equal(many.nearest(start, 1e-3, True), first.nearest(start, 1e-3, True))


def test_rows_that_are_not_finite_are_found() -> None:
    good, bad = Sampled(7), Sampled(7)
    good.add(rows(5))
    bad.add(Rows(rows(5).x, np.full((2, 5, 2), np.nan)))
    assert (good.finite, bad.finite) == (True, False)


def test_no_more_samples_are_asked_for_than_rows_are_kept_of_them() -> None:
    assert (kept_rows(100), kept_rows(5999), kept_rows(6000)) == (100, 5999, 4096)
    assert kept_rows(10**6) == most_rows(10**6) < 4096
