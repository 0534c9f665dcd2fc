"""Cuts that change more than the channels removed are made only where they are wanted, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contexts import context
from oracle import distance, net, silenced
from prunes import calibrated, channels, prune, pruning

from onnxprune.axes import rules
from onnxprune.axes.facts import Approximate, Facts, at
from onnxprune.axes.families.elementwise import same
from onnxprune.axes.silencing import removed
from onnxprune.errors import UsageError
from onnxprune.model import Model
from onnxprune.node import Node

FREE = {"ratio": "50%", "align": "1", "min": "1"}
WHY = "its norm is that of all channels"


@pytest.fixture(autouse=True)
def _rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def normalised(node: Node) -> Facts:
        yield from same(node.x(), node.y())
        yield Approximate(at(node.y(), 1), WHY)

    rules.load()
    monkeypatch.setitem(rules._rules, "LpNormalization", normalised)


@pytest.fixture
def model() -> Model:
    """The channels of the first layer are normalised, those of the second are not."""
    return net("""(float[N,3] x) => (float[N,4] y) <float[3,6] w, float[6,8] v, float[8,4] u>
        { a = MatMul(x, w)  b = LpNormalization<axis=1>(a)  c = MatMul(b, v)  d = Relu(c)  y = MatMul(d, u) }""")


def test_without_data_to_heal_with_they_stay_and_the_report_says_why(model: Model) -> None:
    after, record = prune(model, **FREE)
    assert channels(after) == {"w": 6, "v": 4, "u": 4}
    assert "approximately" not in record.note
    (why,) = {skip.why for skip in record.skipped if skip.where == "MatMul_0"}
    assert why.startswith(f"not pruned: {WHY}")
    assert why.endswith("that is cut only with --calib to heal it, or with approximate=yes")


def test_with_data_they_are_cut_healed_and_counted(model: Model) -> None:
    after, record = prune(model, calibrated(model), heal="auto", **FREE)
    assert channels(after) == {"w": 3, "v": 4, "u": 4}
    assert record.note.startswith("removed 7 of 14 channels in 2 of 2 groups, 3 of them approximately; healed 2 of 2")


def test_data_alone_is_not_enough_where_nothing_is_healed(model: Model) -> None:
    assert channels(prune(model, calibrated(model), heal="none", **FREE)[0])["w"] == 6


def test_yes_is_always_and_no_is_never(model: Model) -> None:
    after, record = prune(model, approximate="yes", **FREE)
    assert channels(after)["w"] == 3
    assert "3 of them approximately" in record.note
    assert distance(after, silenced(model, removed(after))) > 1e-3
    assert channels(prune(model, calibrated(model), heal="auto", approximate="no", **FREE)[0])["w"] == 6


def test_what_is_pinned_as_well_stays_whatever_is_wanted(model: Model) -> None:
    pinned = net("(float[N,3] x) => (float[N,6] y) <float[3,6] w> { a = MatMul(x, w)  y = LpNormalization<axis=1>(a) }")
    assert not prune(pinned, approximate="yes", **FREE)[1].changed


def test_a_spec_that_asks_for_one_is_refused_where_they_are_not_wanted(model: Model, tmp_path: Path) -> None:
    (tmp_path / "prune.json").write_text(json.dumps({"w": {"1": [2]}}))
    spec = str(tmp_path / "prune.json")
    with pytest.raises(UsageError, match=rf"w\[1\] slot 2 cannot be removed: {WHY}, and that is cut only with --calib"):
        pruning(spec=spec).run(model.copy(), context(model))
    after, record = prune(model, spec=spec, approximate="yes")
    assert channels(after)["w"] == 5
    assert record.note == "removed 1 channel, as the prune spec says, 1 of them approximately"
