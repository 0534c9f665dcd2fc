"""``--explain``: data on standard output or in a file, and no work on the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys import Run

import onnxprune as op


def test_it_prints_the_groups(run: Run, work: Path) -> None:
    done = run("--explain", "net.onnx")
    assert (done.code, done.err) == (0, "")
    assert done.out == op.explain("net.onnx").text()
    assert done.out.startswith("net.onnx: ")


def test_it_may_stand_behind_the_model(run: Run) -> None:
    assert run("net.onnx", "--explain").out == run("--explain", "net.onnx").out


def test_it_prints_what_is_in_the_way_of_an_operator(run: Run) -> None:
    done = run("--explain=Conv_0", "net.onnx")
    assert (done.code, done.err) == (0, "")
    assert done.out == op.explain("net.onnx", "Conv_0").text()


@pytest.mark.parametrize(
    ("form", "start"), [("json", "{"), ("dot", "digraph "), ("svg", "<?xml"), ("text", "net.onnx")]
)
def test_forms_go_to_standard_output_or_to_a_file(run: Run, work: Path, form: str, start: str) -> None:
    done = run("--explain", "net.onnx", "--format", form)
    assert done.code == 0
    assert done.out.startswith(start)
    again = run("--explain", "net.onnx", "--format", form, "-o", "told")
    assert (again.code, again.out, again.err) == (0, "", "")
    assert (work / "told").read_text(encoding="utf-8") == done.out


def test_json_holds_the_operator_that_was_asked_for(run: Run) -> None:
    told = json.loads(run("--explain=MatMul_3", "net.onnx", "--format=json").out)
    assert told["focus"]["node"] == "MatMul_3"
    assert told["model"] == "net.onnx"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--explain"], 2, "there is no model"),
        (["--explain=Conv_7", "net.onnx"], 2, "no node 'Conv_7'; did you mean 'Conv_0'?"),
        (["--explain", "nowhere.onnx"], 3, "cannot read model 'nowhere.onnx'"),
        (["--explain", "Conv_0", "net.onnx"], 2, "one argument too many"),
        (["--explain", "net.onnx", "--format=jason"], 2, "no format 'jason'; did you mean 'json'?"),
        (["net.onnx", "--format=json"], 2, "give --explain or --sensitivity along with it"),
        (["--explain", "net.onnx", "--passes", "fold"], 2, "--passes of what to do with it"),
        (["--explain", "net.onnx", "--target", "host"], 2, "--target of what to do with it"),
        (["--explain", "net.onnx", "--dry-run"], 2, "--dry-run of what to do with it"),
        (["--explain", "net.onnx", "-o", "net.onnx"], 2, "would be overwritten"),
        (["--explain", "net.onnx", "-o", "no/such/file"], 2, "cannot write to 'no/such'"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, work: Path, words: list[str], code: int, said: str) -> None:
    before = sorted(work.rglob("*"))
    done = run(*words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert sorted(work.rglob("*")) == before
