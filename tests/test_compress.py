"""``compress`` from Python: what it measures, writes and refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from oracle import net, net_proto
from toys import NET, Failing, Needy, Scale, compress, doing, labelled, samples, tree, write_net

from onnxprune.errors import ModelError, PassContractError, PassError, UsageError
from onnxprune.job import Given
from onnxprune.model import Model
from onnxprune.passes import Changed, Context, Unchanged
from onnxprune.progress import Progress
from onnxprune.recipe import Recipe
from onnxprune.report import schema


def test_the_result_is_a_copy_with_a_report() -> None:
    original = net(NET)
    before = original.fingerprint()
    result = compress(original, [Scale(by=2)], calib=samples())
    assert original.fingerprint() == before
    assert result.model.fingerprint() != before
    report = result.report
    jsonschema.validate(report.to_dict(), schema())
    assert [each.name for each in report.passes] == ["scale"]
    assert report.input.path is None
    assert report.input.sha256 == hashlib.sha256(original.proto().SerializeToString(deterministic=True)).hexdigest()
    assert (report.output.path, report.targets, report.missed) == (None, (), ())
    assert report.input.stats == report.output.stats


def test_the_result_of_a_file_names_it(tmp_path: Path) -> None:
    path = write_net(tmp_path)
    report = compress(path, []).report
    assert report.input.path == str(path)
    assert report.input.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.output.sha256 == report.input.sha256  # the file was written by us


def test_the_result_is_saved_with_prune_spec_and_report(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    saved = compress(net(NET), [Scale()]).save(folder)
    assert sorted(tree(tmp_path)) == ["a", "a/b", "a/b/model.onnx", "a/b/prune.json", "a/b/report.json"]
    assert json.loads((folder / "report.json").read_text()) == saved.report.to_dict()
    assert json.loads((folder / "prune.json").read_text()) == {}
    assert Model.load(folder / "model.onnx").fingerprint() == saved.model.fingerprint()
    assert saved.report.output.path == str(folder / "model.onnx")
    assert saved.report.output.sha256 == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


def test_the_result_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in "ab":
        compress(net(NET), [Scale()], calib=samples(), output=tmp_path / name)
    for name in ("model.onnx", "prune.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_result_tells_which_slots_of_the_file_went(tmp_path: Path) -> None:
    def cut(model: Model, ctx: Context) -> Changed:
        from onnxprune.axes.cutting import cut
        from onnxprune.node import Axis

        rows = [4 * k + j for k in (1, 3) for j in range(4)]
        slots = {Axis("w", 0): [1, 3], Axis("b", 0): [1, 3], Axis("a", 1): [1, 3], Axis("v", 0): rows}
        cut(model, {axis: np.array(gone) for axis, gone in slots.items()})
        return Changed("cut")

    compress(net(NET), [doing(cut)], output=tmp_path)
    assert json.loads((tmp_path / "prune.json").read_text()) == {
        "b": {"0": [1, 3]},
        "v": {"0": [4, 5, 6, 7, 12, 13, 14, 15]},
        "w": {"0": [1, 3]},
    }


def test_each_pass_is_verified_and_its_model_saved_on_demand(tmp_path: Path) -> None:
    def lie(model: Model, ctx: Context) -> Changed:
        return Changed("nothing at all")

    compress(net(NET), [doing(lie)], save_after=tmp_path / "steps")
    assert sorted(tree(tmp_path)) == ["steps", "steps/01-toy.onnx"]
    with pytest.raises(PassContractError):
        compress(net(NET), [doing(lie)], verify_each=True)


def test_without_data_there_is_latency_alone() -> None:
    report = compress(net(NET), [Scale()]).report
    assert report.fidelity is report.accuracy is None
    assert report.latency is not None
    assert report.latency.threads == 1


def test_calibration_data_is_split_into_what_passes_see_and_what_they_are_judged_by() -> None:
    seen = []

    def look(model: Model, ctx: Context) -> Unchanged:
        assert ctx.calibration is not None
        seen.append(set(ctx.calibration.order.tolist()))
        return Unchanged("looked")

    report = compress(net(NET), [doing(look)], calib=samples(20)).report
    assert (len(seen[0]), report.fidelity.n) == (16, 4)
    assert (report.accuracy.metric, report.accuracy.after) == ("agreement", 1.0)
    report = compress(net(NET), [doing(look)], calib=samples(20), test=samples(7, seed=1)).report
    assert (len(seen[1]), report.fidelity.n) == (20, 7)


def test_labels_make_it_accuracy() -> None:
    model = net(NET)
    report = compress(model, [Scale(by=1)], test=labelled(model)).report
    assert report.accuracy.metric == "top1"
    assert report.accuracy.before == report.accuracy.after == 0.95


def test_a_metric_of_ones_own_is_a_function_or_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metric.py").write_text("def half(outputs, labels):\n    return 0.5\n")
    monkeypatch.chdir(tmp_path)
    model = net(NET)
    for metric in ("own_metric:half", lambda outputs, labels: 0.5):
        report = compress(model, [Scale()], test=labelled(model), metric=metric).report
        assert (report.accuracy.before, report.accuracy.n) == (0.5, 20)


def test_a_drop_beyond_the_allowed_one_is_a_missed_goal() -> None:
    model = net(NET)
    ruined = doing(lambda model, ctx: model.put("v", -model.tensor("v").value()) or Changed("ruined"))
    report = compress(model, [ruined], test=labelled(model), max_drop=10).report
    (goal,) = report.missed
    assert goal.startswith("max_drop: top1 fell by ")
    assert goal.endswith("and 10 are allowed; 'toy' is undone")
    assert compress(model, [ruined], test=labelled(model), max_drop=100).report.missed == ()


def test_the_network_before_the_pass_that_lost_too_much_is_kept_and_later_passes_do_not_run() -> None:
    model, seen = net(NET), list[str]()

    def passing(name: str, sign: float) -> Any:
        def run(model: Model, ctx: Context) -> Changed:
            seen.append(name)
            model.put("v", (sign * model.tensor("v").value()).astype(np.float32))
            return Changed(name)

        return doing(run)

    passes = [passing("good", 2.0), passing("bad", -1.0), passing("never", 1.0)]
    result = compress(model, passes, test=labelled(model), max_drop=10)
    good = compress(model, passes[:1], test=labelled(model))
    assert seen == ["good", "bad", "good"]
    assert result.model.fingerprint() == good.model.fingerprint()
    assert result.report.accuracy == good.report.accuracy
    first, second, third = result.report.passes
    assert (first.changed, first.undone) == (True, None)
    assert (second.changed, second.note, second.after) == (False, "bad", second.before)
    assert second.undone is not None
    assert second.undone.endswith("and 10 are allowed")
    assert (third.changed, third.undone, third.seconds) == (False, "not run, as 'toy' was undone", 0)
    assert result.report.missed == (f"max_drop: {second.undone}; 'toy' is undone",)
    assert "undone: top1 fell" in result.report.table()
    assert compress(model, passes, test=labelled(model)).report.passes[-1].note == "never"


def test_the_gate_needs_no_labels() -> None:
    model = net(NET)
    ruined = doing(lambda model, ctx: model.put("v", -model.tensor("v").value()) or Changed("ruined"))
    result = compress(model, [ruined], calib=samples(40), max_drop=10)
    assert result.model.fingerprint() == model.fingerprint()
    assert result.report.missed[0].startswith("max_drop: agreement fell by ")
    assert compress(model, [ruined], calib=samples(40)).model.fingerprint() != model.fingerprint()


def test_a_goal_that_a_pass_missed_is_named_with_it() -> None:
    assert compress(net(NET), [Scale(by=0.1)]).report.missed == ("scale: 'v' too",)


def test_open_sizes_come_from_shapes_then_data_then_one() -> None:
    macs = compress(net(NET), []).report.input.stats.macs
    assert compress(net(NET), [], calib=samples()).report.input.stats.macs == macs
    assert compress(net(NET), [], shapes={"x": (3, 3, 4, 4)}).report.input.stats.macs == 3 * macs
    wide = net("(float[N,3,H,4] x) => (float[N,4,K,4] y) <float[4,3,1,1] w> { y = Conv(x, w) }")
    assert compress(wide, [], calib=samples()).report.input.stats.macs == 16 * 12


def test_a_graph_of_fixed_batch_size_is_fed_whole_batches() -> None:
    report = compress(net(NET.replace("N,", "4,")), [Scale()], calib=samples(21)).report
    assert report.fidelity.n == 4
    assert report.latency is not None


def test_made_up_inputs_that_do_not_run_leave_the_latency_out() -> None:
    picky = net("(int64[N] i) => (float[M,3] y) <float[1,3] table> { y = Gather<axis=0>(table, i) }")
    assert compress(picky, []).report.latency is None
    assert compress(picky, [], calib={"i": np.zeros((4,), np.int64)}).report.latency is not None


def test_a_result_that_does_not_run_is_the_fault_of_the_passes() -> None:
    broken = doing(lambda model, ctx: model.put("w", np.ones((4, 2, 3, 3), np.float32)) or Changed("broke it"))
    with pytest.raises(PassError, match=r"the passes broke the model .*; --verify-each tells which one did"):
        compress(net(NET), [broken])


def test_what_is_given_stands_above_the_recipe(tmp_path: Path) -> None:
    np.savez(tmp_path / "calib.npz", **samples())
    recipe = Recipe(passes=(Scale(by=2),), calib=str(tmp_path / "calib.npz"), seed=3)
    assert compress(net(NET), recipe=recipe).report.seed == 3
    report = compress(net(NET), [Scale(by=3)], recipe=recipe, seed=4, calib=None, max_drop=None).report
    assert (report.seed, report.passes[0].options) == (4, {"by": 3.0})
    assert report.fidelity is not None


def test_what_is_given_may_be_a_recipe_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "calib.npz", **samples())
    (tmp_path / "edge.toml").write_text('schema = 1\ncalib = "calib.npz"\nthreads = 2\n[gate]\nmax_drop = 5\n')
    report = compress(net(NET), [Scale()], recipe=tmp_path / "edge.toml").report
    assert report.fidelity is not None
    assert report.latency.threads == 2


def test_what_is_given_has_the_names_of_the_command_line() -> None:
    with pytest.raises(TypeError, match=r"compress.. takes no argument 'calibration'"):
        compress(net(NET), [], calibration=samples())
    recipe = set(Recipe.__dataclass_fields__) - {"passes"}
    assert recipe <= set(Given.__annotations__)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"max_drop": 1}, "a drop can be seen on data only", id="no data"),
        pytest.param({"max_drop": -1, "calib": samples()}, "max_drop cannot be -1", id="negative drop"),
        pytest.param({"targets": ["hots"]}, "no target 'hots'; did you mean 'host'?", id="target"),
        pytest.param({"targets": "hots"}, "no target 'hots'", id="one target"),
        pytest.param({"targets": ["host", "host"]}, "target 'host' is given twice", id="target twice"),
        pytest.param({"metric": "nowhere.at:all"}, "cannot import 'nowhere.at'", id="metric"),
        pytest.param({"metric": len}, "needs test data that holds 'labels'", id="metric without labels"),
        pytest.param({"shapes": {"X": (1, 3, 4, 4)}}, "no graph input 'X'; known: x", id="input"),
        pytest.param({"shapes": {"x": (1, 3, 5, 4)}}, "does not fit the model's", id="shape"),
        pytest.param({"calib": {"y": np.zeros(3)}}, "no graph input 'y'", id="calibration"),
        pytest.param({"test": {**samples(2), "labels": np.array([0, 9])}}, "'labels' hold 0 … 9", id="labels"),
        pytest.param({"recipe": "no.toml"}, "no.toml: cannot read the recipe", id="recipe"),
        pytest.param({"passes": "no-such-pass"}, "no pass 'no-such-pass'", id="pass"),
        pytest.param({"passes": [Needy()]}, "pass 'needy' needs calibration data: give --calib", id="requires"),
    ],
)
def test_what_is_given_is_refused_before_any_pass_runs(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        compress(net(NET), **{"passes": [Failing()], **given})


def test_what_is_given_must_be_something() -> None:
    with pytest.raises(UsageError, match="there is nothing to do"):
        compress(net(NET))


def test_wrong_options_come_before_a_wrong_model() -> None:
    with pytest.raises(UsageError):
        compress("no.onnx", [Scale()], targets=["hots"])
    with pytest.raises(ModelError, match=r"cannot read model 'no.onnx'"):
        compress("no.onnx", [Scale()], targets=["host"])


def test_progress_is_shown_to_who_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    compress(net_proto(NET), [Scale()], calib=samples())
    assert capsys.readouterr() == ("", "")
    compress(net_proto(NET), [Scale()], calib=samples(), progress=Progress.stderr())
    out, err = capsys.readouterr()
    assert out == ""
    assert "passes: 1/1" in err
    assert "measuring: 3/3" in err
