"""What Slice, Gather, Pad, Tile and their kin read, repeat and place is cut exactly."""

from __future__ import annotations

import pytest
from cuts import assert_cuts_are_exact, cut_at, removal, why
from oracle import assert_same_function, net, silenced

from onnxprune.axes.facts import Pin, Tie
from onnxprune.axes.rules import facts_of
from onnxprune.model import Model
from onnxprune.node import Axis, Node

FULL = "(float[2,3,4,4] x) => (float[2,2,4,4] y) <float[8,3,1,1] w, float[2,{},1,1] v, float[2,8,1,1] u, {}>" + (
    " {{ a = Conv(x, w)  b = {}  m = Conv(b, v)  n = Conv(a, u)  y = Add(m, n) }}"
)


def vector(name: str, *values: int) -> str:
    return f"int64[{len(values)}] {name} = {{{','.join(map(str, values))}}}"


def bounds(starts: int, ends: int, steps: int = 1, axes: int = 1) -> str:
    return ", ".join(vector(n, k) for n, k in (("s", starts), ("e", ends), ("x", axes), ("t", steps))).replace(
        "] x", "] ax"
    )


WHOLE = 2**63 - 1
SLICE = "Slice(a, s, e, ax, t)"
CASES = {
    "slice": (SLICE, 4, bounds(2, 6)),
    "slice, every second": (SLICE, 4, bounds(0, 8, 2)),
    "slice, every third": (SLICE, 3, bounds(0, WHOLE, 3)),
    "slice, backwards": (SLICE, 8, bounds(-1, -WHOLE, -1)),
    "slice, backwards, every second": (SLICE, 3, bounds(6, 0, -2)),
    "slice, from the end": (SLICE, 3, bounds(-3, 2**31 - 1, 1, -3)),
    "slice, all": (SLICE, 8, bounds(0, 2**31 - 1)),
    "slice of several axes": (
        "Slice(a, s, e, ax, t)", 5,
        "int64[3] s = {0,3,-4}, int64[3] e = {2,8,100}, int64[3] ax = {0,1,3}, int64[3] t = {1,1,1}",
    ),
    "slice without axes": ("Slice(a, s, e)", 5, "int64[2] s = {0,1}, int64[2] e = {2,6}"),
    "gather": ("Gather<axis=1>(a, i)", 3, vector("i", 1, 4, 6)),
    "gather, permuted": ("Gather<axis=1>(a, i)", 8, vector("i", 3, 0, 7, 2, 5, 1, 4, 6)),
    "gather, some twice": ("Gather<axis=-3>(a, i)", 5, vector("i", 1, -4, 1, 6, 6)),
    "pad": ("Pad(a, p)", 11, vector("p", 0, 1, 0, 0, 0, 2, 0, 0)),
    "pad of space": ("Pad(a, p)", 8, vector("p", 0, 0, 0, 1, 0, 0, 0, -1)),
    "pad, negative": ("Pad(a, p)", 5, vector("p", 0, -2, 0, 0, 0, -1, 0, 0)),
    "pad, both": ("Pad(a, p)", 7, vector("p", 0, -2, 0, 0, 0, 1, 0, 0)),
    "pad with a number": ("Pad(a, p, number)", 9, vector("p", 0, 1, 0, 0, 0, 0, 0, 0) + ", float number = {1.5}"),
    "tile": ("Tile(a, r)", 24, vector("r", 1, 3, 1, 1)),
    "expand": ("Expand(a, s)", 8, vector("s", 2, 1, 4, 1)),
    "joined to itself": ("Concat<axis=1>(a, a)", 16, "float one"),
    "depth to space and back": ("SpaceToDepth<blocksize=2>(d)", 8, "float one"),
    "gather nd": ("Transpose<perm=[1,0,2,3]>(g)", 3, "int64[3,1] i = {0,7,3}"),
}  # fmt: skip
BEFORE = {
    "depth to space and back": "d = DepthToSpace<blocksize=2>(a)",
    "gather nd": "c = Transpose<perm=[1,0,2,3]>(a)  g = GatherND(c, i)",
}


def case(name: str) -> Model:
    operator, made, constants = CASES[name]
    text = FULL.format(made, constants, operator)
    return net(text.replace("b = ", f"{BEFORE.get(name, '')}  b = "))


@pytest.mark.parametrize("name", CASES)
def test_what_is_moved_is_cut_exactly(name: str) -> None:
    assert_cuts_are_exact(case(name), seeds=5)


