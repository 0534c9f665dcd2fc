"""A sweep: its points are those of single runs, what they share is done once, and both files say what was found."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from oracle import net
from toys import NET, Failing, Scale, compress, labelled, samples, tree, write_net

import onnxprune
from onnxprune import fidelity
from onnxprune.analyses.channels import ChannelGroups
from onnxprune.analyses.cost import Cost, Stats
from onnxprune.analyses.importance import Magnitude
from onnxprune.axes.silencing import removed
from onnxprune.cache import Cache
from onnxprune.errors import PassError, UsageError
from onnxprune.evaluate import Evaluator
from onnxprune.model import Model
from onnxprune.options import option
from onnxprune.passes import Analysis, Changed, Context, Unchanged
from onnxprune.recipe import Recipe
from onnxprune.sweeps import chart
from onnxprune.sweeps.sweep import Sweep, schema

MODELS = Path(__file__).parents[2] / "models"
CALIB, TEST = MODELS / "digits.calib.npz", MODELS / "digits.test.npz"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies of a few runs."""
    monkeypatch.setattr("onnxprune.latency.SECONDS", 0.01)


def sweep(model: Any, *args: Any, **given: Any) -> Sweep:
    """``onnxprune.sweep`` with nothing kept on disk."""
    return onnxprune.sweep(model, *args, **{"cache": Cache(None), **given})


def some() -> dict[str, np.ndarray]:
    """A few samples of digits."""
    return {name: array[:50] for name, array in np.load(CALIB).items()}


def toy(**given: Any) -> Sweep:
    model = net(NET)
    return sweep(model, [Scale()], **{"over": "by=1,2,-1", "test": labelled(model), **given})


# -- the points ------------------------------------------------------------------------------------------------------


def test_every_value_is_a_point() -> None:
    found = toy()
    assert found.option == "by"
    assert [(point.value, point.passes) for point in found.points] == [
        ("1", "scale:by=1.0"),
        ("2", "scale:by=2.0"),
        ("-1", "scale:by=-1.0"),
    ]
    one, _, minus = found.points
    assert one.report.output.sha256 == found.input.sha256
    assert one.accuracy.after == one.accuracy.before > minus.accuracy.after
    assert len({point.report.latency.before_ms for point in found.points}) == 1  # all took turns with one original


