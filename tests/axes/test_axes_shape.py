"""What is known of the axes of operators that move slots about, and how the sizes in them follow a cut."""

from __future__ import annotations

import pytest
from cuts import assert_cuts_are_exact, cut_at, group, removal, why
from oracle import assert_same_function, net, silenced

from onnxprune.axes.facts import Either, Fact, Pin, Tie
from onnxprune.axes.families.moving import concat, split, squeeze, transpose
from onnxprune.axes.families.reshape import reshape
from onnxprune.model import Model
from onnxprune.node import Axis, Node


def first(text: str, opset: int = 17) -> Node:
    return net(text, opset).nodes[0]


def assert_cut_is_exact(model: Model, where: str, *slots: int) -> Model:
    after, spec = cut_at(model, where, *slots)
    assert_same_function(after, silenced(model, spec))
    return after


# -- Concat and Split ------------------------------------------------------------------------------------------------


def test_every_input_of_a_concat_is_a_range_of_the_output() -> None:
    found = list(concat(first("(float[2,3] a, float[2,4] b) => (float[2,7] y) { y = Concat<axis=-1>(a, b) }")))
    assert found == [
        Tie(Axis("y", 0), Axis("a", 0)),
        Tie(Axis("y", 1), Axis("a", 1)),
        Tie(Axis("y", 0), Axis("b", 0)),
        Tie(Axis("y", 1), Axis("b", 1), shift=3),
    ]


def test_every_output_of_a_split_is_a_range_of_the_input() -> None:
    text = "(float[2,7] x) => (float[2,3] a, float[2,4] b) <int64[2] s = {3,4}> { a, b = Split<axis=1>(x, s) }"
    assert list(split(first(text))) == [
        Tie(Axis("x", 0), Axis("a", 0)),
        Tie(Axis("x", 1), Axis("a", 1)),
        Tie(Axis("x", 0), Axis("b", 0)),
        Tie(Axis("x", 1), Axis("b", 1), shift=3),
    ]


def test_a_split_is_along_the_first_axis_unless_told() -> None:
    text = "(float[7,2] x) => (float[3,2] a, float[4,2] b) <int64[2] s = {3,4}> { a, b = Split(x, s) }"
    assert list(split(first(text)))[2:] == [Tie(Axis("x", 0), Axis("b", 0), shift=3), Tie(Axis("x", 1), Axis("b", 1))]
    model = net("""(float[N,3] x) => (float[2,N] y) <float[3,7] w, int64[2] s = {3,4}, float[2,3] v, float[2,4] u>
        { c = MatMul(x, w)  t = Transpose(c)  a, b = Split(t, s)  p = Transpose(a)  q = Transpose(b)
          r = Gemm<transB=1>(p, v)  o = Gemm<transB=1>(q, u)  z = Add(r, o)  y = Transpose(z) }""")
    assert removal(model, "w[1]", 3) == {"u[1]": [0], "w[1]": [3]}
    assert_cut_is_exact(model, "w[1]", 0, 3)


def test_a_join_along_an_axis_of_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match="the size of 'a' is known at run time only"):
        list(concat(first("(float[2,N] a, float[2,4] b) => (float[2,M] y) { y = Concat<axis=1>(a, b) }")))


def test_a_split_with_sizes_computed_at_run_time_is_refused() -> None:
    text = "(float[2,7] x, int64[2] s) => (float[2,A] a, float[2,B] b) { a, b = Split<axis=1>(x, s) }"
    with pytest.raises(ValueError, match="the size of 'a' is known at run time only"):
        list(split(first(text)))


def test_a_split_with_an_unnamed_output_is_refused() -> None:
    model = net("""(float[2,7] x) => (float[2,4] b) <int64[2] s = {3,4}> { a, b = Split<axis=1>(x, s) }""")
    model.set_output(model.nodes[0], 0, "")
    with pytest.raises(ValueError, match="an output is omitted"):
        list(split(model.nodes[0]))


