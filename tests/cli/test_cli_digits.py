"""The command of the README on the networks of this repository, with the passes that come with it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from toys import Run, tree

from onnxprune.model import Model
from onnxprune.report import schema

MODELS = Path(__file__).parents[2] / "models"
CALIB, TEST = f"--calib={MODELS / 'digits.calib.npz'}", f"--test={MODELS / 'digits.test.npz'}"


def test_half_the_work_is_enough(work: Path, run: Run) -> None:
    words = (str(MODELS / "digits_resnet.onnx"), "--passes", "fold,prune:macs=50%", CALIB, TEST, "--target", "host")
    done = run(*words, "-o", "build/", "--verify-each")
    assert done.code == 0, done.err
    written = ["host", "model.onnx", "prune.json", "report.json"]
    assert sorted(path.name for path in (work / "build").iterdir()) == written
    report = json.loads((work / "build" / "report.json").read_text())
    jsonschema.validate(report, schema())
    before, after = report["input"]["stats"], report["output"]["stats"]
    assert 0.4 * before["macs"] < after["macs"] <= 0.5 * before["macs"]
    assert after["params"] < before["params"]
    assert report["accuracy"]["after"] > report["accuracy"]["before"] - 0.03
    (target,) = report["targets"]
    assert target["verified"] == "host"
    assert target["max_abs_error"] < 1e-4
    spec = json.loads((work / "build" / "prune.json").read_text())
    original, result = Model.load(words[0]), Model.load(work / "build" / "model.onnx")
    assert spec.keys() <= {t.name for t in original.constants}
    left = {t.name: t.shape for t in result.constants}
    for name in spec.keys() & left.keys():
        gone = {int(dim): len(slots) for dim, slots in spec[name].items()}
        sizes = enumerate(original.tensor(name).shape)
        assert left[name] == tuple(size - gone.get(dim, 0) for dim, size in sizes), name


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        pytest.param("prune:macs=50%:keep=no.such.node", "keep", id="keep nothing"),
        pytest.param("prune:macs=0%", "option 'macs' cannot be '0%'", id="nothing left"),
    ],
)
def test_a_pass_refuses_what_makes_no_sense(work: Path, run: Run, passes: str, message: str) -> None:
    before = tree(work)
    done = run(str(MODELS / "digits_cnn.onnx"), "--passes", passes, CALIB, "-o", "out")
    assert done.code == 2
    assert message in done.err.splitlines()[-1]
    assert tree(work) == before


def test_a_budget_out_of_reach_is_a_missed_goal(work: Path, run: Run) -> None:
    done = run(str(MODELS / "digits_cnn.onnx"), "--passes", "fold,prune:macs=0.1%:heal=none", CALIB, "-o", "out", "-q")
    assert done.code == 1
    assert "goal missed: prune: macs=0.1% is out of reach" in done.err
    assert (work / "out" / "model.onnx").exists()