@pytest.fixture(scope="module")
def mobile() -> Sweep:
    """A sweep over a network of digits, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onnxprune.latency.SECONDS", 0.01)
        return sweep(MODELS / "digits_mobile.onnx", "fold,prune", over="macs=50%,70%,90%", calib=some(), test=TEST)


def test_a_point_taken_alone_is_the_very_model(mobile: Sweep, tmp_path: Path) -> None:
    for point in mobile.points[1:]:
        folder = tmp_path / point.value
        alone = compress(MODELS / "digits_mobile.onnx", point.passes, calib=some(), test=TEST, output=folder)
        digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        assert digest == alone.report.output.sha256 == point.to_dict()["sha256"]
        point.result.save(tmp_path / "again")
        for name in ("model.onnx", "prune.json"):
            assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        assert alone.report.accuracy == point.accuracy
        assert alone.report.fidelity == point.report.fidelity
        assert [each.note for each in alone.report.passes] == [each.note for each in point.report.passes]
    assert len({point.report.output.sha256 for point in mobile.points}) == 3  # the control: they are different models


def test_points_do_not_depend_on_the_process(mobile: Sweep) -> None:
    jobs = {"jobs": 2, "calib": some(), "test": TEST}
    found = sweep(MODELS / "digits_mobile.onnx", "fold,prune", over="macs=50%,70%,90%", **jobs)
    for one, other in zip(mobile.points, found.points, strict=True):
        assert one.result.model.proto().SerializeToString() == other.result.model.proto().SerializeToString()
        assert {**one.to_dict(), "latency": 0, "on_front": 0} == {**other.to_dict(), "latency": 0, "on_front": 0}
        assert removed(one.result.model) == removed(other.result.model)


def test_the_option_may_stand_in_a_recipe(tmp_path: Path) -> None:
    model = net(NET)
    np.savez(tmp_path / "test.npz", **labelled(model))
    text = 'schema = 1\ntest = "test.npz"\nseed = 3\n[[pass]]\nuse = "fold"\n[[pass]]\nuse = "prune"\nalign = 1\n'
    (tmp_path / "edge.toml").write_text(text)
    found = sweep(model, over="ratio=25%,50%", recipe=tmp_path / "edge.toml")
    assert [point.passes for point in found.points] == ["fold,prune:ratio=25%:align=1", "fold,prune:ratio=50%:align=1"]
    assert found.seed == 3
    recipe = Recipe.from_passes("prune:macs=50%:align=1")
    assert len(sweep(model, over="macs=80%,90%", recipe=recipe, test=labelled(model)).points) == 2


def test_the_front_is_marked_by_cost() -> None:
    found = toy(over="by=1,2,-1,-2")
    assert [point.on_front["macs"] for point in found.points] == [
        point.accuracy.after >= point.accuracy.before for point in found.points
    ]
    assert found.front == tuple(p for p in found.points if p.on_front["macs"] or p.on_front["bytes"])
    assert found.points[2] not in found.front


def test_without_latency_there_is_no_such_front() -> None:
    picky = "(int64[N] i) => (float[M,3] y) <float[1,3] w> { y = Gather<axis=0>(w, i) }"  # made-up inputs do not run
    found = sweep(net(picky), [Scale()], over="by=1,2", calib={"i": np.zeros(4, np.int64)}, shapes={"i": (5,)})
    assert found.points[0].report.latency is None
    assert set(found.points[0].on_front) == {"macs", "bytes"}
    jsonschema.validate(found.to_dict(), schema())
    assert "latency" not in found.to_svg()


# -- goals -----------------------------------------------------------------------------------------------------------


def test_the_best_is_the_smallest_that_reaches_every_goal() -> None:
    data = {"calib": some(), "test": TEST}
    found = sweep(MODELS / "digits_cnn.onnx", "fold,prune:align=8", over="macs=10%,80%,90%", max_drop=2, **data)
    assert found.missed == ()
    assert found.best is found.points[1]
    assert found.points[0].report.missed[-1].startswith("max_drop: top1 fell by")
    assert toy().best is None  # nothing is asked


def test_a_goal_that_no_point_reaches_is_missed() -> None:
    found = toy(over="by=-1,-2", max_drop=1)
    assert found.best is None
    goals = ["scale: 'v' too", "max_drop: top1"]
    assert [goal.partition(" fell")[0] for goal in found.missed] == [
        f"by={k}: {goal}" for k in (-1, -2) for goal in goals
    ]


# -- done once -------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[tuple[str, str]]]:
    """How often each question is computed for each graph."""
    found: Counter[tuple[str, str]] = Counter()

    def counting(compute: Callable[..., Any]) -> Callable[..., Any]:
        def count(self: Any, model: Model, ctx: Context) -> Any:
            found[repr(self), model.fingerprint()] += 1
            return compute(self, model, ctx)

        return count

    for kind in (ChannelGroups, Cost, Magnitude, Stats):
        monkeypatch.setattr(kind, "compute", counting(kind.compute))
    return found


def test_statistics_are_computed_once(counted: Counter[tuple[str, str]]) -> None:
    model, passes = MODELS / "digits_cnn.onnx", "fold,prune:heal=none:align=8"
    found = sweep(model, passes, over="macs=30..90%:step=20%", test=TEST)
    own = {point.result.model.fingerprint() for point in found.points}
    shared = {key: count for key, count in counted.items() if key[1] not in own}
    assert {question.partition("(")[0] for question, _ in shared} == {"ChannelGroups", "Cost", "Magnitude", "Stats"}
    assert len({graph for _, graph in shared}) == 2  # as it came, and folded
    assert set(shared.values()) == {1}
    before = counted.copy()
    for point in found.points:  # the control
        compress(model, point.passes, test=TEST)
    assert {counted[key] - before[key] for key in shared} == {4}


def test_the_original_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net(NET)
    original = model.proto().SerializeToString(deterministic=True)
    opened: list[bool] = []
    scored: list[bool] = []

    class Counted(fidelity.Session):
        def __init__(self, proto: Any, **how: Any) -> None:
            opened.append(proto.SerializeToString(deterministic=True) == original)
            super().__init__(proto, **how)

    def score(self: Evaluator, scored_model: Model, data: Any, before: Any = Evaluator.score) -> float:
        scored.append(scored_model.fingerprint() == model.fingerprint())
        return before(self, scored_model, data)

    monkeypatch.setattr(fidelity, "Session", Counted)
    monkeypatch.setattr(Evaluator, "score", score)
    sweep(model, [Scale()], over="by=2,3,4,5", test=labelled(model))
    assert (sum(opened), len(opened)) == (1, 5)
    assert (sum(scored), len(scored)) == (1, 5)


@dataclass(frozen=True)
class Noted(Analysis[int]):
    """An answer that leaves a line in a file whenever it is computed."""

    file: str

    def compute(self, model: Model, ctx: Context) -> int:
        """Leave a line."""
        with Path(self.file).open("a") as stream:
            stream.write("computed\n")
        return 7


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Ask a question about the graph, then scale."""

    name: ClassVar[str] = "asking"
    file: str = option("", "where questions are noted")
    by: float = option(1, "the factor")

    def run(self, model: Model, ctx: Context) -> Changed | Unchanged:
        """Ask and scale."""
        answer = model.get(Noted(self.file), ctx)
        return Scale(by=answer * self.by).run(model, ctx)