@pytest.mark.parametrize(
    ("operator", "made", "opset"),
    [
        ("Slice<starts=[2], ends=[6], axes=[1]>(a)", 4, 9),
        ("Slice<starts=[0, 1], ends=[2, 9223372036854775807]>(a)", 7, 9),
        ("Pad<pads=[0,1,0,0,0,2,0,0], value=1.5>(a)", 11, 10),
        ("Pad<pads=[0,-1,0,0,0,2,0,0]>(a)", 9, 10),
        ("Split<axis=1, split=[3,5]>(a)", 3, 11),
    ],
)
def test_sizes_in_attributes_stay_in_attributes(operator: str, made: int, opset: int) -> None:
    model = net(FULL.format(made, "float one", operator).replace("b = Split", "b, c = Split"), opset)
    assert_cuts_are_exact(model, seeds=5)
    assert len(moving(cut_at(model, "w[0]", 2)[0]).inputs) == 1


def moving(model: Model) -> Node:
    """The operator between."""
    return model.node(next(node.name for node in model.nodes if node.op not in ("Conv", "Add")))


def test_a_slice_of_every_second_channel_reads_every_second_of_those_left() -> None:
    model = case("slice, every second")
    assert removal(model, "w[0]", 2) == {"u[1]": [2], "v[1]": [1], "w[0]": [2]}
    after, spec = cut_at(model, "w[0]", 0, 1)
    assert [after.node("Slice_1").x(k).value().tolist() for k in (1, 2, 4)] == [[0], [6], [2]]
    assert_same_function(after, silenced(model, spec))


def test_what_no_slice_reads_is_gathered() -> None:
    model = case("slice, every second")
    after, spec = cut_at(model, "w[0]", 1)
    (picked,) = (node for node in after.nodes if node.op == "Gather")
    assert picked.x(1).value().tolist() == [0, 1, 3, 5]
    assert after.node("Slice_1").x() == picked.y()
    assert_same_function(after, silenced(model, spec))


def test_slices_that_share_their_bounds_are_cut_apart() -> None:
    model = net("""(float[2,3,4,4] x) => (float[2,2,4,4] y) <float[8,3,1,1] w, float[8,3,1,1] z, int64[1] s = {2},
        int64[1] e = {6}, int64[1] ax = {1}, float[2,4,1,1] v, float[2,4,1,1] u>
        { a = Conv(x, w)  b = Conv(x, z)  c = Slice(a, s, e, ax)  d = Slice(b, s, e, ax)  p = Conv(c, v)  q = Conv(d, u)
          y = Add(p, q) }""")
    after, spec = cut_at(model, "w[0]", 1, 3)
    assert [after.node(f"Slice_{k}").x(1).value().tolist() for k in (2, 3)] == [[1], [2]]
    assert_same_function(after, silenced(model, spec))


def test_gathered_channels_are_renumbered() -> None:
    model = case("gather, some twice")
    assert removal(model, "w[0]", 4) == {"u[1]": [4], "v[1]": [1], "w[0]": [4]}
    assert removal(model, "w[0]", 6) == {"u[1]": [6], "v[1]": [3, 4], "w[0]": [6]}
    after, _ = cut_at(model, "w[0]", 0, 4)
    assert after.node("Gather_1").x(1).value().tolist() == [0, 0, 4, 4]


def test_channels_that_are_padded_on_may_go_like_others() -> None:
    model = case("pad with a number")
    assert removal(model, "v[1]", 0) == {"v[1]": [0]}
    after, spec = cut_at(model, "v[1]", 0)
    assert after.node("Pad_1").x(1).value().tolist() == [0] * 8
    assert_same_function(after, silenced(model, spec))


SHORTCUT = """(float[1,3,6,6] x) => (float[1,2,3,3] y) <float[4,3,1,1] w, float[8,4,3,3] c, float[2,8,1,1] v,
    int64[2] s = {0,0}, int64[2] e = {2147483647,2147483647}, int64[2] ax = {2,3}, int64[2] t = {2,2},
    int64[8] p = {0,2,0,0,0,2,0,0}>
    { a = Conv(x, w)  r = Relu(a)  m = Conv<strides=[2,2], pads=[1,1,1,1]>(r, c)  h = Slice(r, s, e, ax, t)
      k = Pad(h, p)  f = Add(m, k)  g = Relu(f)  y = Conv(g, v) }"""


