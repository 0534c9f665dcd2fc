"""``explain``: groups, the way to what is in the way, and the forms it is told in."""

from __future__ import annotations

import json
from itertools import pairwise
from xml.etree import ElementTree

import jsonschema
import pytest
from nets import NETS, OPSETS
from oracle import net
from prunes import prune

import onnxprune as op
from benchmarks.data import MODELS
from onnxprune.axes.facts import Either, Tie
from onnxprune.axes.linear import linear
from onnxprune.axes.reasons import KINDS
from onnxprune.axes.rules import facts_of
from onnxprune.explained.explanation import schema
from onnxprune.explained.picture import look
from onnxprune.explained.svg import _places, drawn
from onnxprune.model import Model

SHUFFLE = """(float[1,24,8,8] x) => (float[1,10] y)
    <float[24,24,1,1] stem, float[24,12,1,1] g1, float[24,1,3,3] dw, float[24,12,1,1] g2, float[24,10] fc,
     int64[5] apart = {1,2,12,8,8}, int64[4] together = {1,24,8,8}>
    { s = Conv(x, stem)  a = Conv<group=2>(s, g1)  r = Relu(a)
      b = Reshape(r, apart)  c = Transpose<perm=[0,2,1,3,4]>(b)  d = Reshape(c, together)
      e = Conv<group=24, pads=[1,1,1,1]>(d, dw)  f = Conv<group=2>(e, g2)  t = Add(s, f)  u = Relu(t)
      p = GlobalAveragePool(u)  q = Flatten(p)  y = Gemm(q, fc) }"""
PYRAMID = """(float[1,3,16,16] x) => (float[1,4,8,8] fine, float[1,4,4,4] coarse)
    <float[16,3,3,3] c1, float[32,16,3,3] c2, float[8,16,1,1] l1, float[8,32,1,1] l2, float[8,8,3,3] tower,
     float[4,8,1,1] head>
    { a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, c1)  b = Relu(a)
      c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, c2)  d = Relu(c)
      m = Conv(d, l2)  n = Conv(b, l1)
      f = Conv<pads=[1,1,1,1]>(n, tower)  g = Relu(f)  fine = Conv(g, head)
      k = Conv<pads=[1,1,1,1]>(m, tower)  l = Relu(k)  coarse = Conv(l, head) }"""
NETWORKS = [pytest.param(lambda name=name: net(NETS[name], OPSETS.get(name, 17)), id=name) for name in NETS]
NETWORKS += [pytest.param(lambda path=path: Model.load(path), id=path.stem) for path in sorted(MODELS.glob("*.onnx"))]


def layers(model: Model) -> list[str]:
    """The nodes with weights that make channels."""
    return [node.name for node in model.nodes if linear(node) is not None]


def tensor(axis: str) -> str:
    """The tensor of an axis in words."""
    return axis.rpartition("[")[0]


# -- groups ------------------------------------------------------------------------------------------------------------


def test_a_shuffle_block_falls_into_atoms_of_several_channels() -> None:
    found = op.explain(net(SHUFFLE)).groups
    assert [(g.channels, g.free, g.atoms) for g in found] == [(24, 0, 24), (24, 24, 12), (24, 24, 6), (10, 0, 10)]
    assert [g.makes for g in found] == [(), ("Conv_0", "Conv_7"), ("Conv_1", "Conv_6"), ("Gemm_12",)]
    assert [g.reads for g in found] == [("Conv_0",), ("Conv_1", "Gemm_12"), ("Conv_7",), ()]
    assert found[2].carries == ("Relu_2", "Reshape_3", "Transpose_4", "Reshape_5")


def test_heads_that_share_weights_are_in_one_group() -> None:
    found = {layer: g for g in op.explain(net(PYRAMID)).groups for layer in g.makes}
    assert found["Conv_6"].makes == ("Conv_6", "Conv_9")
    assert found["Conv_6"].shared == {"tower": ("Conv_6", "Conv_9")}
    assert found["Conv_4"].shared == {}
    assert found["Conv_4"].reads == ("Conv_6", "Conv_9")
    assert found["Conv_4"].makes == ("Conv_4", "Conv_5")
    assert [(b.kind, b.slots) for b in found["Conv_8"].blockers] == [("signature", 4)]


