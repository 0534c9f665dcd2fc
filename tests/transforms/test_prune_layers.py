"""One number goes for the whole network, and tables of a recipe stand above it for single layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contexts import context
from prunes import channels, prune, pruning, stats, wide

from onnxprune.errors import UsageError
from onnxprune.recipe import Recipe


def first(op: str, number: int) -> str:
    """The name of a Conv of the network, by its place."""
    return [node.name for node in wide().nodes if node.op == op][number]


def layers(**tables: dict[str, Any]) -> dict[str, Any]:
    """Tables for the Convs 'w', 'v' and 'u', by the names of their weights."""
    place = {"w": 0, "v": 1, "u": 2}
    return {"layers": {first("Conv", place[weight]): table for weight, table in tables.items()}}


def test_a_layer_loses_its_own_share_whatever_the_budget() -> None:
    model = wide()
    ctx = context(model)
    for budget in ("40%", "70%"):
        after, record = prune(model, ctx, macs=budget, align=1, **layers(v={"ratio": "25%"}))
        assert channels(after)["v"] == 24
        assert record.missed == ()
        assert stats(after, ctx).macs <= float(budget[:-1]) / 100 * stats(model, ctx).macs
    assert channels(prune(model, ctx, macs="40%", align=1)[0])["v"] != 24  # the control


def test_a_layer_loses_its_share_where_the_budget_is_met_already() -> None:
    after, record = prune(wide(), macs="100%", align=1, **layers(v={"ratio": "25%"}))
    assert channels(after) == {**channels(wide()), "v": 24}
    assert record.changed


def test_a_share_of_all_layers_yields_to_that_of_one() -> None:
    after, _ = prune(wide(), ratio="50%", align=1, **layers(v={"ratio": "25%"}))
    assert channels(after) == {"w": 12, "v": 24, "u": 24, "m": 10}


def test_a_layer_may_be_kept_whole() -> None:
    after, record = prune(wide(), ratio="50%", align=1, **layers(v={"keep": True}))
    assert channels(after) == {"w": 12, "v": 32, "u": 24, "m": 10}
    assert any(skip.why == "not pruned: kept by recipe" for skip in record.skipped)


def test_a_layer_may_be_aligned_and_held_on_its_own() -> None:
    after, _ = prune(wide(), ratio="60%", align=1, **layers(v={"align": 16}, u={"min": 30}))
    assert channels(after) == {"w": 10, "v": 16, "u": 30, "m": 10}
    assert channels(prune(wide(), ratio="60%", align=1)[0]) == {"w": 10, "v": 13, "u": 20, "m": 10}


def test_the_last_table_that_says_something_counts() -> None:
    tables = {".*": {"ratio": "50%", "min": 4}, first("Conv", 1): {"ratio": "25%"}}
    after, _ = prune(wide(), ratio="10%", align=1, layers=tables)
    assert channels(after) == {"w": 12, "v": 24, "u": 24, "m": 10}


def test_a_recipe_with_tables_comes_back(tmp_path: Path) -> None:
    text = """schema = 1
[[pass]]
use = "fold"

[[pass]]
use = "prune"
macs = "50%"

[pass.layers."/stem/.*"]
keep = true

[pass.layers."conv[12]"]
ratio = "30%"
align = 4
min = 8

[[pass]]
use = "prune"
ratio = "10%"
"""
    (tmp_path / "edge.toml").write_text(text)
    recipe = Recipe.from_toml(tmp_path / "edge.toml")
    again = tmp_path / "again.toml"
    again.write_text(recipe.to_toml())
    assert Recipe.from_toml(again) == recipe
    assert '[[pass]]\nuse = "prune"\nmacs = "50%"\n\n[pass.layers."/stem/.*"]\nkeep = true\n' in again.read_text()
    (expected,) = [pass_ for pass_ in recipe.passes if getattr(pass_, "layers", ())]
    tables = {"/stem/.*": {"keep": True}, "conv[12]": {"ratio": "30%", "align": 4, "min": 8}}
    assert expected == pruning(macs="50%", layers=tables, heal="auto")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"Konv": {"keep": True}}, r"pass 'prune': layers: no node 'Konv'"),
        ({"(": {"keep": True}}, r"layers=\( is not a regular expression"),
        ({".*": {"keeps": True}}, r"option 'layers': '\.\*': no option 'keeps'; did you mean 'keep'\?"),
        ({".*": {"ratio": "150%"}}, r"'\.\*': option 'ratio' cannot be '150%'"),
        ({".*": {}}, r"'\.\*': says nothing; give some of keep, ratio, align, min"),
        ({".*": {"keep": True, "min": 4}}, r"keep=true keeps all channels; leave out the rest"),
        ({".*": {"align": 0}}, r"align and min take a whole number, 1 or more"),
        ({".*": 3}, r"'\.\*' is no table"),
        ("conv", r"option 'layers' cannot be 'conv'; it takes tables in a recipe, each with some of keep, ratio"),
        (3, r"option 'layers' cannot be '3'"),
    ],
)
def test_what_makes_no_sense_is_refused(tables: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prune(wide(), macs="50%", layers=tables)


def test_a_spec_leaves_nothing_to_say(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="spec= says what goes of every layer; leave out layers"):
        pruning(spec=str(tmp_path / "prune.json"), layers={".*": {"keep": True}})
