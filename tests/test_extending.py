"""The plug-in of ``docs/extending.md`` is the one in ``tests/plugin``; installed, it does what the page says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser
from pages import ROOT, commands, texts

from onnxprune.runtime import Session

PAGE = "docs/extending.md"
SWISH = """<ir_version: 8, opset_import: ["": 17, "com.example": 1]>
    net (float[N,3,8,8] x) => (float[N,2,8,8] y) <float[16,3,1,1] w, float[16] slope, float[2,16,1,1] v>
    { a = Conv(x, w)  b = com.example.Swish<channels=16>(a, slope)  y = Conv(b, v) }"""
MEANING = """<domain: "com.example", opset_import: ["": 17]> Swish <channels> (x, slope) => (y)
    { axes = Constant<value_ints=[1,2]>()  s = Unsqueeze(slope, axes)
      p = Mul(s, x)  q = Sigmoid(p)  y = Mul(x, q) }"""


def started(plugin: Path | None, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with the plug-in or without."""
    env = {**os.environ, "PYTHONPATH": str(plugin or "")}
    command = [sys.executable, "-m", "onnxprune", *words]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)


def swish() -> onnx.ModelProto:
    """A network with an operator that only the plug-in knows."""
    proto, rng = parser.parse_model(SWISH), np.random.default_rng(0)
    for value in list(proto.graph.value_info):
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        proto.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype("f"), value.name))
    del proto.graph.value_info[:]
    return proto


@pytest.fixture(scope="module")
def place(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have been run."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "models").symlink_to(ROOT / "models")
    onnx.save(swish(), folder / "swish.onnx")
    for block in texts(PAGE, "sh"):
        for words in commands(block):
            done = started(plugin, *words[1:], cwd=folder)
            assert done.returncode == 0, done.stderr
    return folder


def test_the_page_shows_the_files_of_the_distribution() -> None:
    shown = [text for kind in ("toml", "python") for text in texts(PAGE, kind)]
    named = {text.split()[1]: text for text in shown}
    assert len(named) == len(shown) == 4
    for path, text in named.items():
        assert text == (ROOT / "tests/plugin" / path).read_text(encoding="utf-8"), path


def test_what_it_adds_is_listed_where_it_is_installed_and_only_there(plugin: Path) -> None:
    listing = ("--list-passes", "--list-targets")
    lines = started(plugin, *listing).stdout.splitlines()
    words = [line.split(maxsplit=1) for line in lines]
    assert ["round", "Round float32 weights to fewer bits of mantissa."] in words
    assert ["nas", "x86_64-linux-gnu, goldmont"] in words
    assert started(None, *listing).stdout.splitlines() == [x for x in lines if x.split()[0] not in ("round", "nas")]


def test_nothing_of_it_is_imported_before_it_is_needed(plugin: Path) -> None:
    code = """
        import sys
        import onnxprune
        from onnxprune.cli import main
        loaded = lambda: {n for n in sys.modules if n.startswith("onnxprune_example")}
        try: main(["--help"])
        except SystemExit: pass
        assert not loaded()
        onnxprune.compress("models/digits_cnn.onnx", "fold,prune:ratio=50%:heal=none")
        assert loaded() == {"onnxprune_example", "onnxprune_example.operators"}, loaded()
    """
    env = {**os.environ, "PYTHONPATH": str(plugin)}
    text = "\n".join(line[8:] for line in code.splitlines())
    subprocess.run([sys.executable, "-c", text], env=env, cwd=ROOT, check=True, capture_output=True)


def test_the_pass_and_the_target_do_their_work(place: Path) -> None:
    report = json.loads((place / "build/round/report.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in report["passes"]] == ["round", "fold"]
    assert report["passes"][0]["note"] == "rounded 19 weights"
    weights = onnx.load(place / "build/nas/model.onnx").graph.initializer
    assert weights
    assert (place / "build/nas/nas/model.so").stat().st_size > 0


def test_the_rule_cuts_exactly_and_the_refit_repairs(place: Path) -> None:
    after, before = onnx.load(place / "build/swish/model.onnx"), swish()
    spec = json.loads((place / "build/swish/prune.json").read_text(encoding="utf-8"))
    gone = spec["slope"]["0"]
    assert spec == {"w": {"0": gone}, "slope": {"0": gone}, "v": {"1": gone}}
    assert len(gone) == 8
    (node,) = [n for n in after.graph.node if n.op_type == "Swish"]
    assert helper.get_node_attr_value(node, "channels") == 8
    x = {"x": np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype("f")}
    np.testing.assert_allclose(meant(after, x), meant(silent(before, gone), x), rtol=1e-5, atol=1e-6)
    assert np.abs(meant(after, x) - meant(before, x)).max() > 0.1  # the control


def test_without_the_plug_in_its_operator_stays(tmp_path: Path) -> None:
    onnx.save(swish(), tmp_path / "swish.onnx")
    done = started(None, "swish.onnx", "--passes", "prune:ratio=50%:heal=none", "-o", "out", cwd=tmp_path)
    assert "no rule for com.example.Swish" in done.stderr
    assert json.loads((tmp_path / "out/prune.json").read_text(encoding="utf-8")) == {}


def test_its_sources_stand_in_the_depfile(plugin: Path, tmp_path: Path) -> None:
    words = ("--passes", "round,prune:ratio=50%:heal=none", "--depfile", "rule.d", "-o", "out")
    onnx.save(swish(), tmp_path / "swish.onnx")
    assert started(plugin, "swish.onnx", *words, cwd=tmp_path).returncode == 0
    rule = (tmp_path / "rule.d").read_text(encoding="utf-8")
    for name in ("operators", "round"):
        assert f"  {plugin}/onnxprune_example/{name}.py" in rule


def silent(proto: onnx.ModelProto, gone: list[int]) -> onnx.ModelProto:
    """The network whose last layer does not read some channels."""
    (held,) = [t for t in proto.graph.initializer if t.name == "v"]
    value = numpy_helper.to_array(held).copy()
    value[:, gone] = 0
    silenced = onnx.ModelProto()
    silenced.CopyFrom(proto)
    (kept,) = [t for t in silenced.graph.initializer if t.name == "v"]
    kept.CopyFrom(numpy_helper.from_array(value, "v"))
    return silenced


def meant(proto: onnx.ModelProto, x: dict[str, np.ndarray]) -> np.ndarray:
    """The output, the operator being what the plug-in says it is."""
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    whole.functions.append(parser.parse_function(MEANING))
    return Session(whole)(x)[0]