@pytest.mark.parametrize("load", NETWORKS)
def test_every_layer_is_in_a_group_whose_free_channels_can_be_cut(load) -> None:
    model = load()
    found = op.explain(model)
    assert {layer for g in found.groups for layer in g.makes} == set(layers(model))
    _, record = prune(model, macs="1%", align=1, min=1)
    whole = {skip.where: skip for skip in record.skipped if skip.why.startswith("not pruned: ")}
    for group in found.groups:
        for layer in group.makes:
            assert (group.free == 0) <= (layer in whole)
            assert (layer in whole) <= (group.free < group.channels or group.atoms == 1)


# -- one operator ------------------------------------------------------------------------------------------------------


def test_the_way_leads_from_the_layer_to_what_is_in_the_way() -> None:
    text = """(float[2,3,6,6] x) => (float[2,6,6,6] y) <float[6,3,1,1] w>
        { a = Conv(x, w)  r = Relu(a)  y = Tanh(r) }"""
    made = op.explain(net(text), "Conv_0").focus.sides[0]
    assert (made.role, made.axis, made.slots, made.free) == ("makes", "w[0]", 6, 0)
    assert [(b.kind, b.why, b.node, b.tensor) for b in made.blockers] == [
        ("signature", "graph output 'y'", "Tanh_2", "y")
    ]
    ways = [(step.node, step.before, step.after) for step in made.path]
    assert ways == [("Conv_0", "w[0]", "a[1]"), ("Relu_1", "a[1]", "r[1]"), ("Tanh_2", "r[1]", "y[1]")]


def test_the_nearest_of_several_comes_first() -> None:
    text = """(float[2,3,6,6] x) => (float[2,6,6,6] a_far, float[2,6,6,6] z_near) <float[6,3,1,1] w>
        { z_near = Conv(x, w)  r = Relu(z_near)  a_far = Tanh(r) }"""
    made = op.explain(net(text), "Conv_0").focus.sides[0]
    assert [b.tensor for b in made.blockers] == ["z_near", "a_far"]
    assert made.path[-1].after == "z_near[1]"


def test_the_way_carries_the_channels_that_stay() -> None:
    """Both halves of a Split come from one layer; only one of them is an output."""
    made = op.explain(net(NETS["part of it is an output"]), "Conv_0").focus.sides[0]
    assert (made.slots, made.free) == (6, 3)
    assert [(b.tensor, b.slots) for b in made.blockers] == [("z", 3)]
    assert [step.after for step in made.path] == ["a[1]", "z[1]"]


@pytest.mark.parametrize("load", NETWORKS)
def test_every_step_of_a_way_is_a_tie_that_its_operator_states(load) -> None:
    model = load()
    ways = [side for layer in layers(model) for side in op.explain(model, layer).focus.sides if side.path]
    assert ways
    for side in ways:
        assert side.path[0].before == side.axis
        assert tensor(side.path[-1].after) == side.blockers[0].tensor
        assert all(one.after == other.before for one, other in pairwise(side.path))
        for step in side.path:
            facts = facts_of(model.node(step.node))
            ties = [f for f in facts if isinstance(f, Tie)]
            ties += [tie for f in facts if isinstance(f, Either) for tie, _ in f.options]
            assert {step.before, step.after} in [{str(tie.a), str(tie.b)} for tie in ties]


@pytest.mark.parametrize("load", NETWORKS)
def test_what_the_report_says_of_a_layer_is_among_what_is_in_its_way(load) -> None:
    model = load()
    _, record = prune(model, macs="1%", align=1)
    for skip in record.skipped:
        if skip.where in layers(model) and skip.tensor is not None:
            made = op.explain(model, skip.where).focus.sides[0]
            assert (skip.kind, skip.node, skip.tensor) in [(b.kind, b.node, b.tensor) for b in made.blockers]