def test_a_shortcut_that_pads_channels_loses_those_it_adds_and_those_it_carries() -> None:
    model = net(SHORTCUT)
    assert removal(model, "c[0]", 0) == {"c[0]": [0], "v[1]": [0]}
    assert removal(model, "w[0]", 1) == {"c[0]": [3], "c[1]": [1], "v[1]": [3], "w[0]": [1]}
    assert_cuts_are_exact(model, seeds=6)
    after, _ = cut_at(model, "c[0]", 0, 3, 7)
    assert after.node("Pad_4").x(1).value().tolist() == [0, 1, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("axes", ["1", "-3"])
def test_a_pad_of_named_axes_names_them_still(axes: str) -> None:
    model = net(FULL.format(10, f"int64[2] p = {{1,1}}, int64[1] ax = {{{axes}}}", "Pad(a, p, , ax)"), 18)
    assert_cuts_are_exact(model, seeds=5)
    after, _ = cut_at(model, "v[1]", 0, 2)
    assert after.node("Pad_1").x(1).value().tolist() == [0, 1]


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_channels_that_are_padded_by_others_stay(mode: str) -> None:
    model = net(FULL.format(10, vector("p", 0, 1, 0, 0, 0, 1, 0, 0), f'Pad<mode="{mode}">(a, p)'))
    assert why(model, "w[0]") == f"padded by {mode} in Pad 'Pad_1'"
    model = net(FULL.format(8, vector("p", 0, 0, 1, 0, 0, 0, -1, 0), f'Pad<mode="{mode}">(a, p)'))
    assert why(model, "w[0]") is None


PLACED = """(float[3,N] x) => (float[2,N] y) <float[8,3] w, float[5,3] z, float[2,8] v, {}>
    {{ d = MatMul(w, x)  u = MatMul(z, x)  s = {}  r = Relu(s)  y = MatMul(v, r) }}"""


def test_what_is_placed_into_others_goes_with_them() -> None:
    model = net(PLACED.format("int64[5,1] i = {6,0,1,-1,3}", "ScatterND(d, i, u)"))
    assert removal(model, "z[0]", 0) == {"v[1]": [6], "w[0]": [6], "z[0]": [0]}
    assert removal(model, "w[0]", 7) == {"v[1]": [7], "w[0]": [7], "z[0]": [3]}
    assert removal(model, "w[0]", 2) == {"v[1]": [2], "w[0]": [2]}
    assert_cuts_are_exact(model, seeds=5)


ELEMENTS = """(float[2,3] x) => (float[2,4] y) <float[3,8] w, float[3,5] z, float[8,4] v, int64[2,5] i = {{{}}}>
    {{ d = MatMul(x, w)  u = MatMul(x, z)  s = {}<axis={}>(d, i, u)  r = Relu(s)  y = MatMul(r, v) }}"""


@pytest.mark.parametrize(("operator", "opset"), [("ScatterElements", 17), ("Scatter", 10)])
def test_elements_that_are_placed_where_their_row_goes_are_cut_with_it(operator: str, opset: int) -> None:
    model = net(ELEMENTS.format("6,0,1,7,3,6,0,1,7,3", operator, 1), opset)
    assert removal(model, "z[1]", 0) == {"v[0]": [6], "w[1]": [6], "z[1]": [0]}
    assert_cuts_are_exact(model, seeds=5)


def test_elements_that_are_placed_here_and_there_keep_what_they_are_placed_into() -> None:
    model = net(ELEMENTS.format("6,0,1,7,3,0,6,1,7,3", "ScatterElements", 1))
    assert why(model, "w[1]") == "ScatterElements 'ScatterElements_2' places what is no function of its slots"
    assert why(model, "z[1]") is not None
    model = net("""(float[3,2] x) => (float[2,2] y) <float[8,3] w, float[2,3] z, float[2,8] v,
        int64[2,2,2] i = {0,0,1,1,1,0,0,1}>
        { d = MatMul(w, x)  u = MatMul(z, x)  s = ScatterND(d, i, u)  r = Relu(s)  y = MatMul(v, r) }""")
    assert why(model, "w[0]") == "ScatterND 'ScatterND_2' places what is no function of its slots"
    assert why(model, "z[0]") is not None


def test_what_is_added_where_it_is_placed_stays() -> None:
    model = net(PLACED.format("int64[5,1] i = {6,0,1,-1,3}", 'ScatterND<reduction="add">(d, i, u)'))
    assert (why(model, "w[0]") or "").endswith("it adds up what it places, which is not followed")


def test_elements_that_are_gathered_by_rows_are_cut_exactly() -> None:
    model = net("""(float[2,3] x) => (float[2,4] y) <float[3,8] w, float[4,4] v, int64[2,4] i = {6,0,-1,3,6,0,7,3}>
        { a = MatMul(x, w)  r = Relu(a)  g = GatherElements<axis=1>(r, i)  y = MatMul(g, v) }""")
    assert removal(model, "w[1]", 7) == {"v[0]": [2], "w[1]": [7]}
    assert_cuts_are_exact(model, seeds=5)


def test_a_batch_is_gathered_from_row_by_row() -> None:
    model = net("""(float[2,3] x) => (float[2,3,2] y) <float[3,8] w, int64[3] t = {0,4,2}, int64[2,3,1] i =
        {0,1,2,3,3,0},
        float[2,2] v> { a = MatMul(x, w)  b = Reshape(a, t)  g = GatherND<batch_dims=1>(b, i)  y = MatMul(g, v) }""")
    assert removal(model, "w[1]", 1) == {"v[0]": [1], "w[1]": [1, 3, 5, 7]}
    assert_cuts_are_exact(model)


RUN_TIME = {
    "gather elements": ("2,1,1", "1,1,4", 4, "GatherElements<axis=1>(r, e)"),
    "gather elements, fewer": ("2,1,1", "1,1,3", 3, "GatherElements<axis=1>(r, e)"),
    "scatter elements": ("2,2,1", "1,1,4", 4, "ScatterElements<axis=1>(base, e, r)"),
    "scatter elements, adding": ("2,2,1", "1,1,4", 4, 'ScatterElements<axis=1, reduction="add">(base, e, r)'),
    "gather nd": ("2,1,1", "1,1,1", 4, "GatherND<batch_dims=1>(r, e)"),
    "scatter nd": ("2,2,2", "1,1,1", 4, "ScatterND(base, e, r)"),
}


def moved_at_run_time(name: str) -> Model:
    """Channels of (N, S, C), and indices whose last axis is expanded; S is what they address."""
    index, shape, wide, operator = RUN_TIME[name]
    rank = shape.count(",") + 1
    return net(
        f"""(float[2,3] x, int64[{index}] i) => (float[] y)
        <float[3,8] w, int64[3] t = {{2,2,4}}, float[2,2,4] base, int64[{rank}] s = {{{shape}}}, float[{wide},5] m>
        {{ a = MatMul(x, w)  b = Reshape(a, t)  r = Relu(b)  e = Expand(i, s)  g = {operator}  y = MatMul(g, m) }}""",
        18,
    )


@pytest.mark.parametrize("name", RUN_TIME)
def test_what_indices_of_run_time_do_not_address_is_cut_exactly(name: str) -> None:
    model = moved_at_run_time(name)
    assert removal(model, "m[0]", 1)["w[1]"] == [1, 5]
    assert_cuts_are_exact(model)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("gather elements", {"r[1]"}),
        ("scatter elements", {"base[1]", "r[1]", "g[1]"}),
        ("gather nd", {"r[1]"}),
        ("scatter nd", {"base[0]", "base[1]", "r[0]", "r[1]", "g[0]", "g[1]"}),
    ],
)
def test_what_indices_of_run_time_address_stays(name: str, places: set[str]) -> None:
    node = moved_at_run_time(name).nodes[4]
    pins = [fact for fact in facts_of(node) if isinstance(fact, Pin) and fact.why.startswith("indexed by")]
    assert {str(pin.axis) for pin in pins} == places
    assert {pin.why for pin in pins} == {f"indexed by {node.op} '{node.name}', by what is known at run time only"}


