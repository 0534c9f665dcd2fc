"""Without healing a pruned network is the original with the removed channels silenced, whatever decides what goes."""

from __future__ import annotations

from functools import cache

import pytest
from contexts import context
from cuts import shifted
from generator import random_model
from nets import NETS, OPSETS
from oracle import assert_different_function, assert_same_function, distance, net, silenced
from prunes import prune, stats

from onnxprune.axes.silencing import removed
from onnxprune.manager import PassRecord
from onnxprune.model import Model
from passes.fold import Fold

CHUNK, CHUNKS = 30, 3
NO_FLOOR = {"align": "1", "min": "1"}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("goal", [{"ratio": "50%"}, {"macs": "60%"}, {"params": "70%"}, {"bytes": "60%"}])
def test_a_pruned_net_is_the_original_with_the_channels_silenced(name: str, goal: dict[str, str]) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    after, record = prune(model, **goal, **NO_FLOOR)
    spec = removed(after)
    assert record.changed
    assert spec
    assert_same_function(after, silenced(model, spec))
    assert_different_function(after, model)
    assert_different_function(after, silenced(model, shifted(model, spec)))


@cache
def pruned(seed: int, goal: str) -> tuple[Model, Model, PassRecord, bool]:
    """A random network, folded where the seed is odd, before and after; and whether it meets ``goal``."""
    model = Model.load(random_model(seed))
    start, ctx = model.copy(), context(model)
    if seed % 2:
        Fold().run(start, ctx)
    kind, _, share = goal.partition("=")
    after, record = prune(start, ctx, **{kind: share}, **NO_FLOOR)
    if kind == "ratio":
        return model, after, record, True
    allowed = float(share.rstrip("%")) / 100 * getattr(stats(model, ctx), kind)
    return model, after, record, getattr(stats(after, ctx), kind) <= allowed


every_goal = pytest.mark.parametrize("goal", ["ratio=50%", "macs=60%", "params=50%"])


@every_goal
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_nets_are_pruned_exactly(goal: str, chunk: int) -> None:
    changed = 0
    for seed in range(CHUNK * chunk, CHUNK * (chunk + 1)):
        model, after, record, _ = pruned(seed, goal)
        assert_same_function(after, silenced(model, removed(after)))
        changed += record.changed
    assert changed >= CHUNK / 2


@every_goal
def test_a_budget_is_met_or_reported_as_missed(goal: str) -> None:
    outcomes = [pruned(seed, goal) for seed in range(CHUNK * CHUNKS)]
    assert all(met is not bool(record.missed) for *_, record, met in outcomes)
    assert sum(met for *_, met in outcomes) >= CHUNK
    assert goal == "ratio=50%" or sum(not met for *_, met in outcomes) >= 10


@every_goal
def test_the_oracle_would_see_other_channels(goal: str) -> None:
    """The control."""
    seen = cuts = 0
    for seed in range(60):
        model, after, record, _ = pruned(seed, goal)
        if record.changed:
            cuts += 1
            seen += distance(after, silenced(model, shifted(model, removed(after)))) > 1e-3
    assert seen >= 0.9 * cuts >= 20
