"""align=auto: whole blocks in wide layers, parts of them in narrow ones, and all numbers where a goal needs them."""

from __future__ import annotations

import numpy as np
import pytest
from clocks import FakeClock
from contexts import context
from oracle import net
from prunes import channels, prune, pruning

from onnxprune.alignment import Grain, block_of, rounds
from onnxprune.backends import load_target
from onnxprune.errors import UsageError

PAIR = """(float[1,3,6,6] x) => (float[1,10,6,6] y) <float[WIDTH,3,1,1] w, float[10,WIDTH,1,1] v>
    { a = Conv(x, w)  r = Relu(a)  y = Conv(r, v) }"""


def pair(width: int) -> str:
    return PAIR.replace("WIDTH", str(width))


@pytest.mark.parametrize(
    ("width", "expected"), [(512, 16), (64, 16), (63, 8), (32, 8), (16, 4), (8, 2), (6, 1), (3, 1)]
)
def test_narrow_layers_have_some_choices(width: int, expected: int) -> None:
    assert Grain(16, 4).of(width) == expected


def test_a_number_that_was_given_holds_for_all_widths() -> None:
    assert [Grain(8).of(width) for width in (4, 8, 64)] == [8, 8, 8]


def test_parts_of_the_first_block_may_be_kept_where_times_are_measured() -> None:
    kept = np.arange(1, 49)
    assert kept[Grain(16, quarters=True).permits(kept, 48)].tolist() == [4, 8, 12, 16, 32, 48]


@pytest.mark.parametrize("timed", [True, False])
def test_what_is_tried_later_leaves_more_choices(timed: bool) -> None:
    tried = [grain.of(64) for each in rounds(16, goals=True, timed=timed) for grain in each]
    assert tried == sorted(tried, reverse=True)
    assert (tried[0], tried[-1]) == (16, 1)


def test_a_layer_keeps_part_of_a_block_where_the_whole_would_harm_more() -> None:
    model = net(pair(16))
    weight = model.tensor("w").value().copy()
    weight[:4] *= 1e-3
    model.put("w", weight)
    after, _ = prune(model, context(model, clock=FakeClock(block=8)), macs="80%")
    assert channels(after)["w"] == 12


def test_the_block_is_that_of_the_target_or_of_the_clock() -> None:
    model = net(pair(64))
    assert block_of(context(model, clock=FakeClock(block=16))) == 16
    assert block_of(context(model, clock=FakeClock(block=16), target=load_target("rpi4"))) == load_target("rpi4").align
    assert block_of(context(model)) == 8


@pytest.mark.parametrize(("block", "left"), [(4, 36), (8, 40), (16, 48)])
def test_a_wide_layer_keeps_whole_blocks(block: int, left: int) -> None:
    model = net(pair(64))
    after, _ = prune(model, context(model, clock=FakeClock(block=block)), ratio="45%")
    assert channels(after)["w"] == left


def test_a_goal_out_of_reach_in_blocks_is_met_without() -> None:
    model = net(pair(16))
    after, record = prune(model, macs="13%")
    assert record.missed == ()
    assert channels(after)["w"] == 2
    assert prune(model, macs="13%", align=4)[1].missed


def test_equal_inputs_give_equal_networks_whatever_the_clock_says() -> None:
    model = net(pair(64))
    slow, fast = (prune(model, context(model, clock=FakeClock(other=k)), macs="60%")[0] for k in (1.0, 100.0))
    assert slow.fingerprint() == fast.fingerprint()


def test_align_is_a_number_or_auto() -> None:
    assert pruning(macs="50%", align="auto") == pruning(macs="50%")
    assert pruning(macs="50%", align="4").align == 4
    with pytest.raises(UsageError, match="option 'align' cannot be 'some'; it takes auto, or a whole number"):
        pruning(macs="50%", align="some")
