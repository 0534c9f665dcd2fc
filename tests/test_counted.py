"""Sizes that onnx leaves open though they can be counted."""

from __future__ import annotations

import pytest
from cuts import assert_cuts_are_exact
from oracle import net

CONSTANTS = """<int64[1] zero = {0}, int64[2] two = {0, 1}, int64[1] rest = {-1}, int64[1] pair = {2},
    int64[2] swap = {2, -1}>"""


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("(float[N,3,2,2] x) => (float[N,M] y) { s = Shape(x)  n = Gather<axis=0>(s, zero)  t = Concat<axis=0>(n, rest)"
         "  r = Reshape(x, t)  y = Relu(r) }", ("N", 12)),
        ("(float[N,H,4] x) => (float[N,H,A,B] y) { s = Shape(x)  n = Gather<axis=0>(s, two)  t = Concat<axis=0>"
         "(n, pair, rest)  r = Reshape(x, t)  y = Relu(r) }", ("N", "H", 2, 2)),
        ("(float[N,3] x) => (float[A,M] y) { r = Reshape(x, swap)  y = Relu(r) }", (2, None)),
    ],
    ids=["a batch of any size", "two sizes that pass", "a symbol that is divided"],
)  # fmt: skip
def test_what_is_left_of_a_reshape_is_counted(text: str, shape: tuple[object, ...]) -> None:
    signature, body = text.split(" {", 1)
    found = net(f"{signature} {CONSTANTS} {{{body}").tensor("r").shape
    assert found is not None
    assert tuple(d if isinstance(d, int) or d in ("N", "H") else None for d in found) == shape


def test_channels_before_a_view_of_a_batch_of_any_size_can_be_cut() -> None:
    assert_cuts_are_exact(
        net("""(float[N,3,2,2] x) => (float[N,5] y)
            <float[6,3,1,1] w, float[24,5] v, int64[1] zero = {0}, int64[1] rest = {-1}>
            { c = Conv(x, w)  s = Shape(c)  n = Gather<axis=0>(s, zero)  t = Concat<axis=0>(n, rest)
              r = Reshape(c, t)  y = Gemm(r, v) }"""),
    )
