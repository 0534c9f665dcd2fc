"""``--sweep`` on the command line: what is written, what is told, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from toys import Run, samples, tree

from onnxprune.sweeps.sweep import schema

TEST = ("--test", "test.npz")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies of a few runs."""
    monkeypatch.setattr("onnxprune.latency.SECONDS", 0.01)


def test_0_data_and_picture_are_written(work: Path, run: Run) -> None:
    done = run("net.onnx", "--passes", "scale", "--sweep", "by=1..3:step=1", *TEST, "-o", "out", "--max-drop=1")
    assert (done.code, done.out) == (0, "")
    assert sorted(tree(work / "out")) == ["sweep.json", "sweep.svg"]
    data = json.loads((work / "out" / "sweep.json").read_text())
    jsonschema.validate(data, schema())
    assert [point["value"] for point in data["points"]] == ["1", "2", "3"]
    assert "Fewest MACs with max_drop=1: --passes scale:by=1.0" in done.err
    assert all(len(line) <= 80 for line in done.err.splitlines())


def test_processes_share_a_folder_and_made_up_inputs_are_told(work: Path, run: Run) -> None:
    (work / "feeds").mkdir()
    for number, sample in enumerate(samples()["x"]):
        np.save(work / "feeds" / f"{number}.npy", sample)
    found = {}
    for jobs in ("1", "2"):
        words = ("--calib", "feeds", "--sweep", "ratio=25%,50%", "--jobs", jobs, "-o", jobs)
        done = run("net.onnx", "--passes", "prune:align=1", *words)
        assert (done.code, "RANDOM" in done.err) == (0, False)
        found[jobs] = json.loads((work / jobs / "sweep.json").read_text())
    assert found["1"]["data"]["calib"] == {"source": "feeds", "samples": 12, "random": False, "left_out": 0}
    hashes = [[point["sha256"] for point in found[jobs]["points"]] for jobs in "12"]
    assert hashes[0] == hashes[1]
    done = run("net.onnx", "--passes", "scale", "--sweep", "by=1,2", "--calib", "random", "--dry-run")
    assert done.err.count("RANDOM INPUTS, NOT DATA") == 2


def test_1_no_point_reaches_its_goals(work: Path, run: Run) -> None:
    words = ("net.onnx", "--passes", "scale", *TEST, "--max-drop=1", "-o", "out", "--sweep")
    done = run(*words, "by=-1,-2")
    assert done.code == 1
    assert "No point reaches its goals" in done.err
    assert sorted(tree(work / "out")) == ["sweep.json", "sweep.svg"]
    done = run(*words, "by=-1,1")  # the control: one does
    assert done.code == 0
    assert "✗ a goal is missed" in done.err
    assert "by=-1: max_drop: top1 fell" in run(*words, "by=-1,1", "-v").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(("--sweep=bye=1,2", *TEST), "no option 'bye'; did you mean 'by'?", id="option"),
        pytest.param(("--sweep=by=3..1:step=1", *TEST), "'3..1:step=1' is not a span", id="span"),
        pytest.param(("--sweep=by=x", *TEST), "option 'by' cannot be 'x'", id="value"),
        pytest.param(("--sweep=by=1,2",), "give --test or --calib along with --sweep", id="no data"),
        pytest.param(("--sweep=by=1,2", "--save-after=steps", *TEST), "--save-after tells of one run", id="each"),
        pytest.param(("--sweep=by=1,2", "--time-passes", *TEST), "--time-passes tells of one run", id="times"),
        pytest.param(("--sweep=by=1,2", "--jobs=0", *TEST), "jobs cannot be 0", id="jobs"),
    ],
)
def test_2_what_makes_no_sense(work: Path, run: Run, words: tuple[str, ...], message: str) -> None:
    before = tree(work)
    done = run("net.onnx", "--passes", "scale", *words, "-o", "out")
    assert done.code == 2
    assert message in done.err.splitlines()[-1]
    assert tree(work) == before


def test_4_a_pass_fails_at_one_value_and_nothing_is_written(work: Path, run: Run) -> None:
    before = tree(work)
    done = run("net.onnx", "--passes", "scale,failing", "--sweep", "by=1,2", *TEST, "-o", "out")
    assert done.code == 4
    assert tree(work) == before


def test_a_dry_run_writes_nothing_and_the_report_goes_where_it_is_wanted(work: Path, run: Run) -> None:
    before = tree(work)
    done = run("net.onnx", "--passes=scale", "--sweep=by=1,2", *TEST, "--dry-run", "--report=-", "-q")
    assert (done.code, done.err) == (0, "")
    assert tree(work) == before
    jsonschema.validate(json.loads(done.out), schema())


def test_a_depfile_tells_what_a_sweep_was_made_of(work: Path, run: Run) -> None:
    done = run("net.onnx", "--passes=scale", "--sweep=by=1,2", *TEST, "-o", "out", "-q", "--depfile=out.d")
    assert done.code == 0
    rule = (work / "out.d").read_text()
    assert rule.startswith("out/sweep.json:")
    assert "net.onnx" in rule
    assert "test.npz" in rule