@dataclass(frozen=True, kw_only=True)
class Before:
    """Leave a line in a file for every run."""

    name: ClassVar[str] = "before"
    file: str = option("", "where runs are noted")

    def run(self, model: Model, ctx: Context) -> Changed:
        """Leave a line, and double the kernel."""
        with Path(self.file).open("a") as stream:
            stream.write("ran\n")
        model.put("w", 2 * model.tensor("w").value())
        return Changed("doubled")


@pytest.mark.parametrize("jobs", [1, 2])
def test_passes_before_the_option_run_once_and_answers_travel(jobs: int, tmp_path: Path) -> None:
    asked, ran = str(tmp_path / "asked"), str(tmp_path / "ran")
    passes = [Before(file=ran), Asking(file=asked)]
    found = sweep(net(NET), passes, over="by=1,2,3,4", calib=samples(), jobs=jobs)
    assert Path(ran).read_text() == "ran\n"
    assert Path(asked).read_text() == "computed\n"
    assert [[each.name for each in point.report.passes] for point in found.points] == [["before", "asking"]] * 4
    compress(net(NET), passes, calib=samples())  # the control
    assert Path(ran).read_text() == "ran\n" * 2
    assert Path(asked).read_text() == "computed\n" * 2


# -- what is written -------------------------------------------------------------------------------------------------


def test_both_files_are_written(tmp_path: Path) -> None:
    path = write_net(tmp_path)
    found = toy(output=tmp_path / "out")
    assert sorted(tree(tmp_path / "out")) == ["sweep.json", "sweep.svg"]
    data = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert data == found.to_dict()
    assert (tmp_path / "out" / "sweep.json").read_text() == found.to_json(tmp_path / "one.json")
    assert sweep(path, [Scale()], over="by=1,2", calib=samples()).input.path == str(path)


