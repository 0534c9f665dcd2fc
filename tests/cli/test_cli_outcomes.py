"""The command does what it is told, says so, and its exit code says how it went."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from toys import Run, tree

from onnxprune import compression
from onnxprune.errors import BackendError
from onnxprune.report import schema

OUT = ["model.onnx", "prune.json", "report.json"]


def test_0_all_is_done(work: Path, run: Run) -> None:
    done = run("net.onnx", "--passes", "scale:by=2", "--calib", "calib.npz", "--test=test.npz", "-o", "out/")
    assert (done.code, done.out) == (0, "")
    assert sorted(tree(work / "out")) == OUT
    assert "net.onnx → out/model.onnx" in done.err
    assert "scaled 'w' by 2" in done.err
    assert "top1 (n = 20)" in done.err
    report = json.loads((work / "out" / "report.json").read_text())
    jsonschema.validate(report, schema())
    assert report["input"]["path"] == "net.onnx"
    assert report["output"]["path"] == "out/model.onnx"


@pytest.mark.parametrize(
    ("words", "goal"),
    [
        pytest.param(("--passes", "scale:by=0.1"), "scale: 'v' too", id="of a pass"),
        pytest.param(
            ("--passes", "scale:by=-1", "--test", "test.npz", "--max-drop=1"), "max_drop: top1 fell by", id="drop"
        ),
    ],
)
def test_1_a_goal_was_missed_and_all_is_written(work: Path, run: Run, words: tuple[str, ...], goal: str) -> None:
    done = run("net.onnx", *words, "-o", "out")
    assert done.code == 1
    assert f"Goal missed: {goal}" in done.err
    assert sorted(tree(work / "out")) == OUT
    assert json.loads((work / "out" / "report.json").read_text())["missed"][-1].startswith(goal)


def test_4_a_pass_failed(work: Path, run: Run) -> None:
    before = tree(work)
    done = run("net.onnx", "--passes", "scale,failing", "-o", "out")
    assert done.code == 4
    assert done.err.splitlines()[-1] == "onnxprune: error: pass 'failing' failed: ValueError: seven"
    assert tree(work) == before


def test_5_a_backend_failed(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise BackendError("no linker for target 'host'")

    monkeypatch.setattr(compression, "deploy", fails)
    before = tree(work)
    done = run("net.onnx", "--passes", "scale", "--target", "host", "-o", "out/deep")
    assert done.code == 5
    assert done.err.splitlines()[-1] == "onnxprune: error: no linker for target 'host'"
    assert tree(work) == before


def test_130_it_was_interrupted(work: Path, run: Run) -> None:
    before = tree(work)
    done = run("net.onnx", "--passes", "failing:error=key", "-o", "out")
    assert done.code == 130
    assert done.err.splitlines()[-1] == "onnxprune: interrupted"
    assert tree(work) == before


def test_143_it_was_terminated(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before, handler = tree(work), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(compression, "deploy", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert run("net.onnx", "--passes", "scale", "--target", "host", "-o", "out").code == 143
    assert tree(work) == before
    assert signal.getsignal(signal.SIGTERM) is handler


def test_only_the_first_of_several_signals_counts(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``timeout`` sends two, and people press Ctrl-C more than once: the others come while drafts are removed."""
    before, remove = tree(work), shutil.rmtree

    def disturbed(*args: Any, **words: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        remove(*args, **words)

    def stopped(*_: object) -> None:
        monkeypatch.setattr(shutil, "rmtree", disturbed)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(compression, "deploy", stopped)
    done = run("net.onnx", "--passes", "scale", "--target", "host", "-o", "out")
    assert done.code == 143
    assert done.err.splitlines()[-1] == "onnxprune: terminated"
    assert tree(work) == before


def test_70_there_is_a_bug(
    work: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnxprune.cli import main

    def fails(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(compression, "try_out", fails)
    words = ("net.onnx", "--passes", "scale", "-o", "out")
    done = run(*words)
    assert done.code == 70
    assert done.err.splitlines()[-1] == (
        "onnxprune: internal error: ZeroDivisionError: oops; run with -v for the traceback"
    )
    assert not (work / "out").exists()
    assert main([*words, "-v"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_library_for_this_machine(work: Path, run: Run) -> None:
    done = run("net.onnx", "--passes", "scale", "--calib=calib.npz", "--target=host", "-o", "out")
    assert done.code == 0
    assert sorted(path.name for path in (work / "out").iterdir()) == ["host", *OUT]
    assert {"model.so", "libtvm_runtime.so", "check.cc"} <= set(tree(work / "out/host"))
    assert "on host" in done.err


def test_a_dry_run_writes_nothing(work: Path, run: Run) -> None:
    before = tree(work)
    done = run("net.onnx", "--passes", "scale", "--dry-run", "--report=-")
    assert done.code == 0
    assert tree(work) == before
    assert "net.onnx → (not written)" in done.err
    report = json.loads(done.out)
    assert (report["output"]["path"], report["targets"]) == (None, [])


def test_the_report_goes_where_it_is_wanted(work: Path, run: Run) -> None:
    done = run("net.onnx", "--passes", "scale", "-o", "out", "--report", "mine.json", "-q")
    assert done == type(done)(0, "", "")
    assert (work / "mine.json").read_bytes() == (work / "out" / "report.json").read_bytes()
    done = run("net.onnx", "--passes", "scale", "-o", "out", "--report", "-", "-q")
    assert done.out.encode() == (work / "out" / "report.json").read_bytes()


def test_quiet_leaves_missed_goals_and_errors(run: Run) -> None:
    done = run("net.onnx", "--passes", "scale:by=0.1", "-o", "out", "-q")
    assert done == type(done)(1, "", "onnxprune: goal missed: scale: 'v' too\n")
    done = run("net.onnx", "--passes", "failing", "-o", "out", "-q")
    assert done == type(done)(4, "", "onnxprune: error: pass 'failing' failed: ValueError: seven\n")


def test_verbose_logs_and_leaves_logging_as_it_was(run: Run) -> None:
    handlers = list(logging.getLogger().handlers)
    done = run("net.onnx", "--passes", "scale", "--dry-run", "-v")
    assert "INFO onnxprune.manager: pass 'scale': scaled 'w' by 0.5" in done.err
    assert "DEBUG" not in done.err
    assert logging.getLogger().handlers == handlers
    assert "INFO" not in run("net.onnx", "--passes", "scale", "--dry-run").err


def test_the_command_line_stands_above_the_recipe(work: Path, run: Run) -> None:
    (work / "sub").mkdir()
    recipe = 'schema = 1\nseed = 3\ncalib = "../calib.npz"\n[[pass]]\nuse = "scale"\nby = 2\n'
    (work / "sub" / "edge.toml").write_text(recipe)
    done = run("net.onnx", "--recipe=sub/edge.toml", "--dry-run", "--report=-", "--shape", "x=2,3,4,4")
    report = json.loads(done.out)
    assert (report["seed"], report["passes"][0]["options"]) == (3, {"by": 2.0})
    assert report["fidelity"]["n"] == 2
    done = run("net.onnx", "--recipe=sub/edge.toml", "--dry-run", "--report=-", "--seed=4", "--passes=scale:by=3")
    report = json.loads(done.out)
    assert (report["seed"], report["passes"][0]["options"]) == (4, {"by": 3.0})


def test_authors_see_each_step(work: Path, run: Run) -> None:
    passes = ("--passes", "scale,scale:by=2")
    done = run("net.onnx", *passes, "--dry-run", "--verify-each", "--save-after=steps", "--time-passes")
    assert done.code == 0
    assert sorted(tree(work / "steps")) == ["01-scale.onnx", "02-scale.onnx"]
    assert "time by pass" in done.err


def test_old_results_are_replaced(work: Path, run: Run) -> None:
    run("net.onnx", "--passes", "scale:by=3", "-o", "out")
    before = tree(work / "out")
    assert run("net.onnx", "--passes", "scale:by=2", "-o", "out").code == 0
    after = tree(work / "out")
    assert before.keys() == after.keys()
    assert before["model.onnx"] != after["model.onnx"]


def call(*words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "onnxprune", *words], capture_output=True, check=False, **how)


def test_it_is_a_module_to_run(work: Path) -> None:
    done = call("net.onnx", "--passes=", "-o", "out")
    assert (done.returncode, done.stdout) == (0, b"")
    assert sorted(tree(work / "out")) == OUT


def test_a_reader_that_went_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "onnxprune"]
    for word in ("--list-targets", "--help"):
        done = subprocess.run([*words, word], stdout=writer, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writer)
