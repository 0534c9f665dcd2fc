"""The benchmark of quantization: one small network by our way, what failed, and what its figures are made of."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from oracle import distance, net

from benchmarks import quantization
from benchmarks.data import MODELS
from benchmarks.quantized import worker
from benchmarks.quantized.networks import networks, rescaled
from benchmarks.quantized.page import write
from benchmarks.quantized.scores import left_in_float, on_integers
from benchmarks.quantized.summary import summaries, within
from onnxprune.errors import OnnxPruneError
from onnxprune.model import Model

CHAIN = """(float[N,3,8,8] x) => (float[N,5] y) <float[6,3,3,3] w, float[6] b, float[7,6,1,1] v, float[7,5] u>
    { a = Conv(x, w, b)  r = Relu(a)  c = Conv(r, v)  m = MaxPool<kernel_shape=[2,2]>(c)
      g = GlobalAveragePool(m)  f = Flatten(g)  y = MatMul(f, u) }"""


def asked(**other: object) -> Namespace:
    given = {
        "wanted": ["digits_cnn"],
        "forms": ["plain"],
        "scales": ["channel"],
        "ways": ["onnxprune"],
        "quick": True,
        "samples": (32,),
        "resume": None,
        "quantizers": Path(sys.executable),
        "page": None,
    }
    return Namespace(**{**given, **other})


def test_a_network_is_quantized_measured_and_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "FOLDER", tmp_path)
    row, total = quantization.main(asked(resume=tmp_path / "rows", page=tmp_path / "page.md"))
    assert (row["network"], row["form"], row["weights"], row["way"]) == (
        "digits_cnn",
        "as it is",
        "channel",
        "onnxprune",
    )
    assert 0 < row["KL"] < 1e-3
    assert row["on integers"] == 1
    assert row["bytes"] < 0.3
    assert row["float layers"] == ""
    assert row["peak MB"] >= row["base MB"] > 0 < row["seconds"]
    assert row["times as fast"] > 0
    assert (total["network"], total["networks"], total["within"], total["least KL"]) == ("all", 1, 1, 1)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"| `digits_cnn` | {row['float']:.2%} | {row['drop']:.2f} ({row['images']}) |" in page
    monkeypatch.setattr(quantization, "quantized", None)
    assert list(quantization.main(asked(resume=tmp_path / "rows"))) == [row, total]


def test_what_a_way_raises_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "FOLDER", tmp_path)

    def fails(*_: object) -> None:
        raise worker.FailedError("ValueError: no")

    monkeypatch.setattr(quantization, "quantized", fails)
    rows = list(quantization.main(asked(page=tmp_path / "page.md", ways=["nncf"])))
    assert [(row["way"], row["remarks"]) for row in rows] == [("nncf", "ValueError: no")]
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "- nncf, `digits_cnn` as it is, channel: ValueError: no" in page


def test_a_process_that_raises_tells_what(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    calib = MODELS / "digits.calib.npz"
    with pytest.raises(worker.FailedError, match=r"^ModelError: .*model\.onnx"):
        worker.quantized(Path(sys.executable), "onnxprune", "channel", tmp_path / "model.onnx", calib, tmp_path / "out")


@pytest.mark.parametrize("spread", [2.0, 3.5])
def test_rescaling_leaves_the_function_and_spreads_the_weights(spread: float, tmp_path: Path) -> None:
    before = net(CHAIN)
    before.save(tmp_path / "net.onnx")
    after = rescaled(tmp_path / "net.onnx", spread, seed=0)
    assert distance(after, before) < 1e-5
    ratios = [np.abs(after.tensor(name).value() / before.tensor(name).value()) for name in ("w", "v", "u")]
    assert all(ratio.max() / ratio.min() > np.exp(spread) for ratio in ratios)


def test_a_network_without_two_layers_in_a_row_is_not_rescaled(tmp_path: Path) -> None:
    net("(float[N,4] x) => (float[N,5] y) <float[4,5] w> { y = MatMul(x, w) }").save(tmp_path / "net.onnx")
    with pytest.raises(OnnxPruneError, match="nothing to rescale"):
        rescaled(tmp_path / "net.onnx", 2.0, seed=0)


def test_the_networks_with_data_are_given_in_every_form_asked_for(tmp_path: Path) -> None:
    (found,) = networks(tmp_path, lambda name: name == "digits_cnn", ["plain", "rescaled"])
    assert (found.path, found.calib.name, found.test.name) == (
        MODELS / "digits_cnn.onnx",
        "digits.calib.npz",
        "digits.test.npz",
    )
    assert not list(networks(tmp_path, lambda name: name == "nothing", ["plain"]))


def test_layers_in_float_are_counted_in_the_graph_and_in_what_onnxruntime_makes_of_it(tmp_path: Path) -> None:
    model = net(CHAIN)
    model.save(tmp_path / "net.onnx")
    assert on_integers(Model.load(tmp_path / "net.onnx")) == 0
    assert sum(left_in_float(tmp_path / "net.onnx").values()) == 3


@pytest.mark.parametrize(
    ("drop", "images", "good"), [(0.3, 30, True), (0.31, 3, False), (1.7, 2, True), (-5.0, -9, True)]
)
def test_a_network_may_lose_three_tenths_of_a_point_or_two_images(drop: float, images: int, good: bool) -> None:
    assert within({"drop": drop, "images": images}) is good


def test_the_nearest_of_each_network_are_counted(tmp_path: Path) -> None:
    head = {"form": "as it is", "weights": "channel", "drop": 0.0, "images": 0, "float": 0.9}
    rows = [
        {**head, "way": way, "network": network, "KL": kl}
        for way, network, kl in [("a", "n", 0.1), ("b", "n", 0.2), ("a", "m", 0.3), ("b", "m", 0.1), ("b", "k", 0.5)]
    ]
    found = {row["way"]: row for row in summaries([*rows, {**head, "way": "b", "network": "j", "remarks": "no"}])}
    assert [(found[way]["least KL"], found[way]["networks"]) for way in "ab"] == [(1, 2), (2, 3)]
    memory = [
        {"way": "a", "network": "n", "form": "memory", "samples": n, "peak MB": 9.0 + n, "base MB": 5, "seconds": 1.0}
        for n in (1, 2)
    ]
    write(tmp_path / "page.md", memory)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| a | 2 | 11 | 5 | 1.0 |" in page
    assert (tmp_path / "pictures" / "page-memory.svg").exists()
