"""Functions of each element: as exact as onnxruntime's, on vectors, in the kernel before them where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import erf

import numpy as np
import pytest
from compiling import BITS, Small, assert_equal, assert_loops_of_ours

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0, 88.7, 88.8, -87.3, -104.0, 1e-39, 1e30, -1e30]

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Exp": np.exp,
    "Log": np.log,
    "Tanh": np.tanh,
    "Erf": np.vectorize(erf, otypes=[np.float64]),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Softplus": lambda x: np.logaddexp(0, x),
    "Sinh": np.sinh,
    "Cosh": np.cosh,
}


def numbers() -> np.ndarray:
    rng = np.random.default_rng(0)
    parts = [SPECIAL, rng.uniform(-110, 110, 400), rng.standard_normal(400), np.exp(rng.uniform(-80, 80, 187))]
    return np.concatenate(parts).astype(np.float32)


def assert_close(got: np.ndarray, exact: np.ndarray) -> None:
    """Relative 1e-6, where there are normal numbers; infinite and unknown at the same places."""
    with np.errstate(over="ignore"):
        want = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1.2e-38)


@pytest.mark.parametrize("bits", BITS)
def test_functions_are_exact_to_a_millionth_over_all_numbers(bits: int) -> None:
    x = numbers()
    for name, got in zip(FUNCTIONS, every_function(x.size, bits).run({"x": x}), strict=True):
        with np.errstate(all="ignore"):
            assert_close(got, FUNCTIONS[name](x.astype(np.float64)))


def every_function(size: int, bits: int) -> Small:
    text = " ".join(f"{name}_ = {name}(x)" for name in FUNCTIONS)
    outs = ", ".join(f"float[{size}] {name}_" for name in FUNCTIONS)
    return Small(f"(float[{size}] x) => ({outs}) {{ {text} }}", bits=bits)


def test_an_error_of_a_hundred_thousandth_is_seen() -> None:
    exact = np.exp(np.linspace(-80, 80, 100))
    assert_close(exact.astype(np.float32), exact)
    with pytest.raises(AssertionError):
        assert_close((exact * (1 + 1e-5)).astype(np.float32), exact)
    with pytest.raises(AssertionError):
        assert_close(np.float32([np.nan]), np.array([1.0]))


def test_functions_call_no_library() -> None:
    small = every_function(37, BITS[-1])
    written = "".join(func.script() for func in small.functions().values())
    assert not [word for word in ("T.exp", "T.log", "T.tanh", "T.erf", "T.sigmoid") if f"{word}(" in written]
    assert "T.sin(" in "".join(
        f.script() for f in Small("(float[9] x) => (float[9] y) { y = Sin(x) }").functions().values()
    )


MAPS = {
    "elu": "y = Elu<alpha=0.7>(x)",
    "selu": "y = Selu(x)",
    "softsign": "y = Softsign(x)",
    "mish": "y = Mish(x)",
    "thresholded": "y = ThresholdedRelu<alpha=0.3>(x)",
    "shrink": "y = Shrink<lambd=0.4, bias=0.2>(x)",
    "floor": "y = Floor(x)",
    "ceil": "y = Ceil(x)",
    "round": "h = Mul(x, two) r = Round(h) q = Div(r, two) y = Round(q)",
    "sign": "y = Sign(x)",
    "gelu": "y = Gelu(x)",
    "gelu with a tangent": 'y = Gelu<approximate="tanh">(x)',
    "per channel": "y = PRelu(x, slope)",
    "comparison": "c = Less(x, z) y = Where(c, x, z)",
    "cast": "i = Cast<to=7>(x) y = Cast<to=1>(i)",
    "squares": "y = Pow(x, two)",
    "cubes": "y = Pow(x, three)",
    "roots": "a = Abs(x) y = Pow(a, half)",
    "inverse": "a = Exp(x) y = Pow(a, minus)",
    "fourth powers": "y = Pow(x, four)",
    "any power": "a = Abs(x) y = Pow(a, odd)",
    "read twice": "s = Sigmoid(x) m = Mul(x, s) t = Tanh(m) y = Add(m, t)",
}
CONSTANTS = """float two = {2}, float three = {3}, float half = {0.5}, float minus = {-1}, float four = {4},
 float odd = {1.7}, float[5,1,1] slope, float[5,5,1,1] w"""


SHAPE = "float[2,5,3,7]"


def every_map(names: list[str], before: str, bits: int = BITS[-1]) -> Small:
    """Maps side by side, each with names of its own."""
    outs = ", ".join(f"{SHAPE} y_{i}" for i in range(len(names)))
    text = " ".join(re.sub(r"\b([a-wy])\b(?!=)", rf"\1_{i}", MAPS[name]) for i, name in enumerate(names))
    return Small(f"({SHAPE} u, {SHAPE} z) => ({outs}) <{CONSTANTS}> {{ {before} {text} }}", 20, bits)


@pytest.mark.parametrize("bits", BITS)
def test_maps_compute_what_onnxruntime_does(bits: int) -> None:
    assert_equal(every_map([*MAPS], "x = Identity(u)", bits), scale=3)


def test_maps_behind_a_convolution_are_a_part_of_its_loops() -> None:
    for name in ("mish", "per channel", "squares", "read twice"):
        small = every_map([name], "x = Conv(u, w)")
        assert_equal(small, rtol=1e-4)
        assert not [found for found in small.functions() if "product" not in found and "block" not in found]


def test_a_power_of_another_kind_is_left_to_the_frontend() -> None:
    head = f"(float[9] x) => (float[9] y) <{CONSTANTS}>"
    assert "pow" in Small(f"{head} {{ y = Pow(x, two) }}").functions()
    assert "pow" not in Small(f"{head} {{ y = Pow(x, odd) }}").functions()


def test_maps_are_in_loops_of_ours() -> None:
    assert_loops_of_ours(Small("(float[3,7] x) => (float[3,7] y) { a = Exp(x) y = Mul(a, x) }"))
    with pytest.raises(AssertionError, match="loops of ours"):
        assert_loops_of_ours(
            Small("(float[3,7] x) => (float[3,2] y, int64[3,2] i) <int64[1] k = {2}> { y, i = TopK(x, k) }")
        )
