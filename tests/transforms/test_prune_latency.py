"""A time is kept as measured, whatever tables foretell; what does not pay is undone. All by a clock that counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from clocks import FakeClock
from contexts import context
from oracle import net
from prunes import calibrated, channels, prune, wide

from onnxprune.errors import ModelError, PassError, UsageError
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.timing.beside import TOLERANCE, Beside, beside
from onnxprune.timing.clock import Run
from onnxprune.units import Amount

DEEP = """(float[1,32,6,6] x) => (float[1,10,6,6] y)
    <float[64,32,3,3] w, float[64] b, float[96,64,3,3] v, float[96] c, float[64,96,3,3] u, float[64] d,
     float[10,64,1,1] m>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  e = Conv<pads=[1,1,1,1]>(r, v, c)  s = Relu(e)
      f = Conv<pads=[1,1,1,1]>(s, u, d)  t = Relu(f)  y = Conv(t, m) }"""


def timed(model: Model, clock: FakeClock | None = None, **parts: Any) -> Context:
    return context(model, clock=clock or FakeClock(), **parts)


def measured(after: Model, ctx: Context) -> Beside:
    return beside(after, ctx)


@pytest.mark.parametrize("percent", [80, 50, 30])
@pytest.mark.parametrize("drag", [0.0, 40.0])
def test_a_share_of_the_time_is_kept(percent: int, drag: float) -> None:
    model = net(DEEP)
    ctx = timed(model, FakeClock(drag=drag))
    after, record = prune(model, ctx, latency=f"{percent}%")
    assert record.missed == ()
    assert percent / 100 - 0.05 < measured(after, ctx).share <= percent / 100 * 1.01


@pytest.mark.parametrize("other", [2.0, 200.0])
def test_time_that_layers_do_not_take_is_reckoned_with(other: float) -> None:
    """Nothing saves the time of what is no layer, which the model spreads over what they write."""
    model = net(DEEP)
    ctx = timed(model, FakeClock(other=other))
    allowed = 0.7 * measured(model, ctx).before
    after, record = prune(model, ctx, latency=f"{allowed}ms")
    assert record.missed == ()
    assert 0.94 * allowed <= measured(after, ctx).after <= allowed * 1.01


def test_layers_are_cut_by_whole_blocks() -> None:
    model = net(DEEP)
    after, _ = prune(model, timed(model), latency="50%")
    before, left = channels(model), channels(after)
    assert left != before
    assert all(left[name] % 8 == 0 or left[name] < 8 for name in left if left[name] < before[name])


def test_the_note_says_what_was_asked_for_and_what_was_measured() -> None:
    model = net(DEEP)
    ctx = timed(model)
    after, record = prune(model, ctx, latency="50%")
    found = measured(after, ctx)
    assert f"latency=50%: {found.after:.3g} of {found.before:.3g} ms measured" in record.note


def test_a_time_out_of_reach_is_missed_and_the_nearest_is_told() -> None:
    model = net(DEEP)
    ctx = timed(model, FakeClock(other=5000.0))
    after, record = prune(model, ctx, latency="50%")
    (missed,) = record.missed
    assert missed.startswith(f"latency=50% is out of reach: {measured(after, ctx).share:.1%} is left")


def test_a_time_is_kept_along_with_other_goals() -> None:
    model = net(DEEP)
    ctx = timed(model)
    after, record = prune(model, ctx, latency="60%", macs="30%")
    alone, _ = prune(model, ctx, latency="60%")
    assert record.missed == ()
    assert measured(after, ctx).share < measured(alone, ctx).share <= 0.606
    other, record = prune(model, ctx, latency="30%", macs="90%")
    assert record.missed == ()
    assert measured(other, ctx).share <= 0.303


def test_a_time_that_is_kept_already_leaves_the_model_alone() -> None:
    model = net(DEEP)
    _, record = prune(model, timed(model), latency="8ms")
    assert not record.changed
    assert record.note == "the goal is met"


def test_healing_goes_with_it() -> None:
    model = wide()
    ctx = calibrated(model, clock=FakeClock())
    after, record = prune(model, ctx, latency="60%", heal="auto")
    assert "healed" in record.note
    assert measured(after, ctx).of(Amount.parse("60%")) <= 1 + TOLERANCE


def test_without_a_clock_a_time_is_refused() -> None:
    with pytest.raises(UsageError, match="a time is measured by a clock"):
        prune(net(DEEP), context(net(DEEP)), latency="50%")


@pytest.mark.parametrize("text", ["300000", "1.2M"])
def test_a_count_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="is no time; give a share"):
        prune(net(DEEP), latency=text)


# -- what does not pay -----------------------------------------------------------------------------------------------


def test_where_a_cut_makes_the_network_slower_whole_blocks_are_tried() -> None:
    model = net(DEEP.replace("64", "16"))
    fast, record = prune(model, timed(model, FakeClock(block=16)), macs="50%")
    assert "in multiples of" not in record.note
    assert any(size % 16 for name, size in channels(fast).items() if name != "m")
    after, record = prune(model, timed(model, FakeClock(block=16, drag=500.0)), macs="50%")
    assert "; in multiples of 16, for others took " in record.note
    assert all(size % 16 == 0 for name, size in channels(after).items() if name != "m")
    assert record.missed == ()


def test_a_cut_that_does_not_pay_is_undone_and_reported() -> None:
    model = net(DEEP.replace("64", "16").replace("96", "16"))
    ctx = timed(model, FakeClock(block=16, drag=500.0))
    drop, record = prune(model, ctx, macs="40%")
    assert not record.changed
    assert channels(drop) == channels(model)
    assert record.note.startswith("undone: the cut does not pay, it took ")
    assert record.missed[0].startswith("macs=40% is out of reach: 100.0% is left")
    assert {s.where for s in record.skipped} >= {"Conv_0", "Conv_2", "Conv_4"}


@pytest.mark.parametrize("options", [{"macs": "40%", "align": 1}, {"params": "40%"}, {"ratio": "50%"}])
def test_what_was_chosen_by_hand_or_for_its_size_is_not_undone(options: dict[str, Any]) -> None:
    model = net(DEEP.replace("64", "16").replace("96", "16"))
    ctx = timed(model, FakeClock(block=16, drag=500.0))
    after, record = prune(model, ctx, **options)
    assert record.changed
    assert not measured(after, ctx).pays


class Refusing(FakeClock):
    """A clock in whose place the network does not run."""

    def milliseconds(self, runs: Sequence[Run], seconds: float = 1.0) -> list[float]:
        """Refuse."""
        raise ModelError("it does not run there")


def test_where_the_network_does_not_run_nobody_knows_whether_a_cut_pays() -> None:
    model = net(DEEP)
    after, record = prune(model, timed(model, Refusing()), macs="50%")
    assert record.missed == ()
    assert after.fingerprint() == prune(model, timed(model), macs="50%")[0].fingerprint()


def test_a_time_that_cannot_be_taken_is_an_error() -> None:
    model = net(DEEP)
    with pytest.raises(PassError, match="pass 'prune' failed: it does not run there"):
        prune(model, timed(model, Refusing()), latency="50%")