def test_an_operator_without_weights_carries_channels() -> None:
    (side,) = op.explain(net(NETS["residual"]), "Add_2").focus.sides
    assert (side.role, side.axis, side.group, side.free) == ("carries", "s[1]", 2, 6)


def test_an_operator_without_channels_tells_of_all_its_axes() -> None:
    text = "(float[2,3] x) => (float[2,3] y) { y = Softmax(x) }"
    sides = op.explain(net(text), "Softmax_0").focus.sides
    assert [(side.axis, side.free) for side in sides] == [("y[0]", 0), ("y[1]", 0)]
    assert all(side.blockers and side.group is None for side in sides)


def test_an_operator_of_one_number_has_nothing_to_tell() -> None:
    focus = op.explain(net("(float[1] x) => (float[1] y) { y = Relu(x) }"), "Relu_0").focus
    assert (focus.sides, focus.note) == ((), "it has no axis of more than one slot")


def test_operators_whose_weights_are_not_understood_say_so() -> None:
    text = (
        "(float[2,1,3] x) => (float[2,1,1,4] y) <float[1,16,3] w, float[1,16,4] r> { y = LSTM<hidden_size=4>(x, w, r) }"
    )
    focus = op.explain(net(text), "LSTM_0").focus
    assert "are not pruned" in focus.note
    assert all(side.blockers for side in focus.sides)


@pytest.mark.parametrize(("name", "node"), [("Relu_1", "Relu_1"), ("r", "Relu_1"), ("w", "Conv_0"), ("x", "Conv_0")])
def test_a_tensor_stands_for_who_computes_or_reads_it(name: str, node: str) -> None:
    assert op.explain(net(NETS["chain"]), name).focus.node == node


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(op.UsageError, match=r"no node 'Conv_9'; did you mean 'Conv_2'\?|did you mean 'Conv_0'\?"):
        op.explain(net(NETS["chain"]), "Conv_9")


# -- forms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", [None, "Conv_0"])
@pytest.mark.parametrize("name", NETS)
def test_json_is_what_the_schema_says(name: str, node: str | None) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    if node is not None and node not in {n.name for n in model.nodes}:
        node = model.nodes[0].name
    told = json.loads(op.explain(model, node).to_json())
    jsonschema.validate(told, schema(), jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "groups": [{}]}, schema(), jsonschema.Draft202012Validator)


def test_the_keys_are_those_of_the_schema() -> None:
    told, defined = op.explain(net(NETS["chain"]), "Conv_2").to_dict(), schema()
    parts = {
        "group": told["groups"][0],
        "focus": told["focus"],
        "side": told["focus"]["sides"][0],
        "blocker": told["focus"]["sides"][0]["blockers"][0],
        "step": told["focus"]["sides"][0]["path"][0],
        "operator": told["operators"][0],
        "flow": told["flows"][0],
    }
    assert set(told) == set(defined["required"]) == set(defined["properties"])
    for name, part in parts.items():
        assert set(part) == set(defined["$defs"][name]["required"]) == set(defined["$defs"][name]["properties"]), name


def test_a_person_reads_what_goes_and_what_is_in_the_way() -> None:
    text = op.explain(net(SHUFFLE)).text()
    assert "4 groups of channels, 2 can be cut" in text
    assert "12 of 2 channels, which live or die together" in text
    assert "graph output 'y'" in text
    assert "all 6 live or die together" in op.explain(net(NETS["shuffled"])).text()
    lines = op.explain(net(NETS["part of it is an output"]), "Conv_0").text().splitlines()
    assert lines[0] == "Conv Conv_0"
    assert "makes 6 channels (w[0], group 2): 3 can go" in lines
    assert any("a[1] → z[1]" in line and "Split Split_1" in line for line in lines)


def test_a_person_reads_who_shares_a_weight() -> None:
    assert "tower, the weight of Conv_6, Conv_9" in op.explain(net(PYRAMID)).text()
    lines = op.explain(net(PYRAMID), "Conv_6").text().splitlines()
    assert "  shares   tower, the weight of Conv_9 too" in lines


