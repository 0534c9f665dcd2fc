"""What each option of ``prune`` does, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contexts import context
from nets import NETS
from oracle import net
from prunes import calibrated, channels, left, prune, pruning, wide

from onnxprune.errors import UsageError
from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.options import build
from onnxprune.recipe import Recipe
from passes.prune import PruneChannels

TWENTY = """(float[N,3] x) => (float[N,2] y) <float[3,20] w, float[20,2] v>
    { a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }"""


# -- ratio -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "expected"), [("5%", 19), ("30%", 14), ("33%", 14), ("0.5", 10), ("89%", 3)])
def test_a_ratio_is_the_share_of_the_channels_that_goes(ratio: str, expected: int) -> None:
    after, record = prune(net(TWENTY), ratio=ratio, align=1)
    assert channels(after)["w"] == expected
    assert record.note == f"removed {20 - expected} of 20 channels in 1 of 1 groups"
    assert record.missed == ()


@pytest.mark.parametrize("ratio", ["25%", "50%", "75%"])
def test_every_layer_loses_the_same_share(ratio: str) -> None:
    kept = 1 - float(ratio[:-1]) / 100
    assert channels(prune(wide(), ratio=ratio, align=1)[0]) == {"w": 24 * kept, "v": 32 * kept, "u": 48 * kept, "m": 10}


def test_a_ratio_of_less_than_a_channel_changes_nothing() -> None:
    model = net(TWENTY)
    after, record = prune(model, ratio="4%", align=1)
    assert (record.changed, record.note) == (False, "no channel can be removed")
    assert after.fingerprint() == model.fingerprint()


# -- align -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("align", "expected"), [(1, 10), (2, 10), (3, 12), (4, 12), (7, 14), (8, 16)])
def test_a_layer_that_is_cut_keeps_a_multiple(align: int, expected: int) -> None:
    assert channels(prune(net(TWENTY), ratio="50%", align=align)[0])["w"] == expected


@pytest.mark.parametrize("align", [4, 8, 16])
@pytest.mark.parametrize("goal", [{"macs": "60%"}, {"params": "45%"}, {"ratio": "40%"}])
def test_every_layer_is_whole_or_a_multiple(align: int, goal: dict[str, str]) -> None:
    model = wide()
    before, after = channels(model), channels(prune(model, **goal, align=align)[0])
    cut = {name for name in after if after[name] < before[name]}
    assert cut
    assert all(after[name] % align == 0 for name in cut)


TOGETHER = {
    "a sum": """<float[24,3,1,1] w, float[24,3,1,1] u, float[2,24,1,1] v>
        { a = Conv(x, w)  b = Conv(x, u)  c = Add(a, b)  y = Conv(c, v) }""",
    "depthwise": """<float[24,3,1,1] w, float[24,1,3,3] u, float[2,24,1,1] v>
        { a = Conv(x, w)  b = Conv<group=24, pads=[1,1,1,1]>(a, u)  y = Conv(b, v) }""",
    "groups": """<float[48,3,1,1] w, float[48,24,1,1] u, float[2,48,1,1] v>
        { a = Conv(x, w)  b = Conv<group=2>(a, u)  y = Conv(b, v) }""",
    "a join": """<float[24,3,1,1] w, float[24,3,1,1] u, float[2,48,1,1] v>
        { a = Conv(x, w)  b = Conv(x, u)  c = Concat<axis=1>(a, b)  y = Conv(c, v) }""",
    "halves": """<float[48,3,1,1] w, int64[2] s = {24,24}, float[24,1,3,3] u, float[2,48,1,1] v>
        { a = Conv(x, w)  b, c = Split<axis=1>(a, s)  d = Conv<group=24, pads=[1,1,1,1]>(c, u)
          e = Concat<axis=1>(b, d)  y = Conv(e, v) }""",
    "a join and a sum": """<float[24,3,1,1] w, float[8,3,1,1] u, float[32,3,1,1] t, float[2,32,1,1] v>
        { a = Conv(x, w)  b = Conv(x, u)  c = Concat<axis=1>(a, b)  d = Conv(x, t)  e = Add(c, d)  y = Conv(e, v) }""",
}


@pytest.mark.parametrize("text", TOGETHER.values(), ids=TOGETHER.keys())
def test_layers_that_are_cut_together_are_aligned_together(text: str) -> None:
    model = net(f"(float[2,3,6,6] x) => (float[2,2,6,6] y) {text}")
    before, after = channels(model), channels(prune(model, ratio="40%", align=8)[0])
    cut = {name for name in after if after[name] < before[name]}
    assert cut >= {"w"}
    assert all(after[name] % 8 == 0 for name in cut), after


def test_a_layer_that_holds_no_multiple_stays_and_says_so() -> None:
    after, record = prune(net(TWENTY.replace("20", "8")), macs="50%", align=8)
    assert channels(after)["w"] == 8
    assert not record.changed
    ((where, why),) = ((s.where, s.why) for s in record.skipped if s.where == "MatMul_0")
    assert where == "MatMul_0"
    assert "align=8" in why


# -- floors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "expected"), [(None, 2), (1, 1), (5, 5), (20, 20)])
def test_every_layer_keeps_the_least_number(least: int | None, expected: int) -> None:
    assert channels(prune(net(TWENTY), macs="0.1%", align=1, min=least)[0])["w"] == expected


@pytest.mark.parametrize("goal", [{"ratio": "100%"}, {"macs": "0.1%"}])
def test_every_layer_keeps_a_twentieth(goal: dict[str, str]) -> None:
    assert channels(prune(net(TWENTY.replace("20", "90")), **goal, align=1)[0])["w"] == 5  # 4.5, rounded up


def test_the_least_number_is_kept_also_where_it_is_no_multiple() -> None:
    assert channels(prune(net(TWENTY.replace("20", "32")), macs="1%", align=8, min=9)[0])["w"] == 16


# -- keep ------------------------------------------------------------------------------------------------------------


def named(model: Model, **names: str) -> Model:
    """The model with nodes renamed: the first of each operator first."""
    proto = model.proto()
    for node in proto.graph.node:
        node.name = names.get(node.output[0], node.name)
    return Model.load(proto)


def test_what_matches_keeps_its_channels() -> None:
    model = named(wide(), a="/stem/conv", e="/body/conv", f="/body/last")
    before = channels(model)
    free = channels(prune(model, ratio="50%", align=8)[0])
    assert free == {"w": 16, "v": 16, "u": 24, "m": 10}
    for keep, kept in (
        ("/stem/.*", "w"),
        ("/body/.*", "vu"),
        ([r"/stem/conv", r"/body/\w*st"], "wu"),
        (".*conv", "wv"),
    ):
        after, record = prune(model, ratio="50%", keep=keep, align=8)
        assert channels(after) == {**free, **{name: before[name] for name in kept}}
        said = {s.where for s in record.skipped if s.why == "not pruned: kept by recipe"}
        assert said == {n.name for n in model.nodes if n.op == "Conv" and n.x(1).name in kept}


def test_a_name_is_matched_whole() -> None:
    model = named(wide(), a="conv", e="conv2")
    after, _ = prune(model, ratio="50%", keep="conv")
    assert (channels(after)["w"], channels(after)["v"]) == (24, 16)


def test_what_is_kept_keeps_all_that_is_tied_to_it() -> None:
    record = prune(net(NETS["residual"]), ratio="50%", align=1, keep="Conv_1")[1]
    assert not record.changed
    assert {s.where for s in record.skipped if s.why == "not pruned: kept by recipe"} == {"Conv_0", "Conv_1"}


def test_any_node_on_the_way_can_be_named() -> None:
    after, _ = prune(wide(), ratio="50%", keep="Relu_3", align=8)
    assert channels(after) == {"w": 16, "v": 32, "u": 24, "m": 10}


def test_what_is_kept_in_vain_makes_a_budget_missed() -> None:
    _, record = prune(wide(), macs="20%", keep=[".*Conv.*"])
    assert not record.changed
    assert record.missed[0].startswith("macs=20% is out of reach: 100.0% is left")


@pytest.mark.parametrize("keep", ["no.such.node", "conv_0", "Conv", ""])
def test_a_pattern_that_matches_nothing_is_refused(keep: str) -> None:
    model = wide()
    with pytest.raises(UsageError, match=rf"^pass 'prune': keep: no node '{keep}'; (did you mean|known: Conv_0, )"):
        PassManager((pruning(macs="50%", keep=keep),)).run(model, context(model))
    assert model.fingerprint() == wide().fingerprint()


# -- importance ------------------------------------------------------------------------------------------------------


def planted(weak: list[int], factor: float = 1e-3, text: str = NETS["chain"]) -> Model:
    """The chain with some channels that hardly count, and the others alike."""
    model = net(text.replace("[6,3,3,3]", "[12,3,3,3]").replace("float[6]", "float[12]").replace("2,6,1,1", "2,12,1,1"))
    value = np.array(model.tensor("w").value())
    value /= np.linalg.norm(value.reshape(12, -1), axis=1).reshape(12, 1, 1, 1)
    value[weak] *= factor
    model.put("w", value)
    return model


@pytest.mark.parametrize("weak", [[0, 1, 2], [9, 10, 11], [1, 5, 8]])
@pytest.mark.parametrize("importance", ["l1", "l2"])
def test_the_weakest_channels_go_first(weak: list[int], importance: str) -> None:
    model = planted(weak)
    strong = [i for i in range(12) if i not in weak]
    after, _ = prune(model, ratio="25%", align=1, importance=importance)
    assert left(after, "w") == strong
    control, _ = prune(planted(weak, factor=1e3), ratio="75%", align=1, importance=importance)
    assert left(control, "w") == weak


def test_channels_that_count_alike_go_in_the_order_of_the_file() -> None:
    model = planted([])
    model.put("w", np.ones((12, 3, 3, 3), np.float32))
    assert left(prune(model, ratio="50%", align=1)[0], "w") == [6, 7, 8, 9, 10, 11]


def test_the_norms_differ_in_what_they_call_weak() -> None:
    """One large weight against many small ones: Σ|w| is 3 against 5.4, Σw² is 9 against 1.1."""
    model = planted([])
    value = np.full((12, 3, 3, 3), 1.0, np.float32)
    value[4], value[7] = 0, 0.2
    value[4, 0, 0, 0] = 3
    model.put("w", value)
    assert left(prune(model, ratio="9%", align=1, importance="l1")[0], "w") == [i for i in range(12) if i != 4]
    assert left(prune(model, ratio="9%", align=1, importance="l2")[0], "w") == [i for i in range(12) if i != 7]


def test_layers_of_another_scale_are_measured_with_their_own() -> None:
    """A layer times a thousand is no more important than it was; what counts is the share that goes."""
    text = """(float[N,3,8,8] x) => (float[N,2,8,8] y)
        <float[16,3,1,1] w, float[16,16,1,1] v, float[2,16,1,1] u>
        { a = Conv(x, w)  r = Relu(a)  b = Conv(r, v)  s = Relu(b)  y = Conv(s, u) }"""
    model, scaled = net(text), net(text)
    scaled.put("w", 1000 * scaled.tensor("w").value())
    after, other = (prune(m, macs="60%", align=1)[0] for m in (model, scaled))
    assert channels(after) == channels(other)
    assert min(channels(after)[name] for name in "wv") < 16


def test_a_channel_counts_in_every_layer_that_makes_it() -> None:
    """Weak in one branch of a sum and strong in the other is not weak in both."""
    model = net(NETS["residual"])
    w, u = (np.ones(model.tensor(n).shape, np.float32) for n in "wu")
    w[2], u[2], w[4], u[4] = 0.01, 3, 0.5, 0.5
    model.put("w", w)
    model.put("u", u)
    assert left(prune(model, ratio="17%", align=1)[0], "u") == [0, 1, 2, 3, 5]


# -- heal ------------------------------------------------------------------------------------------------------------


def test_healing_that_is_asked_for_needs_data() -> None:
    model = wide()
    with pytest.raises(UsageError, match=r"^pass 'prune': heal=ls needs calibration data: give --calib$"):
        PassManager((pruning(macs="50%", heal="ls"),)).run(model, context(model))
    assert model.fingerprint() == wide().fingerprint()


def test_healing_is_done_where_there_is_data_and_nothing_says_no() -> None:
    model = wide()
    given, without = calibrated(model), context(model)
    raw = prune(model, given, ratio="50%", importance="l2", heal="none")[0].fingerprint()
    assert prune(model, without, ratio="50%", importance="l2", heal="auto")[0].fingerprint() == raw
    ways = ("auto", "ls")
    healed = {way: prune(model, given, ratio="50%", importance="l2", heal=way)[0].fingerprint() for way in ways}
    assert healed["auto"] == healed["ls"] != raw


# -- what is refused before there is a model -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({}, "give either budgets (macs=, params=, bytes=, peak=, latency=: what is left), ratio= (what",
                     id="no goal"),
        pytest.param({"macs": "50%", "ratio": "30%"}, "give either budgets", id="both goals"),
        pytest.param({"macs": "8ms"}, "macs=8ms is a time; give a share or a count", id="a time"),
        pytest.param({"macs": "50%", "bytes": "1.5ms"}, "bytes=1.5ms is a time", id="a time beside a share"),
        pytest.param({"macs": "0%"}, "option 'macs' cannot be '0%'", id="nothing left"),
        pytest.param({"macs": "120%"}, "option 'macs' cannot be '120%'", id="more than all"),
        pytest.param({"ratio": "0"}, "option 'ratio' cannot be '0'", id="nothing removed"),
        pytest.param({"ratio": "30K"}, "option 'ratio' cannot be '30K'", id="a count for a share"),
        pytest.param({"macs": "50%", "align": "0"}, "align and min take a whole number, 1 or more", id="align"),
        pytest.param({"macs": "50%", "min": "-1"}, "align and min take a whole number, 1 or more", id="min"),
        pytest.param({"macs": "50%", "min": "1.5"}, "option 'min' cannot be '1.5'", id="a broken number"),
        pytest.param({"macs": "50%", "keep": "a("}, "keep=a( is not a regular expression: ", id="keep"),
        pytest.param({"macs": "50%", "keep": ["ok", "[b"]}, "keep=[b is not a regular expression: ", id="one of two"),
        pytest.param({"macs": "50%", "importance": "l3"}, "option 'importance' cannot be 'l3'; it takes one of auto,",
                     id="importance"),
        pytest.param({"macs": "50%", "heal": "sgd"}, "option 'heal' cannot be 'sgd'; it takes one of auto, full,",
                     id="heal"),
        pytest.param({"mac": "50%"}, "no option 'mac'; did you mean 'macs'?", id="a slip"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_with_one_message(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(PruneChannels, options)
    assert str(caught.value).startswith(f"pass 'prune': {message}")
    assert "\n" not in str(caught.value)
    words = [f"{k}='{one}'" for k, v in options.items() for one in (v if isinstance(v, list) else [v])]
    with pytest.raises(UsageError) as again:
        Recipe.from_passes(":".join(["prune", *words]))
    assert str(again.value) == str(caught.value)


def test_options_that_make_sense_are_taken() -> None:
    """The control of the refusals above."""
    assert pruning(macs="50%", params="1.2M", bytes="400K", keep=["a.*", "[bc]"], align="4", min="1", heal="auto")
    assert pruning(ratio="100%", importance="l1")
