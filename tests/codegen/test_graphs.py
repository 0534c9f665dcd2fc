"""Whole networks, drawn at random, compute what onnxruntime does once they are compiled."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz import compiled


@pytest.mark.parametrize("seed", range(6))
def test_a_random_graph_computes_what_onnxruntime_does(seed: int) -> None:
    assert compiled.check(seed) in ("compiled", "named")


def test_what_differs_is_seen() -> None:
    good = np.ones(4, np.float32)
    compiled.assert_close(good, good + np.float32(1e-5))
    with pytest.raises(AssertionError, match="differs by"):
        compiled.assert_close(good, good + np.float32([0, 0, 1e-3, 0]))
