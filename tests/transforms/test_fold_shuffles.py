"""Runs of Reshape and Transpose that only permute channels become one Gather."""

from __future__ import annotations

import pytest
from oracle import assert_same_function, net

import onnxprune

HALVES = """(float[N,6,2,2] x) => (float[N,6,2,2] y) <int64[5] apart = {0, 2, 3, 2, 2}, int64[4] back = {0, 6, 2, 2}>
    { a = Reshape(x, apart)  t = Transpose<perm=[0,2,1,3,4]>(a)  y = Reshape(t, back) }"""
LAST = """(float[2,2,2,6] x) => (float[2,2,2,6] y) <int64[5] apart = {2, 2, 2, 3, 2}, int64[4] back = {2, 2, 2, 6}>
    { a = Reshape(x, apart)  t = Transpose<perm=[0,1,2,4,3]>(a)  y = Reshape(t, back) }"""
READ = HALVES.replace("y) <", "y, float[N,3,2,2,2] t) <")
PIXELS = """(float[2,4,2,2] x) => (float[2,4,2,2] y) <int64[4] back = {2, 4, 2, 2}>
    { t = Transpose<perm=[0,2,3,1]>(x)  y = Reshape(t, back) }"""
BATCH = """(float[4,6,2,2] x) => (float[4,6,2,2] y) <int64[5] apart = {2, 2, 6, 2, 2}, int64[4] back = {4, 6, 2, 2}>
    { a = Reshape(x, apart)  t = Transpose<perm=[1,0,2,3,4]>(a)  y = Reshape(t, back) }"""


@pytest.mark.parametrize(("text", "slots"), [(HALVES, [0, 3, 1, 4, 2, 5]), (LAST, [0, 2, 4, 1, 3, 5])])
def test_a_shuffle_becomes_one_gather_of_the_same_function(text: str, slots: list[int]) -> None:
    before = net(text)
    after = onnxprune.compress(before, passes="fold").model
    (gather,) = after.nodes
    assert (gather.op, gather.x(1).value().tolist()) == ("Gather", slots)
    assert_same_function(after, before, rtol=0)


@pytest.mark.parametrize("text", [READ, PIXELS, BATCH])
def test_what_does_more_or_is_read_in_between_stays(text: str) -> None:
    after = onnxprune.compress(net(text), passes="fold").model
    assert "Gather" not in {node.op for node in after.nodes}


def test_shuffled_channels_can_go_one_by_one() -> None:
    net_of = """(float[1,3,4,4] x) => (float[1,2,4,4] y)
        <float[6,3,1,1] w, float[2,6,1,1] v, int64[5] apart = {0, 2, 3, 4, 4}, int64[4] back = {0, 6, 4, 4}>
        { c = Conv(x, w)  a = Reshape(c, apart)  t = Transpose<perm=[0,2,1,3,4]>(a)  s = Reshape(t, back)
          r = Relu(s)  y = Conv(r, v) }"""
    result = onnxprune.compress(net(net_of), passes="fold,prune:ratio=20%:align=1:heal=none")
    assert result.model.tensor("w").shape == (5, 3, 1, 1)
