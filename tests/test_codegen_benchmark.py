"""The benchmark of compiled code: one small network against onnxruntime, and what its figures are made of."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import codegen
from benchmarks.data import MODELS
from benchmarks.native import measured
from benchmarks.native.kept import Kept
from benchmarks.native.layers import pairs
from benchmarks.native.made import MADE
from benchmarks.native.summary import summaries
from benchmarks.native.traced import Call
from benchmarks.native.turns import Turn, Worker, rounds
from benchmarks.native.worker import Clocks, save_feeds
from onnxprune.errors import BackendError


def asked(**other: object) -> Namespace:
    given = {
        "wanted": ["digits_cnn"],
        "threads": [1],
        "pruned": False,
        "quick": True,
        "resume": None,
        "by_layer": False,
        "page": None,
    }
    return Namespace(**{**given, **other})


def test_a_network_is_compiled_checked_and_timed_beside_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codegen, "FOLDER", tmp_path)
    [row] = codegen.main(asked(resume=tmp_path / "rows", page=tmp_path / "speed.md"))
    assert (row["network"], row["form"], row["threads"]) == ("digits_cnn", "as it is", 1)
    assert 0 < row["error"] < 1e-4
    assert row["ours ms"] > 0 < row["onnxruntime ms"]
    assert row["ratio"] > 0
    assert row["memory MB"] > 0 < row["compile s"]
    assert row["CPU s"] > 0
    assert f"| digits_cnn | 0.5 | {row['ours ms']:.4g} |" in (tmp_path / "speed.md").read_text(encoding="utf-8")
    monkeypatch.setattr(codegen, "built", None)
    assert list(codegen.main(asked(resume=tmp_path / "rows"))) == [row]


def test_an_unknown_network_is_refused_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codegen, "FOLDER", tmp_path)
    with pytest.raises(SystemExit, match="did you mean 'digits_cnn'"):
        next(codegen.main(asked(wanted=["digit_cnn"])))


def test_a_process_that_cannot_load_says_why(tmp_path: Path) -> None:
    save_feeds(tmp_path / "feeds.npz", [np.zeros(1, np.float32)])
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"onnxruntime ended with 1: .*model\.onnx"):
        Worker("onnxruntime", tmp_path / "model.onnx", tmp_path / "feeds.npz", 1)


def turns(*samples: float) -> list[Turn]:
    return [Turn((sample, sample), 0.5) for sample in samples]


def test_a_round_that_is_slow_for_both_does_not_change_the_ratio() -> None:
    assert measured.ratio(turns(2, 18, 2), turns(1, 9, 1)) == (2.0, 0.0)
    found = measured.figures(turns(1, 9, 1), turns(2, 18, 3))
    assert found["ratio ±"] > 0
    assert (found["of medians"], found["of fastest"], found["others"]) == (3, 2, 0.5)


class Scripted:
    """A worker whose turns are given."""

    def __init__(self, *others: float) -> None:
        self.left = [Turn((number + 1.0,), each) for number, each in enumerate(others)]

    def run(self, seconds: float) -> Turn:
        return self.left.pop(0)


def test_rounds_are_taken_again_until_enough_are_calm() -> None:
    busy, calm = Scripted(2, 0, 2, 0, 0), Scripted(0, 0, 2, 0, 0)
    assert rounds({"a": busy, "b": calm}, 2, 0) == {key: [Turn((2.0,), 0), Turn((4.0,), 0)] for key in "ab"}
    assert len(busy.left) == len(calm.left) == 1
    never = Scripted(2, 1, 2)
    assert rounds({"a": never}, 1, 0) == {"a": [Turn((2.0,), 1)]}
    assert not never.left


def test_what_other_programs_do_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        clocks = Clocks()
        time.sleep(0.5)
        found = clocks.others()
        other.kill()
    assert found > 0.3


def test_outputs_differ_by_their_largest_relative_difference() -> None:
    want = [np.array([1.0, np.inf, -4.0]), np.zeros(2)]
    assert measured.error(want, want) == 0
    assert measured.error([np.array([1.0, np.inf, -3.0]), np.zeros(2)], want) == 0.25
    assert measured.error([np.array([1.0, 5.0, -4.0]), np.zeros(2)], want) == np.inf
    assert measured.error([want[0], np.zeros(3)], want) == np.inf


def test_means_are_geometric_and_what_is_behind_is_named() -> None:
    common = {"form": "as it is", "threads": 1, "of medians": 1.0, "of fastest": 1.0, "error": 0.0}
    rows = [
        {**common, "network": "a", "M MACs": 10, "ratio": 0.5, "planned MB": 0.1, "over planned": 9.0},
        {**common, "network": "b", "M MACs": 100, "ratio": 2.0, "planned MB": 10, "over planned": 1.5},
        {"network": "c", "form": "as it is", "threads": 1, "remarks": "why"},
    ]
    both, small, behind = summaries(rows)
    assert both["ratio"] == pytest.approx(1.0)
    assert both["over planned"] == 1.5
    assert small["ratio"] == pytest.approx(0.5)
    assert "over planned" not in small
    assert (behind["network"], behind["ratio"]) == ("< 0.7: a", 0.5)


def test_layers_are_told_beside_those_of_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codegen, "FOLDER", tmp_path)
    title, *rows, whole = codegen.main(asked(by_layer=True))
    assert title["ours"] == "digits_cnn, as it is, threads: 1"
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(MODELS / "digits_cnn.onnx").graph.node)
    beside = [row for row in rows if row["onnxruntime"] and "Conv" in row["onnxruntime"] and row["ours"]]
    assert len(beside) == convolutions > 0
    for runtime in ("ours", "onnxruntime"):
        assert sum(row.get(f"{runtime} µs", 0) for row in rows) == pytest.approx(whole[f"{runtime} µs"])
        assert sum(row.get(f"{runtime} %", 0) for row in rows) == pytest.approx(100)


def test_calls_are_paired_by_what_they_read_and_write() -> None:
    image, wide = (1, 13, 9, 9), (1, 64, 9, 9)
    conv, relu = Call.of("conv", [wide, (64, 64, 3, 3), (64,), wide], 1.0), Call.of("relu", [wide, wide], 1.0)
    added, add = (
        Call.of("added", [wide, (64, 64, 3, 3), (64,), wide, wide], 1.0),
        Call.of("add", [wide, wide, wide], 1.0),
    )
    first = Call.of("first", [image, (64, 13, 1, 1), wide], 1.0)
    blocked = Call.of("blocked", [(1, 1, 9, 9, 16), (4, 1, 1, 1, 16, 16), (1, 4, 9, 9, 16)], 1.0)
    lone = Call.of("reorder", [(3, 224, 224), (3, 224, 224)], 1.0)
    assert pairs([conv, add, relu, blocked], [first, lone, added, relu]) == [
        (conv, added),
        (add, None),
        (relu, relu),
        (blocked, first),
        (None, lone),
    ]


def test_rows_of_another_setting_and_half_a_line_are_not_taken_up(tmp_path: Path) -> None:
    path, row = tmp_path / "rows", {"network": "a", "form": "odd", "threads": 1}
    Kept.of(path, {"git": "1"}).add(row)
    with path.open("a") as file:
        file.write(json.dumps({"setting": {"git": "1"}, "row": {**row, "threads": 2}})[:-4])
    assert Kept.of(path, {"git": "1"}).all("a", ["odd"], [1]) == [row]
    assert Kept.of(path, {"git": "1"}).all("a", ["odd"], [1, 2]) is None
    assert Kept.of(path, {"git": "2"}).all("a", ["odd"], [1]) is None


# Parameters as torchvision publishes them; of VGG-11 those of the convolutions, and of the one dense layer here.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "squeezenet": 1_235_496,
    "vgg11": 9_220_480 + 513_000,
}
NORMALISED = ("resnet18", "resnet50", "mobilenet_v2")  # each channel has a scale and a shift, of which one is left


@pytest.mark.parametrize("name", MADE)
def test_made_networks_are_those_of_the_literature(name: str) -> None:
    made = MADE[name]()
    onnx.checker.check_model(made, full_check=True)
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in made.graph.initializer if tensor.dims}
    folded = sum(sizes[node.input[2]] for node in made.graph.node if node.op_type == "Conv")
    assert sum(sizes.values()) + folded * (name in NORMALISED) == PUBLISHED[name]
