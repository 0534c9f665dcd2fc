"""Whatever a seed does becomes an outcome, and a campaign goes on where it stopped."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from fuzz.campaign import Campaign
from fuzz.checks import unruly
from fuzz.watch import GIB, Limits, watched

LIMITS = Limits(seconds=5, memory=4 * GIB)


def test_raising_dying_hanging_and_hoarding_are_told_from_being_well() -> None:
    found = {o.seed: o for o in watched(unruly, [0, 1, 2, 3, 10, 11, 12], limits=LIMITS)}
    assert {seed: o.kind for seed, o in found.items()} == {
        0: "failed", 1: "crashed", 2: "hung", 3: "failed", 10: "well", 11: "well", 12: "well",
    }  # fmt: skip
    assert "ValueError: zero" in found[0].note
    assert found[1].note == "SIGSEGV"
    assert "MemoryError" in found[3].note


def test_a_campaign_that_was_stopped_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign("unruly", unruly, 6, 10, folder=tmp_path, limits=LIMITS)
    begun = {outcome.seed for outcome in islice(campaign._new([10, 11, 12]), 2)}
    with campaign.journal.open("a") as journal:
        journal.write('{"seed": 15, "kind": "we')  # the kill came here
    assert set(campaign.done()) == begun
    outcomes = campaign.run()
    assert [(o.seed, o.kind) for o in outcomes] == [(seed, "well") for seed in range(10, 16)]
    assert "2 of 6 done before" in capsys.readouterr().out
    lines = campaign.journal.read_text()
    assert campaign.run() == outcomes
    assert campaign.journal.read_text().split() == lines.split()
    assert "6 of 6: 6 well" not in capsys.readouterr().out
