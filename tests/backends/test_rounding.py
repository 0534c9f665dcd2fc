"""What may be rounding where a network rounds to grids, and that no more than that is let pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import net

from onnxprune import compress
from onnxprune.backends.difference import TOLERANCE, difference
from onnxprune.backends.rounding import reference, tolerance

MODELS = Path(__file__).parents[2] / "models"
PLAIN = "(float[1,8] x) => (float[1,4] y) <float[8,4] w> { y = MatMul(x, w) }"
GRID = """
    (float[1,8] x) => (float[1,4] y) <float[8,4] w, float s = {0.5}>
    { q = QuantizeLinear(x, s)  d = DequantizeLinear(q, s)  y = MatMul(d, w) }"""

WHOLE = """
    (uint8[1,8] x) => (float[1,4] y) <float[8,4] w, float s = {2.0}>
    { f = Cast<to=1>(x)  q = QuantizeLinear(f, s)  d = DequantizeLinear(q, s)  y = MatMul(d, w) }"""


def midway() -> list[dict[str, np.ndarray]]:
    return [{"x": (np.arange(8, dtype=np.float32)[None] + 0.5) / 2}]


def test_without_grids_nothing_is_added() -> None:
    assert tolerance(net(PLAIN).proto(), midway()) == TOLERANCE


@pytest.mark.parametrize("text", [GRID, WHOLE], ids=["float", "integers"])
def test_what_lies_midway_may_go_to_either_number(text: str) -> None:
    model = net(text)
    batches = midway() if text == GRID else [{"x": np.arange(1, 9, dtype=np.uint8)[None]}]
    proto = model.proto()
    most, session = tolerance(proto, batches), reference(proto)
    model.put("s", np.float32(0.5 if text == GRID else 2) * np.float32(1 + 1e-6))
    other = reference(model.proto())
    found = difference(lambda feeds: other({"x": feeds[0]}), session, batches)
    assert TOLERANCE < found.relative <= most < 0.5
    wrong = difference(lambda feeds: [-y for y in session(batches[0])], session, batches)
    assert wrong.relative > most


def test_what_lies_midway_nowhere_may_not() -> None:
    batches = [{"x": np.arange(8, dtype=np.float32)[None] / 2 + 0.1}]
    assert tolerance(net(GRID).proto(), batches) == TOLERANCE


@pytest.mark.parametrize("end", ["y = Log(m)", "i = NonZero(m)  y = Cast<to=1>(i)", "i = ArgMax(m)  y = Cast<to=1>(i)"])
def test_there_is_an_end_to_what_is_right(end: str) -> None:
    text = GRID.replace("float[1,4] y", "float[A,B] y").replace("y = MatMul", "m = MatMul")
    model = net(text.rstrip()[:-1] + end + "}")
    model.put("w", np.zeros((8, 4), np.float32))
    assert TOLERANCE <= tolerance(model.proto(), midway()) <= 0.5


def test_there_may_be_nothing_to_run_on() -> None:
    assert tolerance(net(GRID).proto(), []) == TOLERANCE


@pytest.mark.parametrize("name", ["digits_mobile", "digits_resnet"])
def test_a_quantized_network_is_compiled_rightly(name: str, tmp_path: Path) -> None:
    data = {"calib": MODELS / "digits.calib.npz", "test": MODELS / "digits.test.npz"}
    result = compress(MODELS / f"{name}.onnx", "fold,quantize", targets=["host"], output=tmp_path, **data)
    (row,) = result.report.targets
    assert row.verified == "host"
    assert row.max_rel_error is not None
    proto, batches = result.model.proto(), list(result.feeds)
    assert row.max_rel_error <= tolerance(proto, batches) < 0.5