SHUFFLED = """(float[2,4,4,4] x) => (float[2,2,A,B] y) <float[{},4,1,1] w, float[2,{},1,1] v>
    {{ a = Conv(x, w)  b = {}(a)  r = Relu(b)  y = Conv(r, v) }}"""


@pytest.mark.parametrize(
    ("operator", "made", "read", "gone"),
    [
        ("DepthToSpace<blocksize=2>", 12, 3, [1, 4, 7, 10]),
        ('DepthToSpace<blocksize=2, mode="CRD">', 12, 3, [4, 5, 6, 7]),
        ("SpaceToDepth<blocksize=2>", 3, 12, [1]),
    ],
)
def test_all_pixels_of_a_block_go_together(operator: str, made: int, read: int, gone: list[int]) -> None:
    model = net(SHUFFLED.format(made, read, operator))
    assert removal(model, "v[1]", 1)["w[0]"] == gone
    assert_cuts_are_exact(model)


@pytest.mark.parametrize("index", ["int64 i = {2}", "int64[2,2] i = {0,1,2,3}"])
def test_a_gather_that_changes_the_rank_passes_the_other_axes(index: str) -> None:
    model = net(f"""(float[2,3,4] x) => (float[] y) <float[6,3,1] w, {index}, float[6,2] v, int64[1] ax = {{1}}>
        {{ a = Conv(x, w)  b = Gather<axis=2>(a, i)  r = Relu(b)  y = Einsum<equation="bc...,co->b...o">(r, v) }}""")
    assert removal(model, "w[0]", 3) == {"v[0]": [3], "w[0]": [3]}
    assert_cuts_are_exact(model)