JOIN = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] wa, float[5,3,1,1] wb, float[2,9,1,1] v>
    { a = Conv(x, wa)  b = Conv(x, wb)  c = Concat<axis=1>(a, b)  y = Conv(c, v) }"""


def test_what_is_joined_is_cut_piece_by_piece() -> None:
    model = net(JOIN)
    assert removal(model, "wa[0]", 3) == {"v[1]": [3], "wa[0]": [3]}
    assert removal(model, "wb[0]", 0) == {"v[1]": [4], "wb[0]": [0]}


def test_both_copies_of_a_tensor_joined_to_itself_go_together() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[2,8,1,1] v>
        { a = Conv(x, w)  c = Concat<axis=1>(a, a)  y = Conv(c, v) }""")
    assert group(model, "w[0]").size == 4
    assert removal(model, "w[0]", 1) == {"v[1]": [1, 5], "w[0]": [1]}
    assert_cut_is_exact(model, "w[0]", 1, 2)


def test_channels_joined_along_the_width_are_the_same_channels() -> None:
    model = net(
        JOIN.replace("axis=1", "axis=3")
        .replace("5,3,1,1", "4,3,1,1")
        .replace("2,9", "2,4")
        .replace("float[1,2,8,8] y", "float[1,2,8,16] y")
    )
    assert removal(model, "wa[0]", 3) == {"v[1]": [3], "wa[0]": [3], "wb[0]": [3]}


SPLIT = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[6,3,1,1] w, int64[2] s = {2,4}, float[2,2,1,1] va,
    float[2,4,1,1] vb> { c = Conv(x, w)  SPLIT  d = Conv(a, va)  e = Conv(b, vb)  y = Add(d, e) }"""


def test_what_is_split_is_cut_piece_by_piece() -> None:
    model = net(SPLIT.replace("SPLIT", "a, b = Split<axis=1>(c, s)"))
    assert removal(model, "w[0]", 1) == {"va[1]": [1], "w[0]": [1]}
    assert removal(model, "w[0]", 2) == {"vb[1]": [0], "w[0]": [2]}
    assert why(model, "s[0]") == "kept whole by Split 'Split_1'"


def test_a_split_by_attribute_keeps_its_sizes_there() -> None:
    model = net(SPLIT.replace("SPLIT", "a, b = Split<axis=1, split=[2,4]>(c)"), opset=11)
    after = assert_cut_is_exact(model, "w[0]", 0, 4, 5)
    assert after.node("Split_1").attrs["split"] == (1, 2)


def test_a_split_by_input_keeps_its_sizes_there() -> None:
    model = net(SPLIT.replace("SPLIT", "a, b = Split<axis=-3>(c, s)"), opset=13)
    after = assert_cut_is_exact(model, "w[0]", 0, 4, 5)
    assert after.node("Split_1").x(1).value().tolist() == [1, 2]


@pytest.mark.parametrize(("form", "opset"), [("axis=1, num_outputs=2", 18), ("axis=1", 13), ("axis=1", 11)])
def test_a_split_in_equal_parts_may_become_unequal(form: str, opset: int) -> None:
    text = SPLIT.replace("SPLIT", f"a, b = Split<{form}>(c)").replace("2,2,1,1] va", "2,3,1,1] va")
    model = net(text.replace("2,4,1,1] vb", "2,3,1,1] vb"), opset)
    assert_cut_is_exact(model, "w[0]", 0, 1, 5)


def test_two_splits_that_share_their_sizes_are_cut_apart() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,3,8,8] y) <float[4,3,1,1] w, float[4,3,1,1] u, int64[2] s = {2,2},
        float[3,2,1,1] v1, float[3,2,1,1] v2>
        { c = Conv(x, w)  a, b = Split<axis=1>(c, s)  f = Conv(x, u)  d, e = Split<axis=1>(f, s)
          m = Mul(a, b)  n = Mul(d, e)  o = Conv(m, v1)  p = Conv(n, v2)  y = Add(o, p) }""")
    assert removal(model, "w[0]", 0) == {"v1[1]": [0], "w[0]": [0, 2]}
    assert_cut_is_exact(model, "w[0]", 0)


