"""``--sensitivity``: the table on standard output, both files in a folder, one line for what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys import Run

import onnxprune as op


def test_it_prints_the_curves_and_writes_nothing(run: Run, work: Path) -> None:
    before = sorted(work.rglob("*"))
    done = run("net.onnx", "--sensitivity", "--calib", "calib.npz", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out == op.sensitivity("net.onnx", calib="calib.npz").text()
    assert sorted(work.rglob("*")) == before


def test_it_may_stand_before_the_model(run: Run) -> None:
    words = ("--calib", "calib.npz", "-q")
    assert run("--sensitivity", "net.onnx", *words).out == run("net.onnx", "--sensitivity", *words).out


@pytest.mark.parametrize("form", ["json", "svg"])
def test_forms_are_those_of_the_folder(run: Run, work: Path, form: str) -> None:
    words = ("--calib", "calib.npz", "--test", "test.npz", "--format", form, "-o", "told", "-q")
    done = run("net.onnx", "--sensitivity=exact", *words)
    assert (done.code, done.err) == (0, "")
    assert (work / "told" / f"sensitivity.{form}").read_text(encoding="utf-8") == done.out
    assert sorted(path.name for path in (work / "told").iterdir()) == ["sensitivity.json", "sensitivity.svg"]


def test_options_arrive(run: Run) -> None:
    words = ("--calib=calib.npz", "--test=test.npz", "--importance=l2", "--seed=7", "--jobs=1", "--format=json", "-q")
    told = json.loads(run("net.onnx", "--sensitivity=exact", *words).out)
    assert (told["exact"], told["importance"], told["seed"], told["metric"]) == (True, "l2", 7, "top1")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["net.onnx", "--sensitivity"], 2, "give --calib along with --sensitivity"),
        (["--sensitivity"], 2, "there is no model"),
        (["net.onnx", "--sensitivity=exat", "--calib=calib.npz"], 2, "no way 'exat'; did you mean 'exact'?"),
        (["net.onnx", "--sensitivity", "--calib=calib.npz", "--test=test.npz"], 2, "leave out --test"),
        (["net.onnx", "--sensitivity", "--calib=no.npz"], 2, "no.npz"),
        (["net.onnx", "--sensitivity", "--calib=calib.npz", "--format=dot"], 2, "no format 'dot'"),
        (["net.onnx", "--sensitivity", "--calib=calib.npz", "--importance=l3"], 2, "no criterion 'l3'"),
        (["net.onnx", "--sensitivity", "--calib=calib.npz", "--passes=fold"], 2, "--passes of what to do with it"),
        (["net.onnx", "--sensitivity", "--explain"], 2, "--sensitivity of what to do with it"),
        (["net.onnx", "--passes=fold", "--dry-run", "--importance=l2"], 2, "--importance goes with --sensitivity"),
        (["net.onnx", "--sensitivity", "--calib=calib.npz", "-o", "net.onnx"], 2, "cannot write to 'net.onnx'"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, work: Path, words: list[str], code: int, said: str) -> None:
    before = sorted(work.rglob("*"))
    done = run(*words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert sorted(work.rglob("*")) == before
