"""Grids: 0 is on each, they end where they are told to, and no value inside moves further than half a step."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.quantization.grids import Format, Grid, activation_grid, weight_grid
from onnxprune.quantization.profiles import PROFILES

UNSIGNED, SIGNED = PROFILES["u8s8"].activations, PROFILES["s8s8"].activations
RANGES = [(-1.0, 2.0), (0.0, 6.0), (-3.0, 0.0), (0.5, 4.0), (-1e-30, 1e30), (-0.3, 1e-3), (-7.0, -2.0)]


def ends(grid: Grid) -> tuple[float, float]:
    """What the least and the greatest number stand for."""
    low, high = grid.restored(np.array([grid.format.low, grid.format.high], grid.format.dtype))
    return float(low), float(high)


@pytest.mark.parametrize("format", [UNSIGNED, SIGNED])
@pytest.mark.parametrize("range", RANGES)
def test_zero_is_on_the_grid_and_what_lies_inside_moves_half_a_step_at_most(
    format: Format, range: tuple[float, float]
) -> None:
    grid = activation_grid(*range, format)
    assert grid(np.zeros(1, np.float32)) == 0
    low, high = max(range[0], ends(grid)[0]), min(range[1], ends(grid)[1])
    x = np.linspace(low, high, 999, dtype=np.float32)
    assert np.abs(grid(x) - x).max() <= 0.5001 * grid.scale
    assert ends(grid)[1] - ends(grid)[0] >= 0.99 * (max(range[1], 0) - min(range[0], 0))


def test_what_lies_outside_is_clipped() -> None:
    grid = activation_grid(-1, 1, UNSIGNED)
    assert np.array_equal(grid(np.array([-9, 9], np.float32)), np.float32(ends(grid)))


def test_a_centred_grid_has_its_zero_point_at_0_or_at_the_end() -> None:
    assert activation_grid(-1, 2, SIGNED).zero == 0
    assert activation_grid(0, 2, SIGNED).zero == -128
    assert activation_grid(-1, 2, UNSIGNED).zero == 85


@pytest.mark.parametrize("format", [UNSIGNED, SIGNED])
def test_a_tensor_that_is_always_0_has_a_grid(format: Format) -> None:
    grid = activation_grid(0, 0, format)
    assert grid.scale == 1
    assert grid(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(50))
def test_the_ends_are_never_beyond_the_limits_in_float32(seed: int) -> None:
    """Else a Clip behind the layer would have something left to do, and no kernel would take it in."""
    rng = np.random.default_rng(seed)
    limits = float(np.float32(-rng.integers(0, 2) * rng.uniform(0, 9))), float(np.float32(rng.uniform(0.01, 9)))
    for format in (UNSIGNED, SIGNED):
        low, high = ends(activation_grid(2 * limits[0], 2 * limits[1], format, limits))
        assert limits[0] <= low <= 0 <= high <= limits[1]
        assert high - low > 0.98 * (limits[1] - limits[0])


def test_weights_have_a_scale_per_channel_and_no_offset() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32) * [
        [[[1]]],
        [[[9]]],
        [[[0]]],
        [[[2]]],
    ]
    grid = weight_grid(np.abs(weight).max(axis=(1, 2, 3)), PROFILES["u8s8"].weights, 0)
    assert grid.scale.shape == (4,)
    assert not grid.zero.any()
    assert (np.abs(grid(weight) - weight) <= 0.5001 * grid.scale[:, None, None, None]).all()
    assert np.abs(grid.quantized(weight)).max(axis=(1, 2, 3)).tolist() == [127, 127, 0, 127]
