"""Errors are relative to the largest number that is expected in an output, each output for itself."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import net

from onnxprune.backends.difference import Difference, difference, largest
from onnxprune.errors import BackendError
from onnxprune.runtime import Session

TWO = "(float[2] x) => (float[2] y, float[2] z) <float[2] k = {100, 100}> { y = Identity(x)  z = Mul(x, k) }"
BATCHES = [{"x": np.float32([1, -4])}, {"x": np.float32([2, 1])}]


def found(*errors: float, batches: list[dict[str, np.ndarray]] = BATCHES) -> Difference:
    session = Session(net(TWO).proto())

    def program(feeds: list[np.ndarray]) -> list[np.ndarray]:
        return [y + np.float32(e) for y, e in zip(session({"x": feeds[0]}), errors, strict=True)]

    return difference(program, session, batches)


def test_the_worst_output_counts_over_all_batches() -> None:
    assert found(0, 0) == Difference(0, 0)
    assert found(1, 0) == Difference(1, 1 / 4)
    assert found(0, 1) == Difference(1, 1 / 400)
    assert found(1, 8) == Difference(8, 1 / 4)


def test_where_zero_is_expected_an_error_counts_as_it_is() -> None:
    assert found(0.5, 0, batches=[{"x": np.zeros(2, np.float32)}]) == Difference(0.5, 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_equal_to_itself_alone(value: float) -> None:
    odd = [{"x": np.float32([value, 1])}]
    assert found(0, 0, batches=odd) == Difference(0, 0)
    assert found(value, 0).relative == np.inf
    assert largest(odd[0]["x"]) == 1


def test_another_shape_is_a_bug() -> None:
    with pytest.raises(BackendError, match=r"an output has shape \[1\], onnxruntime's \[2\]"):
        difference(lambda feeds: [feeds[0][:1], feeds[0]], Session(net(TWO).proto()), BATCHES)
