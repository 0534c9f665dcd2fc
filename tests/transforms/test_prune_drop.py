"""drop=: the cheapest network that loses no more than so many points on what is kept back of the calibration data."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from contexts import context
from prunes import calibrated, prune, samples, wide

from onnxprune.calibrate import Calibration
from onnxprune.errors import UsageError
from onnxprune.manager import PassRecord
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.runtime import Session

COUNT = 200


def labelled() -> Context:
    """A network, and data with labels on which it is right in nine cases of ten."""
    model, data = wide(), samples(wide(), COUNT)
    labels = Session(model.proto())(data)[0].argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % 10
    return calibrated(model, {**data, "labels": labels})


def drop_of(after: Model, ctx: Context) -> float:
    assert ctx.calibration is not None
    return ctx.evaluator.measure(ctx.original, after, ctx.calibration.split()[1]).drop


def macs(record: PassRecord) -> float:
    return record.after.macs / record.before.macs


def pruned(ctx: Context, **options: Any) -> tuple[Model, PassRecord]:
    return prune(ctx.original, ctx, **{"align": 1, "importance": "l2", "heal": "none", **options})


@pytest.fixture(scope="module")
def ctx() -> Context:
    return labelled()


@pytest.mark.parametrize("drop", [6.0, 16.0])
def test_the_drop_is_kept_and_less_would_not_do(ctx: Context, drop: float) -> None:
    after, record = pruned(ctx, drop=drop)
    assert record.missed == ()
    assert 0.02 < macs(record) < 1
    assert drop_of(after, ctx) <= drop
    less, _ = pruned(ctx, macs=f"{100 * (macs(record) - 0.03):.1f}%")
    assert drop_of(less, ctx) > drop
    assert re.search(rf"; drop={drop:g}: top1 0\.\d+ → 0\.\d+ on {COUNT // 5} samples$", record.note)


def test_the_more_may_be_lost_the_cheaper_the_network(ctx: Context) -> None:
    shares = [macs(pruned(ctx, drop=drop)[1]) for drop in (3, 11, 31)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_without_labels_it_is_agreement() -> None:
    model = wide()
    ctx = calibrated(model, samples(model, COUNT))
    after, record = pruned(ctx, drop=11)
    assert "agreement 1.0000 → " in record.note
    assert 0 < drop_of(after, ctx) <= 11


def test_a_budget_beside_it_is_met_too_where_that_can_be(ctx: Context) -> None:
    alone, beside = pruned(ctx, drop=16)[1], pruned(ctx, drop=16, params="90%", macs="80%")[1]
    assert beside.missed == ()
    assert beside.after.params <= 0.9 * beside.before.params
    assert macs(beside) <= 0.8
    assert abs(macs(beside) - macs(alone)) < 0.2


def test_a_budget_that_would_lose_more_is_missed_and_the_nearest_is_named_and_reached(ctx: Context) -> None:
    after, record = pruned(ctx, drop=6, macs="10%")
    (missed,) = record.missed
    assert missed.startswith(f"macs=10% is out of reach: {macs(record):.1%} is left; with less, more than drop=6 would")
    assert drop_of(after, ctx) <= 6
    assert after.fingerprint() == pruned(ctx, drop=6)[0].fingerprint()
    nearest = re.search(r"the nearest is macs=(\S+)$", missed)
    assert nearest is not None
    assert pruned(ctx, drop=6, macs=nearest[1])[1].missed == ()


def test_a_network_that_has_lost_too_much_already_stays_as_it_is(ctx: Context) -> None:
    ruined = ctx.original.copy()
    ruined.put("w", np.zeros_like(ctx.original.tensor("w").value()))
    after, record = prune(ruined, ctx, drop=6, align=1)
    assert not record.changed
    assert after.fingerprint() == ruined.fingerprint()
    assert record.missed[0].startswith("drop=6 is out of reach: top1 0.")


def test_where_nothing_can_be_cut_that_is_said(ctx: Context) -> None:
    after, record = pruned(ctx, drop=6, keep=".*")
    assert after.fingerprint() == ctx.original.fingerprint()
    assert not record.changed
    assert record.note.startswith("no cut is within drop=6: top1 ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": -1}, "drop= takes percentage points"),
        ({"drop": 1, "ratio": "10%"}, "give either budgets"),
        ({"drop": "much"}, "option 'drop' cannot be 'much'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prune(wide(), **options)


def test_it_asks_for_data() -> None:
    model = wide()
    with pytest.raises(UsageError, match=r"drop= is measured on data: give --calib"):
        prune(model, context(model), drop=1)
    assert Calibration.load(samples(model, 4), model).labels is None