def test_the_data_keep_to_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    data = toy(max_drop=1).to_dict()
    jsonschema.validate(data, schema())
    for spoil in (
        lambda d: d["points"][0].pop("sha256"),
        lambda d: d["points"][0]["stats"].pop("macs"),
        lambda d: d["input"].update(sha256="0"),
        lambda d: d["points"][0]["accuracy"].update(n=-1),
        lambda d: d.update(points=[]),
    ):
        spoilt = copy.deepcopy(data)
        spoil(spoilt)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, schema())


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Sweep) -> str:
        raise PassError("no ink")

    monkeypatch.setattr(chart, "draw", fails)
    (tmp_path / "sweep.json").write_text("an old one")
    with pytest.raises(PassError, match="no ink"):
        toy(output=tmp_path)
    assert tree(tmp_path) == {"sweep.json": b"an old one"}


def test_the_picture_shows_every_point() -> None:
    found = toy(over="by=1,2,-1", max_drop=2)
    text = found.to_svg()
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    for word in ("multiply-accumulates", "weights", "latency in onnxruntime", "max_drop=2", "the original", "2"):
        assert f"<!-- {word} -->" in text  # matplotlib names what it draws as shapes
    assert text == found.to_svg()
    assert text != toy(over="by=1,2,-2", max_drop=2).to_svg()  # the control
    assert "<dc:date>" not in text


def test_a_model_of_ones_own_metric_and_many_values_has_a_picture() -> None:
    model = net(NET)
    values = ",".join(str(2 + k / 8) for k in range(12))
    found = sweep(model, [Scale()], over=f"by={values}", test=labelled(model), metric=lambda outputs, labels: -1e6)
    text = found.to_svg()
    assert [text.count(f"<!-- {point.value} -->") for point in found.points] == [3] * 12


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"over": "bye=1,2"}, "no option 'bye'; did you mean 'by'?", id="option"),
        pytest.param({"over": "by=1,two"}, "option 'by' cannot be 'two'", id="value"),
        pytest.param({"over": "by=1..2"}, "cannot read the sweep", id="grammar"),
        pytest.param({"over": "by=1,2", "test": None}, "give --test or --calib along with --sweep", id="no data"),
        pytest.param({"over": "by=1,2", "save_after": "steps"}, "leave out --sweep", id="each pass"),
        pytest.param({"over": "by=1,2", "jobs": 0}, "jobs cannot be 0", id="jobs"),
        pytest.param({"over": "error=value,pass", "output": "/proc/out"}, "cannot write to '/proc/out'", id="folder"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_pass_runs(given: dict[str, Any], message: str) -> None:
    model = net(NET)
    with pytest.raises(UsageError) as refusal:
        sweep(model, [Failing(), Scale()], **{"test": labelled(model), **given})
    assert message in str(refusal.value)


def test_a_budget_and_a_ratio_in_one_are_refused_by_the_pass() -> None:
    with pytest.raises(UsageError, match="give either budgets"):
        sweep(net(NET), "prune:ratio=30%", over="macs=30%,50%", calib=samples())


def test_what_cannot_be_sent_to_another_process_is_refused() -> None:
    model = net(NET)
    with pytest.raises(UsageError, match=r"cannot be sent to another process: .*; define passes and metrics in a mod"):
        toy(jobs=2, metric=lambda outputs, labels: 0.5)
    assert len(sweep(model, [Scale()], over="by=1,2", jobs=2, test=labelled(model)).points) == 2  # one is left to do


def test_a_pass_that_fails_in_another_process_fails_here() -> None:
    model = net(NET)
    with pytest.raises(PassError, match="pass 'failing' failed: ValueError: seven"):
        sweep(model, [Scale(), Failing()], over="by=1,2,3", jobs=2, test=labelled(model))


def test_any_name_of_a_file_can_stand_in_the_title(tmp_path: Path) -> None:
    path = tmp_path / "net $x_{$ 网络.onnx"
    write_net(tmp_path).rename(path)
    found = sweep(path, [Scale()], over="by=1,2", calib=samples())
    assert "$x_{$" in ElementTree.fromstring(found.to_svg()).findtext("{*}title")
