"""The front: what nobody beats."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from onnxprune.sweeps.front import unbeaten


def test_who_costs_no_more_and_is_as_good_beats() -> None:
    points = [(1, 0.5), (2, 0.9), (3, 0.9), (2, 0.4), (4, 1.0), (1, 0.5)]
    assert unbeaten(points) == [True, True, False, False, True, True]  # equals do not beat each other
    assert unbeaten([]) == []


def test_the_front_is_a_staircase_and_covers_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [tuple(pair) for pair in rng.integers(0, 6, size=(rng.integers(1, 12), 2)).tolist()]
        marks = unbeaten(points)
        front = sorted({point for point, mark in zip(points, marks, strict=True) if mark})
        assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(front))
        assert all(any(f[0] <= p[0] and f[1] >= p[1] for f in front) for p in points)