@pytest.mark.parametrize("node", [None, "/stage2/stage2.0/body/body.0/Conv"])
def test_lines_are_as_long_as_there_is_room(node: str | None) -> None:
    found = op.explain(MODELS / "digits_resnet.onnx", node)
    assert max(map(len, found.text(60).splitlines())) <= 60 < max(map(len, found.text(100).splitlines())) <= 100
    assert str(found) == found.text()
    assert "\x1b[" in found.text(colour=True)
    assert "\x1b[" not in found.text()


def test_a_name_with_brackets_is_no_markup() -> None:
    proto = net(NETS["chain"]).proto()
    proto.graph.node[0].name = "[bold]conv"
    assert "[bold]conv" in op.explain(proto).text()
    assert op.explain(proto, "[bold]conv").text().startswith("Conv [bold]conv\n")


def test_dot_names_every_operator_and_quotes_it() -> None:
    proto = net(NETS["chain"]).proto()
    proto.graph.node[0].name = 'a "b" \\c'
    text = op.explain(proto).to_dot()
    assert r'"a \"b\" \\c" -> "Relu_1"' in text
    assert '"Conv_2" -> "y (output)"' in text
    assert text.count("->") == 4


@pytest.mark.parametrize("node", [None, "Conv_0"])
def test_svg_shows_every_operator_and_is_the_same_every_time(node: str | None) -> None:
    found = op.explain(net(SHUFFLE), node)
    text = found.to_svg()
    assert text == op.explain(net(SHUFFLE), node).to_svg()
    root = ElementTree.fromstring(text)
    boxes = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if (g.get("id") or "").startswith("patch_")]
    seen = look(found)
    assert len(boxes) >= len(seen.boxes) + len(seen.arrows)


def test_pictures_side_by_side_take_the_room_of_all() -> None:
    seen = [look(op.explain(net(text))) for text in (SHUFFLE, PYRAMID)]
    roots = [ElementTree.fromstring(drawn(*panels)) for panels in ([seen[0]], [seen[1]], seen)]
    widths, heights = ([float(root.attrib[side].removesuffix("pt")) for root in roots] for side in ("width", "height"))
    assert widths[2] == pytest.approx(widths[0] + widths[1])
    assert heights[2] == max(heights[:2])


def test_of_an_operator_its_own_groups_are_drawn_and_the_way_is_marked() -> None:
    seen = look(op.explain(net(NETS["part of it is an output"]), "Conv_0"))
    assert {box.name for box in seen.boxes} == {"x", "Conv_0", "Split_1", "Conv_2", "z (output)"}
    marked = {(arrow.source, arrow.target) for arrow in seen.arrows if arrow.marked}
    assert marked == {("Conv_0", "Split_1"), ("Split_1", "z (output)")}


@pytest.mark.parametrize("load", [lambda: net(SHUFFLE), lambda: net(PYRAMID), *NETWORKS])
def test_operators_stand_below_what_they_read_and_apart(load) -> None:
    seen = look(op.explain(load()))
    spots, ways = _places(seen)
    assert all(spots[arrow.source][1] < spots[arrow.target][1] for arrow in seen.arrows)
    rows = [sorted(x for x, y in spots.values() if y == row) for row in {y for _, y in spots.values()}]
    assert all(b - a >= 1 - 1e-9 for row in rows for a, b in pairwise(row))
    assert [(way[0], way[-1]) for way in ways] == [(spots[a.source], spots[a.target]) for a in seen.arrows]


def test_a_model_of_nothing_but_an_output_is_explained() -> None:
    found = op.explain(net("(float[2] x) => (float[2] y) { y = Relu(x) }"))
    assert found.groups == ()
    assert "0 groups of channels, 0 can be cut" in found.text()
    assert ElementTree.fromstring(found.to_svg()) is not None


def test_the_page_lists_every_kind_of_reason() -> None:
    page = (MODELS.parent / "docs" / "explain.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{kind}` | {text} |" for kind, text in KINDS.items()]
    assert all(kind in schema()["$defs"]["blocker"]["properties"]["kind"]["description"] for kind in list(KINDS)[:9])
