"""Convolutions of every form are cut exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cuts import assert_cuts_are_exact, cut_at, group, removal, why
from oracle import net

from onnxprune.axes.facts import Pin
from onnxprune.axes.rules import facts_of

FORMS = {
    "1-D": """(float[2,3,9] x) => (float[2,2,7] y) <float[6,3,3] w, float[6] b, float[2,6,1] v>
        { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v) }""",
    "3-D": """(float[1,2,4,4,4] x) => (float[1,2,3,3,3] y) <float[5,2,2,2,2] w, float[5] b, float[2,5,1,1,1] v>
        { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v) }""",
    "dilated": """(float[1,3,9,9] x) => (float[1,2,5,5] y) <float[6,3,3,3] w, float[2,6,1,1] v>
        { a = Conv<dilations=[2,2]>(x, w)  y = Conv(a, v) }""",
    "grouped": """(float[1,3,5,5] x) => (float[1,2,5,5] y) <float[6,3,1,1] w, float[9,2,3,3] g, float[9] b,
        float[2,9,1,1] v>
        { a = Conv(x, w)  r = Relu(a)  c = Conv<group=3, pads=[1,1,1,1]>(r, g, b)  y = Conv(c, v) }""",
    "depthwise, one kernel": """(float[1,3,5,5] x) => (float[1,2,3,3] y) <float[6,3,1,1] w, float[6,1,3,3] g, float[6]
        b,
        float[2,6,1,1] v> { a = Conv(x, w)  c = Conv<group=6>(a, g, b)  r = Relu(c)  y = Conv(r, v) }""",
    "depthwise, three kernels": """(float[1,3,5,5] x) => (float[1,2,3,3] y) <float[4,3,1,1] w, float[12,1,3,3] g,
        float[12] b, float[2,12,1,1] v> { a = Conv(x, w)  c = Conv<group=4>(a, g, b)  r = Relu(c)  y = Conv(r, v) }""",
    "transposed": """(float[1,3,5,5] x) => (float[1,2,11,11] y) <float[6,3,1,1] w, float[6,4,3,3] t, float[4] b,
        float[2,4,1,1] v> { a = Conv(x, w)  c = ConvTranspose<strides=[2,2]>(a, t, b)  r = Relu(c)  y = Conv(r, v) }""",
    "transposed, 1-D": """(float[1,3,5] x) => (float[1,2,11] y) <float[6,3,1] w, float[6,4,3] t, float[4] b,
        float[2,4,1] v>
        { a = Conv(x, w)  c = ConvTranspose<strides=[2]>(a, t, b)  r = Relu(c)  y = Conv(r, v) }""",
    "transposed, grouped": """(float[1,3,5,5] x) => (float[1,2,11,11] y) <float[6,3,1,1] w, float[6,4,3,3] t, float[8]
        b,
        float[2,8,1,1] v>
        { a = Conv(x, w)  c = ConvTranspose<group=2, strides=[2,2]>(a, t, b)  r = Relu(c)  y = Conv(r, v) }""",
    "transposed, depthwise": """(float[1,3,5,5] x) => (float[1,2,11,11] y) <float[6,3,1,1] w, float[6,1,3,3] t,
        float[6] b,
        float[2,6,1,1] v>
        { a = Conv(x, w)  c = ConvTranspose<group=6, strides=[2,2]>(a, t, b)  r = Relu(c)  y = Conv(r, v) }""",
    "transposed, depthwise, two kernels": """(float[1,3,5,5] x) => (float[1,2,7,7] y) <float[4,3,1,1] w,
        float[4,2,3,3] t,
        float[8] b, float[2,8,1,1] v>
        { a = Conv(x, w)  c = ConvTranspose<group=4>(a, t, b)  r = Relu(c)  y = Conv(r, v) }""",
    "groups of two and of three meet": """(float[1,3,5,5] x) => (float[1,2,5,5] y) <float[12,3,1,1] w, float[12,6,1,1]
        g,
        float[12,4,1,1] h, float[2,12,1,1] v>
        { a = Conv(x, w)  c = Conv<group=2>(a, g)  d = Conv<group=3>(a, h)  s = Add(c, d)  y = Conv(s, v) }""",
    "grouped and depthwise meet": """(float[1,3,5,5] x) => (float[1,2,5,5] y) <float[8,3,1,1] w, float[8,4,1,1] g,
        float[8,1,1,1] h, float[2,8,1,1] v>
        { a = Conv(x, w)  c = Conv<group=2>(a, g)  d = Conv<group=8>(a, h)  s = Mul(c, d)  y = Conv(s, v) }""",
    "grouped behind grouped": """(float[1,4,5,5] x) => (float[1,2,5,5] y) <float[8,4,1,1] w, float[8,4,1,1] g,
        float[8,2,1,1] h, float[2,8,1,1] v>
        { a = Conv(x, w)  c = Conv<group=2>(a, g)  r = Relu(c)  d = Conv<group=4>(r, h)  y = Conv(d, v) }""",
}


@pytest.mark.parametrize("form", FORMS)
def test_convolutions_are_cut_exactly(form: str) -> None:
    assert_cuts_are_exact(net(FORMS[form]))


def test_groups_of_two_and_of_three_lose_what_suits_both() -> None:
    model = net(FORMS["groups of two and of three meet"])
    assert removal(model, "w[0]", 0) == {"g[1]": [0, 2, 4], "h[1]": [0, 2], "w[0]": [0, 2, 4, 6, 8, 10]}
    assert group(model, "v[1]").size == 2
    after, _ = cut_at(model, "v[1]", 0)
    assert [after.node(f"Conv_{k}").attrs["group"] for k in (1, 2)] == [2, 3]


def test_a_transposed_depthwise_convolution_has_as_many_groups_as_channels_left() -> None:
    model = net(FORMS["transposed, depthwise, two kernels"])
    assert removal(model, "w[0]", 1) == {"b[0]": [2, 3], "t[0]": [1], "v[1]": [2, 3], "w[0]": [1]}
    after, _ = cut_at(model, "w[0]", 1, 2)
    assert after.node("ConvTranspose_1").attrs["group"] == 2


def test_groups_of_a_transposed_convolution_lose_the_same_rows_and_columns() -> None:
    model = net(FORMS["transposed, grouped"])
    assert removal(model, "w[0]", 1) == {"t[0]": [1, 4], "w[0]": [1, 4]}
    assert removal(model, "t[1]", 3) == {"b[0]": [3, 7], "t[1]": [3], "v[1]": [3, 7]}
    after, _ = cut_at(model, "w[0]", 1)
    assert after.node("ConvTranspose_1").attrs["group"] == 2


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_a_kernel_that_depends_on_the_input_keeps_its_channels(operator: str) -> None:
    model = net(f"""(float[1,3,5,5] x) => (float[1,4,A,B] y) <float[4,3,1,1] w, int64[4] t = {{4,4,5,5}}, int64[4] r =
        {{4,1,1,1}}>
        {{ a = Conv(x, w)  k = Tile(a, r)  y = {operator}(a, k) }}""")
    assert why(model, "w[0]") == f"{operator} '{operator}_2': the weight is computed at run time"


def test_a_convolution_whose_groups_do_not_fit_is_left_alone() -> None:
    model = net(FORMS["grouped"])
    node = model.node("Conv_2")
    model.set_attribute(node, "group", 2)
    assert (why(model, "g[0]") or "").endswith("9 kernels cannot be shared out among 2 groups")
    assert np.array_equal(group(model, "g[0]").free, [])


def test_a_transposed_convolution_whose_groups_do_not_fit_is_left_alone() -> None:
    (node,) = (node for node in net(FORMS["transposed, grouped"]).nodes if node.op == "ConvTranspose")
    found = facts_of(replace(node, attrs={**node.attrs, "group": 4}))
    assert {f.why for f in found if isinstance(f, Pin)} == {
        f"ConvTranspose '{node.name}': 6 kernels cannot be shared out among 4 groups"
    }
