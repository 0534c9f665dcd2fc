"""What stays in float: the fewest multiplications that will do, named; and what was decided can be given back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prunes import samples
from toys import compress

from onnxprune.compression import Result
from onnxprune.errors import UsageError
from onnxprune.evaluate import Accuracy
from onnxprune.model import Model
from onnxprune.progress import Progress
from onnxprune.quantization.mixing import BACK, Mixed, mixed
from onnxprune.runtime import Session
from passes.quantize import Quantize

from .test_sensitivity import NETS, logarithm


def bad(model: Model) -> str:
    """The node that loses most."""
    return next(node.name for node in model.nodes if node.y().name == "b")


def quantize(name: str = "logarithm", **options: Any) -> Result:
    model = NETS[name]()
    return compress(model, [Quantize(**options)], calib=samples(model, 100), test=samples(model, 100, seed=1))


def nodes(result: Result) -> Mapping[str, Any]:
    decisions = result.report.passes[0].decisions
    assert decisions is not None
    found: Mapping[str, Any] = decisions["nodes"]
    return found


def on(result: Result, where: str) -> set[str]:
    return {name for name, node in nodes(result).items() if node["on"] == where}


class Table:
    """Networks that lose the points of all nodes that are not left in float, and how often one was made."""

    def __init__(self, points: Mapping[str, float]) -> None:
        self.points, self.tried = points, list[frozenset[str]]()

    def __call__(self, left: frozenset[str]) -> Mixed:
        self.tried.append(left)
        drop = sum(points for name, points in self.points.items() if name not in left)
        return Mixed(left, Accuracy("top1", 1.0, 1.0 - drop / 100, 100))

    def search(self, drop: float, costs: Mapping[str, float]) -> Mixed:
        return mixed(drop, self.points, costs, self, Progress.silent())


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_is_within_the_drop_and_nothing_of_it_could_go_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"n{k}" for k in range(20)]
    table = Table(dict(zip(names, rng.exponential(1.0, 20) ** 3, strict=True)))
    costs = dict(zip(names, rng.uniform(1, 9, 20), strict=True))
    found = table.search(2.0, costs)
    assert found.within(2.0)
    assert len(table.tried) <= 2 * 5 + 2 + BACK
    back = sorted(found.left, key=lambda name: -costs[name])[: BACK // 2]
    assert not any(table(found.left - {name}).within(2.0) for name in back)


@pytest.mark.parametrize("seed", range(20))
def test_one_that_breaks_the_network_is_found_where_the_losses_point_elsewhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"n{k}" for k in range(20)]
    culprit = names[rng.integers(10, 20)]
    table = Table({name: 3.0 * (name == culprit) for name in names})
    losses = {name: 40.0 - k for k, name in enumerate(names)}  # the culprit's is of the lesser half
    assert mixed(2.0, losses, dict.fromkeys(names, 1.0), table, Progress.silent()).left == {culprit}


def test_nothing_is_left_in_float_where_all_is_within_the_drop() -> None:
    table = Table({"a": 0.1, "b": 0.2})
    assert not table.search(1.0, {"a": 1, "b": 1}).left
    assert len(table.tried) == 1


def test_what_is_out_of_reach_is_the_best_that_was_found() -> None:
    table = Table({"a": 1.0, "b": 1.0})
    found = table.search(-1.0, {"a": 1, "b": 1})
    assert found.left == {"a", "b"}
    assert not found.within(-1.0)


def test_a_layer_that_breaks_the_network_stays_in_float_alone_and_is_named() -> None:
    whole, result = quantize(), quantize(drop=2)
    assert whole.report.accuracy is not None
    assert result.report.accuracy is not None
    assert whole.report.accuracy.drop > 10  # the control
    assert result.report.accuracy.drop <= 2
    name = bad(logarithm())
    assert on(result, "float") == {name}
    assert name in result.report.passes[0].note
    assert nodes(result)[name]["loss"] == max(node["loss"] for node in nodes(result).values())
    assert name in result.report.table()


def test_where_much_is_lost_it_is_told_what_to_do() -> None:
    notes = [quantize(**each).report.passes[0].note for each in ({}, {"drop": 2.0})]
    assert ["drop=1 finds the nodes to leave in float" in note for note in notes] == [True, False]
    assert "much is lost" not in quantize("residual").report.passes[0].note


def test_what_is_to_be_on_integers_is_and_the_goal_is_missed() -> None:
    name = bad(logarithm())
    result = quantize(drop=2, int8=(name,))
    assert name in on(result, "integers")
    assert result.report.missed


@pytest.mark.parametrize(
    "options", [{}, {"drop": 2.0}, {"weights": "tensor", "calibration": "minmax", "keep": ("Conv_0",)}]
)
def test_decisions_that_are_given_back_make_the_same_file(options: dict[str, Any], tmp_path: Path) -> None:
    name = "residual" if "keep" in options else "logarithm"
    quantize(name, **options).save(tmp_path / "a")
    quantize(name, decisions=tmp_path / "a" / "quantize.json").save(tmp_path / "b")
    for file in ("model.onnx", "quantize.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_option_that_is_told_decides_otherwise() -> None:
    result = quantize(sensitivity=True)
    name = bad(logarithm())
    key, _, pattern = nodes(result)[name]["option"].partition("=")
    assert on(quantize(**{key: (pattern,)}), "float") == {name}
    left = quantize(drop=2)
    key, _, pattern = nodes(left)[name]["option"].partition("=")
    assert name in on(quantize(drop=2, **{key: (pattern,)}), "integers")


def edited(folder: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    quantize(**options).save(folder)
    return folder / "quantize.json", json.loads((folder / "quantize.json").read_text())


def test_what_is_edited_counts(tmp_path: Path) -> None:
    path, told = edited(tmp_path)
    name = bad(logarithm())
    told["nodes"][name]["on"] = "float"
    told["grids"]["x"]["range"] = [-1.0, 1.0]
    path.write_text(json.dumps(told))
    result = quantize(decisions=path)
    assert name in on(result, "float")
    assert result.report.passes[0].decisions is not None
    assert result.report.passes[0].decisions["grids"]["x"]["range"] == [-1.0, 1.0]


def test_a_rule_without_a_range_finds_it(tmp_path: Path) -> None:
    path, told = edited(tmp_path)
    for grid in told["grids"].values():
        del grid["range"]
        grid["rule"] = "minmax"
    path.write_text(json.dumps(told))
    result, wanted = quantize(decisions=path), quantize(calibration="minmax")
    x = samples(logarithm(), 9, seed=3)
    assert np.array_equal(Session(result.model.proto())(x)[0], Session(wanted.model.proto())(x)[0])


@pytest.mark.parametrize(
    "repairs", [{"equalise": None, "absorb": True, "bias": True}, {"equalise": 0.8, "absorb": False, "bias": False}]
)
def test_repairs_that_are_decided_are_made_whatever_they_are_worth(repairs: dict[str, Any], tmp_path: Path) -> None:
    path, made = tmp_path / "quantize.json", dict[str, Result]()
    told = quantize("residual", repair=("none",), round="nearest").report.passes[0].decisions
    for name, each in {"none": {}, "some": repairs}.items():
        path.write_text(json.dumps({**(told or {}), "repairs": each, "grids": {}}))
        made[name] = quantize("residual", decisions=path)
    assert made["some"].model.fingerprint() != made["none"].model.fingerprint()
    decisions = made["some"].report.passes[0].decisions
    assert decisions is not None
    assert decisions["repairs"] == repairs


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"nodes": {"MatMull": {"on": "float"}}}, "MatMull"),
        ({"nodes": {"Log_4": {"on": "integers"}}}, "there is no integer kernel for Log"),
        ({"nodes": {"MatMul_0": {"on": "int"}}}, "'int'"),
        ({"grids": {"x": {"range": [1, 0]}}}, "the lesser first"),
        ({"grids": {"x": {"range": [0, float("nan")]}}}, "two numbers"),
        ({"grids": {"z": {"range": [0, 1]}}}, "'z'"),
        ({"grids": {"x": {"rule": "mean"}}}, "'mean'"),
        ({"profile": "u9"}, "'u9'"),
        ({"repairs": {"equalise": 2}}, "give a margin of 0 … 1"),
        ({"repairs": {"bias": 1}}, "give true or false"),
        ({"repairs": {"absorb": None}}, "absorb is None"),
        ({"nodes": []}, "'nodes' is no object"),
    ],
)
def test_decisions_that_make_no_sense_are_refused(edit: dict[str, Any], said: str, tmp_path: Path) -> None:
    path, told = edited(tmp_path)
    path.write_text(json.dumps(told | edit))
    with pytest.raises(UsageError, match=said) as raised:
        quantize(decisions=path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        quantize(decisions=tmp_path / "a.json")
    with pytest.raises(UsageError, match="cannot read"):
        quantize(decisions=tmp_path / "b.json")


def test_decisions_go_with_no_option_that_decides_too() -> None:
    with pytest.raises(UsageError, match="leave out"):
        Quantize(decisions=Path("quantize.json"), drop=1)