def test_a_split_that_is_joined_in_another_order_is_followed() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[6,3,1,1] w, int64[2] s = {2,4}, float[2,6,1,1] v>
        { c = Conv(x, w)  a, b = Split<axis=1>(c, s)  r = Relu(a)  j = Concat<axis=1>(b, r)  y = Conv(j, v) }""")
    assert removal(model, "w[0]", 0) == {"v[1]": [4], "w[0]": [0]}
    assert_cut_is_exact(model, "w[0]", 0, 3, 5)


def test_gated_linear_units_lose_both_halves() -> None:
    model = net("""(float[N,3] x) => (float[N,2] y) <float[3,8] w, float[8] b, float[4,2] v>
        { c = Gemm(x, w, b)  p, q = Split<axis=1>(c)  g = Sigmoid(q)  m = Mul(p, g)  y = Gemm(m, v) }""")
    assert removal(model, "w[1]", 1) == {"b[0]": [1, 5], "v[0]": [1], "w[1]": [1, 5]}
    assert_cut_is_exact(model, "w[1]", 1, 2)


# -- Transpose, Squeeze, Unsqueeze -----------------------------------------------------------------------------------


def test_a_transpose_moves_axes() -> None:
    assert list(transpose(first("(float[2,3,4] x) => (float[4,2,3] y) { y = Transpose<perm=[2,0,1]>(x) }"))) == [
        Tie(Axis("x", 2), Axis("y", 0)),
        Tie(Axis("x", 0), Axis("y", 1)),
        Tie(Axis("x", 1), Axis("y", 2)),
    ]


def test_a_transpose_without_order_reverses_it() -> None:
    found = list(transpose(first("(float[2,3] x) => (float[3,2] y) { y = Transpose(x) }")))
    assert found == [Tie(Axis("x", 1), Axis("y", 0)), Tie(Axis("x", 0), Axis("y", 1))]


def test_work_with_the_channels_last_is_seen_through() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[4] b, float[4,5] m,
        float[2,5,1,1] v> { a = Conv(x, w)  t = Transpose<perm=[0,2,3,1]>(a)  s = Add(t, b)  p = MatMul(s, m)
          u = Transpose<perm=[0,3,1,2]>(p)  y = Conv(u, v) }""")
    assert removal(model, "w[0]", 3) == {"b[0]": [3], "m[0]": [3], "w[0]": [3]}
    assert removal(model, "m[1]", 0) == {"m[1]": [0], "v[1]": [0]}


SQUEEZE = "(float[2,3,1,1] x) => (float[2,3] y) <int64[2] axes = {2,-1}> { y = %s }"


@pytest.mark.parametrize(
    ("form", "opset"), [("Squeeze(x, axes)", 13), ("Squeeze<axes=[2,3]>(x)", 11), ("Squeeze(x)", 13), ("Squeeze(x)", 7)]
)
def test_a_squeeze_drops_axes_of_size_one(form: str, opset: int) -> None:
    assert list(squeeze(first(SQUEEZE % form, opset))) == [
        Tie(Axis("x", 0), Axis("y", 0)),
        Tie(Axis("x", 1), Axis("y", 1)),
        *(Pin(Axis("x", d), "kept for Squeeze 'Squeeze_0'") for d in (2, 3)),
    ]


@pytest.mark.parametrize(("form", "opset"), [("Unsqueeze(x, axes)", 13), ("Unsqueeze<axes=[0,2]>(x)", 11)])
def test_an_unsqueeze_adds_axes_of_size_one(form: str, opset: int) -> None:
    text = f"(float[2,3] x) => (float[1,2,1,3] y) <int64[2] axes = {{0,2}}> {{ y = {form} }}"
    assert list(squeeze(first(text, opset))) == [
        Tie(Axis("y", 1), Axis("x", 0)),
        Tie(Axis("y", 3), Axis("x", 1)),
        *(Pin(Axis("y", d), "kept for Unsqueeze 'Unsqueeze_0'") for d in (0, 2)),
    ]


def test_a_squeeze_keeps_axes_of_size_one_that_it_does_not_name() -> None:
    text = "(float[1,3,1,1] x) => (float[1,3] y) <int64[2] axes = {2,-1}> { y = Squeeze(x, axes) }"
    assert Tie(Axis("x", 0), Axis("y", 0)) in list(squeeze(first(text)))


POOLED = """(float[2,3,8,8] x) => (float[2,5] y) <float[4,3,1,1] w, float[4,5] v, int64[2] axes = {2,3}>
    { a = Conv(x, w)  p = GlobalAveragePool(a)  s = %s  y = MatMul(s, v) }"""


