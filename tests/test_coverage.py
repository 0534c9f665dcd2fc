"""The coverage benchmark without torch: from kept results of two graphs to rows and a page."""

from __future__ import annotations

import json
import subprocess
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
from oracle import net_proto

from benchmarks import coverage, environment
from benchmarks.architectures import check

GRAPHS = ("torchvision.resnet18-legacy17-shared", "torchvision.resnet18-dynamo18-distinct")
NET = """(float[1,3,8,8] x) => (float[1,5,6,6] y) <float[8,3,3,3] w, float[8] b, float[5,8,1,1] u>
    { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, u) }"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two graphs, checked, of which onnxsim spoilt one; there is no zoo, and nothing else is run."""
    monkeypatch.setattr(coverage, "ZOO", tmp_path / "zoo")
    for name in ("graphs", "peers", "zoo"):
        (tmp_path / name).mkdir()
    for name, invalid in zip(GRAPHS, ("", "bias must be a 1D tensor"), strict=True):
        (tmp_path / "graphs" / f"{name}.onnx").write_bytes(net_proto(NET).SerializeToString())
        sims = {"removed": 0.25, "invalid": invalid}
        (tmp_path / "peers" / f"onnxsim.{name}.json").write_text(json.dumps(sims))
    return tmp_path


def given(folder: Path, *words: str) -> Namespace:
    parser = ArgumentParser()
    coverage.arguments(parser.add_argument_group())
    parser.add_argument("--page", type=Path)
    given = parser.parse_args(["--kept", str(folder), *words])
    given.torch = "python"
    return given


def test_results_become_rows_and_a_page(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(coverage, "_run", lambda python, script, *folders, pattern: asked.append((str(python), script)))
    check.main(kept / "graphs", kept / "results")
    assert capsys.readouterr().out.count("equal") == len(GRAPHS)
    lost = "torchvision.resnet50-dynamo18-shared"
    (kept / "graphs" / f"{lost}.json").write_text(json.dumps({"error": "NoWay: no such operator. Please ask"}))
    [row] = coverage.main(given(kept, "--page", str(kept / "page.md")))
    assert (row["network"], row["graphs"], row["equal"], row["others"]) == ("torchvision.resnet18", 2, 2, "")
    assert row["removed"] == pytest.approx(1 - (4 * 27 + 4 + 5 * 4) / (8 * 27 + 8 + 5 * 8))
    assert (row["Torch-Pruning"], row["onnxsim"], row["onnxsim runs"]) == (None, 0.25, "1 of 2")
    assert [script for python, script in asked if python == "python"] == ["export", "peers"]
    text = (kept / "page.md").read_text(encoding="utf-8")
    assert "| `torchvision.resnet18` | 2 of 2 | 50.0% |" in text
    assert "| **all** | 2 | 0 | 0 | 0 | 0 |" in text
    assert f"- `{lost}`: NoWay: no such operator\n" in text
    assert "| `signature`: a graph input or output" in text


def test_what_was_checked_is_not_checked_again_until_the_code_changes(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check.main(kept / "graphs", kept / "results", "*legacy*")
    assert capsys.readouterr().out.count("\n") == 1
    check.main(kept / "graphs", kept / "results")
    assert capsys.readouterr().out.count("\n") == 1
    monkeypatch.setattr(check, "code", lambda: "other")
    check.main(kept / "graphs", kept / "results")
    assert capsys.readouterr().out.count("\n") == 2


def test_what_fails_is_told_as_it_is(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "silenced", lambda model, spec: model)
    path = kept / "graphs" / f"{GRAPHS[0]}.onnx"
    assert check.checked(path)["status"] == "failed"
    monkeypatch.setattr(check, "CONTROL", float("inf"))
    monkeypatch.setattr(check, "RTOL", float("inf"))
    assert check.checked(path)["status"] == "blind"


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(environment.venv, "create", lambda folder, **how: folder.mkdir(exist_ok=True))
    monkeypatch.setattr(subprocess, "run", lambda words, **how: made.append([str(word) for word in words]))
    for _ in range(2):
        assert environment.environment(tmp_path / "venv") == tmp_path / "venv" / "bin" / "python"
    assert [words[-1] for words in made] == [str(environment.REQUIREMENTS)]
