"""What is known of the axes of Reshape and Flatten, and how the sizes in them follow a cut."""

from __future__ import annotations

import numpy as np
import pytest
from cuts import assert_cut_is_exact, assert_cuts_are_exact, cut_at, removal, why
from oracle import net, run, silenced

from onnxprune.axes.facts import Either, Fact, Pin, Tie
from onnxprune.axes.families.reshape import reshape
from onnxprune.node import Axis, Node


def first(text: str, opset: int = 17) -> Node:
    return net(text, opset).nodes[0]


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


def test_what_is_regrouped_is_cut_along_one_axis_on_either_side() -> None:
    """Of [4, 6] → [2, 12] the rows may go in pairs, or the columns in halves."""
    (found,) = (f for f in flat("2,4,6", "2,2,12") if isinstance(f, Either))
    assert [(tie.a.dim, tie.b.dim) for tie, _ in found.options] == [(1, 1), (2, 2)]
    assert {axis for _, whole in found.options for axis in whole} == {Axis(n, d) for n in "xy" for d in (1, 2)}


def test_of_what_is_regrouped_one_side_is_cut_exactly() -> None:
    model = net("""(float[2,3,6] x) => (float[2,3,12] y) <float[8,3] w, int64[3] t = {0,4,12}, float[3,4] v>
        { a = MatMul(w, x)  r = Relu(a)  b = Reshape(r, t)  y = MatMul(v, b) }""")
    assert removal(model, "w[0]", 3) == {"v[1]": [1], "w[0]": [2, 3]}
    assert_cuts_are_exact(model)


FORMS = {
    "merged": """(float[2,3,4] x) => (float[2,5] y) <float[6,3,1] w, int64[2] t = {0,-1}, float[24,5] v>
        { a = Conv(x, w)  r = Relu(a)  b = Reshape(r, t)  y = MatMul(b, v) }""",
    "split": """(float[2,3] x) => (float[2,2,4] y) <float[3,24] w, int64[3] t = {0,6,4}, float[2,6,1] v>
        { a = MatMul(x, w)  r = Relu(a)  b = Reshape(r, t)  y = Conv(b, v) }""",
    "to vectors and back": """(float[2,3,4,4] x) => (float[2,2,4,4] y) <float[6,3,1,1] w, int64[2] t = {0,-1},
        int64[4] u = {-1,6,4,4}, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Reshape(a, t)  r = Relu(b)  c = Reshape(r, u)  y = Conv(c, v) }""",
    "shuffle of three groups": """(float[2,3,4,4] x) => (float[2,2,4,4] y) <float[12,3,1,1] w, int64[5] t =
        {-1,3,4,4,4},
        int64[4] u = {0,-1,4,4}, float[2,12,1,1] v>
        { a = Conv(x, w)  b = Reshape(a, t)  c = Transpose<perm=[0,2,1,3,4]>(b)  d = Reshape(c, u)  y = Conv(d, v) }""",
    "windows": """(float[2,3,4,6] x) => (float[2,4,6,2] y) <float[6,3,1,1] w, int64[6] t = {0,2,2,3,2,6}, int64[3] u =
        {-1,4,6},
        float[6,5] m, int64[6] p = {-1,2,3,2,2,5}, int64[4] q = {-1,4,6,5}, float[5,2] v>
        { a = Conv(x, w)  h = Transpose<perm=[0,2,3,1]>(a)  b = Reshape(h, t)  c = Transpose<perm=[0,1,3,2,4,5]>(b)
          d = Reshape(c, u)  e = MatMul(d, m)  r = Relu(e)  f = Reshape(r, p)  g = Transpose<perm=[0,1,3,2,4,5]>(f)
          k = Reshape(g, q)  y = MatMul(k, v) }""",
    "heads": """(float[2,5,3] x) => (float[2,5,4] y) <float[3,12] w, int64[4] t = {0,0,3,4}, float[4,4] m, int64[3] u
        = {0,0,12},
        float[12,4] v>
        { a = MatMul(x, w)  b = Reshape(a, t)  c = Transpose<perm=[0,2,1,3]>(b)  d = Relu(c)
          e = Transpose<perm=[0,2,1,3]>(d)  f = Reshape(e, u)  y = MatMul(f, v) }""",
    "groups that are normalised": """(float[2,3,4,4] x) => (float[2,2,4,4] y) <float[6,3,1,1] w, int64[3] t = {0,3,-1},
        float[3] scale, float[3] b, int64[4] u = {0,6,4,4}, float[2,6,1,1] v>
        { a = Conv(x, w)  c = Reshape(a, t)  n = Relu(c)  d = Reshape(n, u)  y = Conv(d, v) }""",
    "flatten of the last axes": """(float[2,3,4] x) => (float[12,5] y) <float[6,3,1] w, float[4,5] v, int64[2] t =
        {12,4}>
        { a = Conv(x, w)  f = Flatten<axis=-1>(a)  y = MatMul(f, v) }""",
}


@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("flatten of the last")])
def test_what_is_reshaped_is_cut_exactly(form: str) -> None:
    assert_cuts_are_exact(net(FORMS[form]), seeds=5)


def test_channels_that_become_samples_of_an_output_stay() -> None:
    assert why(net(FORMS["flatten of the last axes"]), "w[0]") == "graph output 'y'"


def test_a_zero_that_means_nothing_at_all_stays_zero() -> None:
    model = net("""(float[2,3] x, float[0,4] e) => (float[2,2] y, float[4,0,1] z) <float[3,6] w, int64[3] t = {4,0,1},
        float[6,2] v> { a = MatMul(x, w)  y = MatMul(a, v)  z = Reshape<allowzero=1>(e, t) }""")
    assert_cuts_are_exact(model)


def test_sizes_that_may_be_zero_are_written_out_all_the_same() -> None:
    model = net("""(float[N,3,2,2] x) => (float[N,5] y) <float[6,3,1,1] w, int64[2] t = {-1,24}, float[24,5] v>
        { a = Conv(x, w)  b = Reshape<allowzero=1>(a, t)  y = MatMul(b, v) }""")
    after, spec = cut_at(model, "w[0]", 1)
    assert after.node("Reshape_1").x(1).value().tolist() == [-1, 20]
    for batch in (0, 3):
        x = {"x": np.random.default_rng(0).normal(size=(batch, 3, 2, 2)).astype(np.float32)}
        (got,), (want,) = run(after, x), run(silenced(model, spec), x)
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_regrouping_that_is_too_large_to_follow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxprune.axes.families.reshape.MOST", 10)
    pins = [Pin(Axis(name, d), "regrouped by Reshape 'Reshape_0'") for name in "xy" for d in (1, 2)]
    assert flat("2,4,6", "2,2,12") == [Tie(Axis("x", 0), Axis("y", 0)), *pins]