@pytest.mark.parametrize(
    ("form", "opset"), [("Squeeze(p, axes)", 17), ("Squeeze(p)", 13), ("Squeeze(p)", 12), ("Squeeze(p)", 7)]
)
def test_a_squeeze_drops_the_same_axes_when_one_channel_is_left(form: str, opset: int) -> None:
    model = net(POOLED % form, opset)
    assert removal(model, "w[0]", 2) == {"v[0]": [2], "w[0]": [2]}
    after = assert_cut_is_exact(model, "w[0]", 0, 1, 3)
    assert after.tensor("s").shape == (2, 1)


def test_a_squeeze_by_name_is_left_as_it_is() -> None:
    model = net(POOLED.replace("[2,3,8,8] x", "[1,3,8,8] x").replace("[2,5] y", "[1,5] y") % "Squeeze(p, axes)")
    after = assert_cut_is_exact(model, "w[0]", 0, 1, 3)
    assert after.tensor("s").shape == (1, 1)


def test_a_constant_vector_may_get_its_axes_in_the_graph() -> None:
    model = net("""(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[4] g, int64[2] axes = {1,2},
        float[2,4,1,1] v> { a = Conv(x, w)  u = Unsqueeze(g, axes)  m = Mul(a, u)  y = Conv(m, v) }""")
    assert removal(model, "g[0]", 1) == {"g[0]": [1], "v[1]": [1], "w[0]": [1]}
    assert_cut_is_exact(model, "g[0]", 0, 3)


# -- Flatten and Reshape ---------------------------------------------------------------------------------------------


def flat(source: str, target: str, opset: int = 17) -> list[Fact]:
    """Of one Reshape between shapes, of which a target with several dynamic sizes is computed."""
    sizes = [s if s.isdigit() else "-1" for s in target.split(",")]
    given = f"int64[{len(sizes)}] t"
    inputs, constants = (f", {given}", "") if sizes.count("-1") > 1 else ("", f"<{given} = {{{','.join(sizes)}}}>")
    text = f"(float[{source}] x{inputs}) => (float[{target}] y) {constants} {{ y = Reshape(x, t) }}"
    return list(reshape(first(text, opset)))


def either(tensor: str, sizes: dict[int, tuple[int, int]], product: Axis) -> Either:
    """``sizes`` gives repeat and modulo of the tie of every dimension."""
    options = [
        (Tie(Axis(tensor, d), product, repeat=r, modulo=m), tuple(Axis(tensor, o) for o in sizes if o != d))
        for d, (r, m) in sizes.items()
    ]
    return Either(tuple(options), "kept whole by Reshape 'Reshape_0'")


def test_a_reshape_that_merges_axes_may_be_cut_along_either() -> None:
    assert flat("2,3,4,5", "2,60") == [
        Tie(Axis("x", 0), Axis("y", 0)),
        either("x", {1: (20, 3), 2: (5, 4), 3: (1, 5)}, Axis("y", 1)),
    ]


def test_a_reshape_that_splits_an_axis_may_be_cut_along_either_part() -> None:
    assert flat("2,12", "2,3,4") == [Tie(Axis("x", 0), Axis("y", 0)), either("y", {1: (4, 3), 2: (1, 4)}, Axis("x", 1))]


def test_axes_of_size_one_are_no_hindrance() -> None:
    assert flat("1,3,1,4", "3,4,1") == [Tie(Axis("x", 1), Axis("y", 0)), Tie(Axis("x", 3), Axis("y", 1))]


def test_axes_that_are_regrouped_stay_whole() -> None:
    found = flat("2,4,6", "2,3,8")
    why = "regrouped by Reshape 'Reshape_0'"
    assert found == [Tie(Axis("x", 0), Axis("y", 0)), *(Pin(Axis(name, d), why) for name in "xy" for d in (1, 2))]


def test_one_dynamic_size_passes_a_reshape() -> None:
    assert flat("N,3,4", "M,12")[0] == Tie(Axis("x", 0), Axis("y", 0))


