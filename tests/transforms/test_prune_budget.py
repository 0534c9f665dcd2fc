"""Budgets are met as measured, in shares of the original, to the last byte; what is out of reach is said so."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from contexts import context
from oracle import net
from prunes import WIDE, calibrated, channels, prune, stats, wide

from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.units import Amount
from passes.fold import Fold
from passes.prune import PruneChannels

NORMED = """(float[N,3,8,8] x) => (float[N,10] y)
    <float[32,3,3,3] w, float[32] scale, float[32] o, float[32] mean, float[32] var, float[32,32,3,3] v,
     float[32] scale2, float[32] o2, float[32] mean2, float[32] var2, float[32,10] m, float[10] b>
    { a = Conv(x, w)  n = BatchNormalization(a, scale, o, mean, var)  r = Relu(n)
      c = Conv<pads=[1,1,1,1]>(r, v)  p = BatchNormalization(c, scale2, o2, mean2, var2)  s = Add(p, n)
      g = GlobalAveragePool(s)  f = Flatten(g)  y = Gemm(f, m, b) }"""
DENSE = """(float[N,12] x) => (float[N,10] y)
    <float[12,24] w, float[1] b, float[32,24] v, float[1,32] c, float[32,40] u, float d, float[40,10] m, float[10] e>
    { a = Gemm(x, w, b)  r = Relu(a)  f = Gemm<transB=1>(r, v, c)  s = Relu(f)  g = Gemm<beta=0.5>(s, u, d)  t = Relu(g)
      y = Gemm(t, m, e) }"""
BARE = re.sub(r", ([bcd])\)", ")", re.sub(r", float\[\d+\] [bcd]", "", WIDE))


def share(after: Model, ctx: Context, kind: str) -> float:
    return getattr(stats(after, ctx), kind) / getattr(stats(ctx.original, ctx), kind)


KINDS = ("macs", "params", "bytes")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", [95, 75, 50, 30, 15])
@pytest.mark.parametrize("align", [1, 8])
def test_at_most_the_share_is_left_and_not_much_less(kind: str, percent: int, align: int) -> None:
    model = wide()
    ctx = context(model)
    after, record = prune(model, ctx, **{kind: f"{percent}%", "align": align})
    assert record.missed == ()
    slack = 0.05 if align == 1 else 0.25
    assert percent / 100 - slack < share(after, ctx, kind) <= percent / 100
    assert getattr(record.after, kind) == getattr(stats(after, ctx), kind)


def peak_share(after: Model, ctx: Context) -> float:
    return stats(after, ctx).peak_activation_bytes / stats(ctx.original, ctx).peak_activation_bytes


BRANCHED = """(float[N,3,8,8] x) => (float[N,2,1,1] y)
    <float[16,3,3,3] w, float[16,16,3,3] v, float[24,16,1,1] u, float[16,24,1,1] t, float[2,16,1,1] m>
    { a = Conv<pads=[1,1,1,1]>(x, w)  b = Conv<pads=[1,1,1,1]>(a, v)  c = Relu(b)  d = Conv(c, u)  e = Relu(d)
      f = Conv(e, t)  s = Add(f, a)  g = GlobalAveragePool(s)  y = Conv(g, m) }"""


@pytest.mark.parametrize("text", [WIDE, BRANCHED], ids=["chain", "branches"])
@pytest.mark.parametrize("percent", [90, 75, 50, 30])
def test_at_most_the_share_of_the_peak_is_left(text: str, percent: int) -> None:
    model = net(text)
    ctx = context(model)
    after, record = prune(model, ctx, peak=f"{percent}%", align=1)
    assert record.missed == ()
    assert percent / 100 - 0.07 < peak_share(after, ctx) <= percent / 100


def test_a_peak_is_bounded_in_bytes_too_and_together_with_others() -> None:
    model = net(BRANCHED)
    ctx = context(model)
    allowed = stats(model, ctx).peak_activation_bytes // 2
    after, record = prune(model, ctx, peak=str(allowed), params="40%", align=1)
    assert record.missed == ()
    assert stats(after, ctx).peak_activation_bytes <= allowed
    assert share(after, ctx, "params") <= 0.4
    alone, _ = prune(model, ctx, params="40%", align=1)
    assert stats(alone, ctx).peak_activation_bytes > allowed  # else this shows nothing


def test_only_layers_whose_activations_lie_at_the_peak_are_cut_for_it() -> None:
    model = net(WIDE)
    after, _ = prune(model, context(model), peak="95%", align=1)
    before, left = channels(model), channels(after)
    assert left["u"] < before["u"] or left["v"] < before["v"]
    assert left["w"] == before["w"]


def test_a_peak_of_inputs_and_outputs_is_out_of_reach() -> None:
    model = net(WIDE)
    _, record = prune(model, context(model), peak="1%", align=1)
    assert any(goal.startswith("peak=1% is out of reach: ") for goal in record.missed)


@pytest.mark.parametrize("kind", KINDS)
def test_an_absolute_budget_counts(kind: str) -> None:
    model = wide()
    ctx = context(model)
    total = getattr(stats(model, ctx), kind)
    for allowed in (total // 2, total // 3 + 1):
        after, record = prune(model, ctx, **{kind: str(allowed), "align": 1})
        assert record.missed == ()
        assert 0.93 * allowed < getattr(stats(after, ctx), kind) <= allowed
    one, _ = prune(model, ctx, **{kind: f"{total / 2000:.4f}K", "align": 1})
    other, _ = prune(model, ctx, **{kind: "50%", "align": 1})
    assert one.fingerprint() == other.fingerprint()


def test_every_channel_more_counts() -> None:
    """The control: with one channel more the budget would not be met."""
    model = net("""(float[N,4] x) => (float[N,2] y) <float[4,10] w, float[10,2] v>
                   { a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }""")  # 6 MACs a channel
    for allowed, expected in ((60, 10), (59, 9), (54, 9), (53, 8), (30, 5)):
        assert channels(prune(model, macs=str(allowed), align=1)[0])["w"] == expected


def test_several_budgets_are_met_together() -> None:
    model = wide()
    ctx = context(model)
    after, record = prune(model, ctx, macs="60%", params="40%", bytes="120K", align=1)
    assert record.missed == ()
    assert share(after, ctx, "macs") <= 0.6
    assert share(after, ctx, "params") <= 0.4
    assert stats(after, ctx).bytes <= 120_000
    alone, _ = prune(model, ctx, macs="60%", align=1)
    assert share(alone, ctx, "params") > 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_of_the_original_also_after_folding(kind: str) -> None:
    model = net(NORMED)
    ctx, after = context(model), model.copy()
    PassManager((Fold(),)).run(after, ctx)
    assert len(after.nodes) < len(model.nodes)
    pruned, record = prune(after, ctx, **{kind: "60%", "align": 1})
    assert record.missed == ()
    assert 0.55 < share(pruned, ctx, kind) <= 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heal", ["none", "auto"])
def test_two_prunings_do_not_compound(kind: str, heal: str) -> None:
    model = wide()
    ctx = calibrated(model)
    once, _ = prune(model, ctx, **{kind: "60%", "heal": heal})
    twice, record = prune(once, ctx, **{kind: "60%", "heal": heal})
    assert (record.changed, record.note, record.missed) == (False, "the goal is met", ())
    assert twice.fingerprint() == once.fingerprint()
    further, record = prune(once, ctx, **{kind: "50%", "heal": heal, "align": 1})
    assert record.changed
    assert 0.4 < share(further, ctx, kind) <= 0.5


def test_two_goals_in_a_row_are_met_one_after_the_other() -> None:
    model = wide()
    ctx = context(model)
    after, first = prune(model, ctx, macs="80%", align=1)
    after, second = prune(after, ctx, params="40%", align=1)
    assert first.missed == second.missed == ()
    assert share(after, ctx, "params") <= 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_a_goal_that_is_met_already_changes_nothing(kind: str) -> None:
    model = wide()
    after, record = prune(model, **{kind: "100%"})
    assert (record.changed, record.note, record.missed) == (False, "the goal is met", ())
    assert after.fingerprint() == model.fingerprint()


# -- what is added on the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heal", ["none", "auto"])
@pytest.mark.parametrize("text", [pytest.param(BARE, id="none before"), pytest.param(DENSE, id="of other shapes")])
def test_biases_that_healing_adds_are_within_the_budget(kind: str, heal: str, text: str) -> None:
    model = net(text)
    ctx = calibrated(model)
    vectors = []
    for percent in range(25, 100, 12):
        after, record = prune(model, ctx, **{kind: f"{percent}%", "align": 1, "heal": heal})
        assert record.missed == ()
        assert percent / 100 - 0.06 < share(after, ctx, kind) <= percent / 100
        biases = [n.x(2) for n in after.nodes if n.op in ("Conv", "Gemm") and len(n.inputs) == 3]
        vectors.append(sum(b.rank == 1 and b.size(0) != 1 for b in biases))
    assert (max(vectors) > 1) is (heal == "auto")
    after, record = prune(model, ctx, **{kind: "100%", "heal": heal})
    assert (record.changed, record.note) == (False, "the goal is met")


@pytest.mark.parametrize("body", ["g = Reshape(t, two)", "h = Reshape(t, five)  g = Reshape(h, two)"])
def test_sizes_that_are_rewritten_take_no_room(body: str) -> None:
    declared = "int64[2] two = {-1,768}" + ", int64[3] five = {0,48,16}" * ("five" in body)
    model = net(WIDE.replace("g = Flatten(t)", body).replace("<float[24,3", f"<{declared}, float[24,3"))
    ctx = context(model)
    after, record = prune(model, ctx, bytes="50%", align=1)
    assert record.missed == ()
    assert len(after.constants) == len(model.constants)
    assert share(after, ctx, "bytes") <= 0.5


# -- out of reach ----------------------------------------------------------------------------------------------------


def goals(record: Any) -> list[tuple[str, float]]:
    """What was missed, and how much is left according to the message."""
    found = [re.fullmatch(r"(\S+) is out of reach: ([\d.]+)% is left; .*", each) for each in record.missed]
    return [(each[1], float(each[2])) for each in found if each is not None]


def test_a_budget_out_of_reach_is_missed_with_what_is_left() -> None:
    model = wide()
    ctx = context(model)
    after, record = prune(model, ctx, macs="1%")
    ((goal, left),) = goals(record)
    assert record.changed
    assert goal == "macs=1%"
    assert left == pytest.approx(100 * share(after, ctx, "macs"), abs=0.06)
    assert channels(after) == {"w": 2, "v": 2, "u": 3, "m": 10}


def test_what_is_left_is_a_share_of_the_original_also_in_a_second_pass() -> None:
    model = wide()
    ctx = context(model)
    once, _ = prune(model, ctx, macs="40%")
    after, record = prune(once, ctx, macs="1%")
    ((_, left),) = goals(record)
    assert left == pytest.approx(100 * share(after, ctx, "macs"), abs=0.06)
    again, record = prune(after, ctx, macs="1%")
    assert (record.changed, record.note) == (False, "no channel can be removed")
    assert goals(record) == [("macs=1%", left)]
    assert again.fingerprint() == after.fingerprint()


def test_one_of_two_budgets_is_missed() -> None:
    model = wide()
    _, record = prune(model, macs="1%", params="90%")
    assert [goal for goal, _ in goals(record)] == ["macs=1%"]


def test_nothing_that_can_go_is_no_change() -> None:
    model = net("(float[N,4] x) => (float[N,2] y) <float[4,2] w> { y = MatMul(x, w) }")
    for goal in ({"ratio": "50%"}, {"macs": "50%"}):
        after, record = prune(model, **goal)
        assert (record.changed, record.note) == (False, "no channel can be removed")
        assert after.fingerprint() == model.fingerprint()
        assert bool(record.missed) is ("macs" in goal)
        assert [(s.where, s.why) for s in record.skipped] == [("MatMul_0", "not pruned: graph output 'y'")]


def test_the_same_network_costs_what_its_inputs_make_of_it() -> None:
    """A dynamic size counts as the context says, for the original as for the result."""
    text = """(float[N,T,4] x) => (float[N,T,2] y) <float[4,16] w, float[16,2] v>
        { a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }"""
    model = net(text)
    for shapes in ({"x": (1, 1, 4)}, {"x": (2, 7, 4)}):
        ctx = context(model, shapes=shapes)
        positions = int(np.prod(shapes["x"][:2]))
        after, record = prune(model, ctx, macs=str(48 * positions))
        assert record.missed == ()
        assert stats(after, ctx).macs == 48 * positions
        assert channels(after)["w"] == 8


def test_a_pass_given_as_an_object_does_the_same() -> None:
    model = wide()
    ctx, after = context(model), model.copy()
    PassManager((PruneChannels(macs=Amount.parse("50%"), heal="none"),)).run(after, ctx)
    assert after.fingerprint() == prune(model, ctx, macs="50%")[0].fingerprint()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amount", ["1%", "10"])
def test_the_nearest_amount_is_named_and_can_be_had(kind: str, amount: str) -> None:
    model = wide()
    after, record = prune(model, **{kind: amount, "align": 8})
    (missed,) = record.missed
    nearest = re.search(rf"; the nearest is {kind}=(\S+)$", missed)
    assert nearest is not None
    again, met = prune(model, **{kind: nearest[1], "align": 8})
    assert met.missed == ()
    assert again.fingerprint() == after.fingerprint()
