"""Reductions, normalisations, copies and resizes in loops of ours compute what onnxruntime does."""

from __future__ import annotations

import pytest
from compiling import BITS, Small, assert_equal, assert_loops_of_ours

ENDS = sorted({BITS[0], BITS[-1]})
IMAGE = "float[2,21,5,7]"
FORMS = {
    "softmax of the last axis": f"({IMAGE} x) => ({IMAGE} y) {{ y = Softmax(x) }}",
    "softmax of the channels": f"({IMAGE} x) => ({IMAGE} y) {{ y = Softmax<axis=1>(x) }}",
    "softmax of a long row": "(float[3,133] x) => (float[3,133] y) { y = LogSoftmax(x) }",
    "layer": f"({IMAGE} x) => ({IMAGE} y) <float[7] scale, float[7] b> {{ y = LayerNormalization(x, scale, b) }}",
    "instance": f"""({IMAGE} x) => ({IMAGE} y) <float[21] scale, float[21] b>
        {{ y = InstanceNormalization(x, scale, b) }}""",
    "batch": f"""({IMAGE} x) => ({IMAGE} y) <float[21] scale, float[21] b, float[21] mean, float[21] var>
        {{ y = BatchNormalization(x, scale, b, mean, var) }}""",
    "sums": f"({IMAGE} x) => (float[2,5,7] y) <int64[1] a = {{1}}> {{ y = ReduceSum<keepdims=0>(x, a) }}",
    "sums of two axes": f"({IMAGE} x) => (float[2,1,5,1] y) <int64[2] a = {{1,3}}> {{ y = ReduceSum(x, a) }}",
    "all at once": f"({IMAGE} x) => (float[1,1,1,1] y) {{ y = ReduceMax(x) }}",
    "a norm": f"({IMAGE} x) => (float[2,21,5,1] y) {{ y = ReduceL2<axes=[3]>(x) }}",
    "across channels": f"({IMAGE} x) => ({IMAGE} y) {{ y = LRN<size=3>(x) }}",
    "attention": """(float[3,19,8] q, float[3,19,8] k, float[3,19,5] v) => (float[3,19,5] y)
        { t = Transpose<perm=[0,2,1]>(k)  s = MatMul(q, t)  p = Softmax(s)  y = MatMul(p, v) }""",
    "channels last": f"({IMAGE} x) => (float[2,5,7,21] y) {{ y = Transpose<perm=[0,2,3,1]>(x) }}",
    "turned": "(float[37,50] x) => (float[50,37] y) { y = Transpose(x) }",
    "joined": f"({IMAGE} x, float[2,16,5,7] z) => (float[2,58,5,7] y) {{ y = Concat<axis=1>(x, z, x) }}",
    "split": f"""({IMAGE} x) => (float[2,8,5,7] y, float[2,13,5,7] z) <int64[2] s = {{8,13}}>
        {{ y, z = Split<axis=1>(x, s) }}""",
    "sliced": f"""({IMAGE} x) => (float[2,9,3,7] y) <int64[2] s = {{3,4}}, int64[2] e = {{20,-6}}, int64[2] a = {{1,2}},
        int64[2] by = {{2,-1}}> {{ y = Slice(x, s, e, a, by) }}""",
    "padded": f"({IMAGE} x) => (float[2,24,8,7] y) <int64[8] p = {{0,1,0,0,0,2,3,0}}> {{ y = Pad(x, p) }}",
    "mirrored": f"""({IMAGE} x) => (float[2,21,7,9] y) <int64[8] p = {{0,0,1,1,0,0,1,1}}>
        {{ y = Pad<mode="reflect">(x, p) }}""",
    "shuffled": f"""({IMAGE} x) => ({IMAGE} y) <int64[5] t = {{2,3,7,5,7}}, int64[4] u = {{2,21,5,7}}>
        {{ a = Reshape(x, t)  b = Transpose<perm=[0,2,1,3,4]>(a)  y = Reshape(b, u) }}""",
    "depth to space": "(float[1,20,3,5] x) => (float[1,5,6,10] y) { y = DepthToSpace<blocksize=2>(x) }",
    "gathered": "(int64[2,5] i, float[9,21] x) => (float[2,5,21] y) { y = Gather(x, i) }",
}
ROUND = f"({IMAGE} u) => (float[2,37,5,7] y) <float[21,21,1,1] w, float[16,21,1,1] v>"
BLOCKS = {
    "joined at the edge of a block": "a = Conv(u, w)  b = Conv(u, v)  y = Concat<axis=1>(b, a)",
    "joined within a block": "a = Conv(u, w)  b = Conv(u, v)  c = Concat<axis=1>(a, b)  y = Relu(c)",
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_computes_what_onnxruntime_does(name: str) -> None:
    for bits in ENDS:
        assert_equal(Small(FORMS[name], bits=bits))
    assert_loops_of_ours(Small(FORMS[name]))


@pytest.mark.parametrize("name", BLOCKS)
def test_values_in_blocks_are_joined(name: str) -> None:
    for bits in ENDS:
        assert_equal(Small(f"{ROUND} {{ {BLOCKS[name]} }}", bits=bits), rtol=1e-4)


@pytest.mark.parametrize("name", ["joined", "padded", "split"])
def test_a_copy_asks_nowhere_where_it_is(name: str) -> None:
    assert not [func for func in Small(FORMS[name]).functions().values() if "if_then_else" in func.script()]


def test_what_depends_on_data_is_asked_at_every_element() -> None:
    text = "(float[9] x, float[9] z) => (float[9] y) { c = Less(x, z)  y = Where(c, x, z) }"
    assert any("Select" in func.script() for func in Small(text).functions().values())


@pytest.mark.parametrize("scale", ["1, 1, 2, 3", "1, 1, 0.6, 1.5", "1, 1, 1, 0.2"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_resize_computes_what_onnxruntime_does(mode: str, scale: str) -> None:
    ways = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    nodes = [
        f'y{i} = Resize<mode="{mode}", coordinate_transformation_mode="{way}">(x, none, s)'
        for i, way in enumerate(ways)
    ]
    outs = ", ".join(f"float[A{i},B{i},C{i},D{i}] y{i}" for i in range(len(ways)))
    small = Small(f"({IMAGE} x) => ({outs}) <float[4] s = {{{scale}}}, float[0] none> {{ {' '.join(nodes)} }}")
    assert_equal(small)
    assert [name for name in small.functions() if "resize" in name and "resize2d" not in name]


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_the_nearest_element_is_onnxruntimes(rounding: str) -> None:
    attributes = f'nearest_mode="{rounding}", coordinate_transformation_mode="half_pixel"'
    head = f"({IMAGE} x) => (float[2,21,10,14] y) <float[4] s = {{1, 1, 2, 2}}, float[0] none>"
    assert_equal(Small(f"{head} {{ y = Resize<{attributes}>(x, none, s) }}"))


def test_a_resize_of_a_resize_is_not_computed_anew_at_each_of_its_elements() -> None:
    node = 'Resize<mode="linear">'
    head = f"({IMAGE} x) => (float[2,21,20,28] y) <float[4] s = {{1, 1, 2, 2}}, float[0] none>"
    tables = "<float[4] s = {1, 1, 2, 2}, float[0] none>"
    once = Small(f"({IMAGE} x) => (float[2,21,10,14] y) {tables} {{ y = {node}(x, none, s) }}")
    twice = Small(f"{head} {{ a = {node}(x, none, s)  y = {node}(a, none, s) }}")
    assert_equal(twice)
    reads = [sum(func.script().count("x[") for func in small.functions().values()) for small in (once, twice)]
    assert reads[1] == reads[0] > 0