UNKNOWN = "kept whole by Reshape 'Reshape_0': it merges or splits sizes known at run time only"


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        ("N,3,4", "M,4", [(2, 1)]),
        ("N,4", "4,M", []),
        ("N,4,M", "K,4", []),
        ("4,N,6", "2,M,12", []),
        ("N,4,H,W", "N,4,K", [(0, 0), (1, 1)]),
        ("N,4,H,W,6,7", "N,4,K,6,7", [(0, 0), (1, 1), (4, 3), (5, 4)]),
        ("N,4,H,6", "M,4,K,6", [(3, 3)]),  # M may be 2 N and K half of H
        ("2,4,H,6", "2,4,K,6", [(0, 0), (1, 1), (2, 2), (3, 3)]),
    ],
)
def test_a_reshape_is_followed_from_both_ends_as_far_as_sizes_tell(
    source: str, target: str, same: list[tuple[int, int]]
) -> None:
    found = flat(source, target)
    assert {f for f in found if isinstance(f, Tie)} == {Tie(Axis("x", a), Axis("y", b)) for a, b in same}
    open_ = [Axis("x", d) for d in range(source.count(",") + 1) if d not in dict(same)]
    open_ += [Axis("y", d) for d in range(target.count(",") + 1) if d not in dict(same).values()]
    assert {f for f in found if not isinstance(f, Tie)} == {Pin(axis, UNKNOWN) for axis in open_}


def test_a_target_computed_at_run_time_keeps_what_it_makes() -> None:
    text = "(float[2,6] x, int64[2] t) => (float[A,B] y) { y = Reshape(x, t) }"
    assert list(reshape(first(text))) == [Pin(Axis(name, d), UNKNOWN) for name in "xy" for d in (0, 1)]


def test_a_flatten_merges_all_axes_behind_its_own() -> None:
    found = list(reshape(first("(float[N,3,2,2] x) => (float[N,12] y) { y = Flatten(x) }")))
    assert found[0] == Tie(Axis("x", 0), Axis("y", 0))
    assert isinstance(found[1], Either)
    assert [tie.repeat for tie, _ in found[1].options] == [4, 2, 1]


FLATTEN = """(float[N,3,4,4] x) => (float[N,2] y) <float[5,3,3,3] w, float[20,2] v, int64[2] t = {%s}>
    { a = Conv(x, w)  f = %s  y = Gemm(f, v) }"""


@pytest.mark.parametrize(
    ("target", "form"),
    [("0,-1", "Reshape(a, t)"), ("-1,20", "Reshape(a, t)"), ("0,20", "Reshape(a, t)"), ("1,1", "Flatten(a)")],
)
def test_all_pixels_of_a_channel_go_before_a_dense_layer(target: str, form: str) -> None:
    model = net(FLATTEN % (target, form))
    assert removal(model, "w[0]", 1) == {"v[0]": [4, 5, 6, 7], "w[0]": [1]}
    assert_cut_is_exact(model, "w[0]", 1, 4)


@pytest.mark.parametrize(
    ("before", "after"),
    [((0, -1), [0, -1]), ((-1, 20), [-1, 16]), ((0, 20), [0, 16]), ((2, 20), [2, 16]), ((2, -1), [2, -1])],
)
def test_a_reshape_keeps_minus_one_and_zero_where_they_are_right(before: tuple[int, int], after: list[int]) -> None:
    text = FLATTEN.replace("float[N,", "float[2,") % (",".join(map(str, before)), "Reshape(a, t)")
    result = assert_cut_is_exact(net(text), "w[0]", 1)
    assert result.node("Reshape_1").x(1).value().tolist() == after


def test_a_zero_that_would_copy_a_smaller_size_is_written_out() -> None:
    model = net("""(float[2,5,6] x) => (float[3,2,4] y) <float[3,5,1] w, int64[3] t = {6,0,2}, float[6,4] v>
        { a = Conv(x, w)  b = Reshape(a, t)  c = Transpose<perm=[1,2,0]>(b)  y = MatMul(c, v) }""")
    assert removal(model, "w[0]", 1) == {"v[0]": [1, 4], "w[0]": [1]}
    after = assert_cut_is_exact(model, "w[0]", 1)
    assert after.node("Reshape_1").x(1).value().tolist() == [4, 3, 2]


