"""Systems are solved as NumPy solves them one by one, and damped until they can be."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.node import Array
from onnxprune.solving import BLOCK, solved


def one(matrix: Array, right: Array, ridge: float) -> Array:
    return solved(matrix[None], right[None], np.array([ridge]))[0]


@pytest.mark.parametrize("size", [1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_every_system_has_the_solution_that_it_has_alone(size: int) -> None:
    rng = np.random.default_rng(size)
    rows, right, ridge = rng.normal(size=(3, size + 2, size)), rng.normal(size=(3, size, 4)), np.array([0.5, 1, 2])
    normal = rows.swapaxes(1, 2) @ rows
    found = solved(normal, right, ridge)
    for number in range(3):
        alone = np.linalg.solve(normal[number] + ridge[number] * np.eye(size), right[number])
        np.testing.assert_allclose(found[number], alone, rtol=1e-9, atol=1e-12)
        assert np.abs(found[number] - np.linalg.solve(normal[number] + np.eye(size) / 3, right[number])).max() > 1e-6


def test_a_matrix_that_is_never_positive_definite_changes_nothing() -> None:
    right = np.ones((3, 2))
    assert not one(np.diag([1.0, 1.0, -1e30]), right, 1.0).any()
    np.testing.assert_allclose(one(np.zeros((3, 3)), right, 0.5), 2 * right)
    np.testing.assert_allclose(one(np.diag([1.0, 1.0, -1.0]), right, 0.5), [[1 / 6] * 2] * 2 + [[1 / 4] * 2])


def test_a_matrix_that_needs_more_damping_leaves_the_others_as_they_are() -> None:
    normal, right = np.array([np.diag([x, 1.0]) for x in (1, 2, -1, 3, -1e30)]), np.ones((5, 2, 1))
    found = solved(normal, right, np.full(5, 0.5))[:, :, 0]
    expected = [[1 / 1.5, 1 / 1.5], [1 / 2.5, 1 / 1.5], [1 / 4, 1 / 6], [1 / 3.5, 1 / 1.5], [0, 0]]
    np.testing.assert_allclose(found, expected)