def test_the_one_channel_that_is_gathered_pins() -> None:
    model = net("""(float[2,3,4] x) => (float[] y) <float[6,3,1] w, int64 i = {2}>
        { a = Conv(x, w)  y = Gather<axis=1>(a, i) }""")
    assert why(model, "w[0]") == "indexed by Gather 'Gather_1'"


TABLE = """(float[2,3] x) => (float[] y) <float[3,8] w, {}, float[{},4] v>
    {{ a = MatMul(x, w)  r = Relu(a)  g = Gather<axis=1>(r, i)  y = Einsum<equation="{}">(g, v) }}"""


@pytest.mark.parametrize(
    ("index", "channels", "equation", "read", "gone"),
    [
        ("int64[1,8,1,1] i = {3,0,7,2,5,1,4,6}", 8, "nachw,co->naohw", 1, [0]),
        ("int64[5,1] i = {6,0,0,-1,3}", 5, "ncs,co->nso", 3, [7]),
        ("int64[4,2] i = {6,0,2,1,3,4,7,5}", 4, "ncs,co->nso", 2, [3, 4]),
        ("int64[2,4] i = {6,0,6,1,3,4,3,5}", 2, "ncs,co->nso", 1, [3, 4, 5]),
        ("int64[2,4] i = {6,0,1,2,6,3,4,5}", 4, "ncs,so->nco", 2, [1, 4]),
    ],
    ids=["every channel", "some twice", "blocks of two", "blocks that repeat a channel", "one channel in both rows"],
)
def test_a_table_of_indices_moves_channels(
    index: str, channels: int, equation: str, read: int, gone: list[int]
) -> None:
    model = net(TABLE.format(index, channels, equation))
    assert removal(model, "v[0]", read)["w[1]"] == gone
    assert_cuts_are_exact(model, seeds=5)


def test_where_every_row_reads_every_channel_a_table_of_indices_pins() -> None:
    model = net(TABLE.format("int64[2,2] i = {0,1,1,0}", 2, "ncs,co->nso"))
    assert why(model, "w[1]") == "indexed by Gather 'Gather_2'"


def test_a_slice_with_bounds_of_run_time_pins_its_own_axes_alone() -> None:
    (node,) = net("""(float[2,3,4] x, int64[1] s) => (float[2,3,A] y) <int64[1] e = {9}, int64[1] ax = {-1}>
        { y = Slice(x, s, e, ax) }""").nodes
    reason = "sliced by Slice 'Slice_0', with bounds or a size that are known at run time only"
    assert list(facts_of(node))[:4] == [
        *(Tie(Axis("x", d), Axis("y", d)) for d in (0, 1)),
        *(Pin(Axis(name, 2), reason) for name in "xy"),
    ]


def test_an_axis_that_is_padded_without_a_known_size_stays_and_channels_pass() -> None:
    model = net("""(float[2,3,H,4] x) => (float[2,2,A,4] y) <float[6,3,1,1] w, int64[8] p = {0,0,1,0,0,0,1,0},
        float[2,6,1,1] v> { a = Conv(x, w)  b = Pad(a, p)  y = Conv(b, v) }""")
    assert removal(model, "w[0]", 2) == {"v[1]": [2], "w[0]": [2]}
    assert_cuts_are_exact(model)


def test_what_is_too_large_to_follow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxprune.axes.movement.MOST", 10)
    model = net(PLACED.format("int64[5,1] i = {6,0,1,-1,3}", "ScatterND(d, i, u)").replace(",N]", ",4]"))
    assert (why(model, "w[0]") or "").endswith("over 10 elements are too many to follow")