def test_two_reshapes_that_share_their_target_are_cut_apart() -> None:
    model = net("""(float[2,3,2,2] x) => (float[2,3] y) <float[4,3,1,1] w, float[4,3,1,1] u, int64[2] t = {0,16},
        float[16,3] v1, float[16,3] v2>
        { a = Conv(x, w)  b = Conv(x, u)  c = Reshape(a, t)  d = Reshape(b, t)  e = Gemm(c, v1)  f = Gemm(d, v2)
          y = Add(e, f) }""")
    after = assert_cut_is_exact(model, "w[0]", 3)
    assert [after.tensor(n).shape for n in "cd"] == [(2, 12), (2, 16)]
    assert why(model, "t[0]") == "kept whole by Reshape 'Reshape_2'"


def test_a_chain_of_reshapes_is_followed() -> None:
    model = net("""(float[2,3,2,2] x) => (float[2,3] y) <float[4,3,1,1] w, int64[3] t1 = {0,4,-1}, int64[2] t2 = {2,-1},
        int64[4] t3 = {2,4,2,2}, int64[2] t4 = {-1,16}, float[16,3] v>
        { a = Conv(x, w)  b = Reshape(a, t1)  c = Reshape(b, t2)  d = Reshape(c, t3)  e = Relu(d)  f = Reshape(e, t4)
          y = MatMul(f, v) }""")
    assert removal(model, "w[0]", 2) == {"v[0]": [8, 9, 10, 11], "w[0]": [2]}
    assert_cut_is_exact(model, "w[0]", 0, 2)


def test_tokens_made_of_pixels_keep_their_features() -> None:
    model = net("""(float[N,3,4,4] x) => (float[N,2,4,4] y) <float[5,3,1,1] w, int64[3] t = {0,5,16}, float[5,6] m,
        int64[4] back = {0,6,4,4}, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Reshape(a, t)  c = Transpose<perm=[0,2,1]>(b)  d = MatMul(c, m)
          e = Transpose<perm=[0,2,1]>(d)  f = Reshape(e, back)  y = Conv(f, v) }""")
    assert removal(model, "w[0]", 4) == {"m[0]": [4], "w[0]": [4]}
    assert removal(model, "m[1]", 5) == {"m[1]": [5], "v[1]": [5]}
    assert_cut_is_exact(model, "m[1]", 0, 5)


SHUFFLE = """(float[1,3,4,4] x) => (float[1,2,4,4] y) <float[6,3,1,1] w, int64[5] apart = {0,2,3,4,4},
    int64[4] back = {0,6,4,4}, float[2,6,1,1] v>
    { a = Conv(x, w)  b = Reshape(a, apart)  c = Transpose<perm=[0,2,1,3,4]>(b)  d = Reshape(c, back)
      y = Conv(d, v) }"""


def test_a_channel_shuffle_loses_the_same_channels_of_every_group() -> None:
    model = net(SHUFFLE)
    assert removal(model, "w[0]", 1) == {"v[1]": [2, 3], "w[0]": [1, 4]}
    assert_cut_is_exact(model, "w[0]", 1)


def test_heads_of_attention_stay_whole() -> None:
    model = net("""(float[1,5,4] x) => (float[1,2,5,5] y) <float[4,6] q, float[4,6] k, int64[4] t = {0,5,2,3}>
        { a = MatMul(x, q)  b = Reshape(a, t)  c = Transpose<perm=[0,2,1,3]>(b)
          d = MatMul(x, k)  e = Reshape(d, t)  f = Transpose<perm=[0,2,3,1]>(e)  y = MatMul(c, f) }""")
    assert why(model, "q[1]") is not None
    assert why(model, "k[1]") is not None


def test_channels_that_are_regrouped_with_pixels_go_with_all_that_hold_theirs() -> None:
    model = net(
        """(float[1,3,4,6] x) => (float[1,2,8,12] y) <float[4,3,1,1] w, int64[4] t = {1,2,8,-1}, float[2,2,1,1] v>
        { a = Conv(x, w)  b = Reshape(a, t)  y = Conv(b, v) }""".replace("8,12", "8,6")
    )
    assert removal(model, "w[0]", 1) == {"v[1]": [0], "w[0]": [0, 1]}
    assert_cuts_are_exact(model)
