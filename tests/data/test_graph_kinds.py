"""Graphs of every kind of input go from a folder on the disk through passes to a report, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from oracle import net_proto
from PIL import Image

from onnxprune.cli import main
from onnxprune.errors import UsageError
from onnxprune.model import Model

TAIL = """r = Relu(a)  c = Conv<pads=[1,1,1,1]>(r, v)  q = Relu(c)  g = GlobalAveragePool(q)  f = Flatten(g)
    y = MatMul(f, m)"""
WEIGHTS = "float[8,3,3,3] w, float[8,8,3,3] v, float[8,4] m"
NCHW = f"(float[N,3,8,8] x) => (float[N,4] y) <{WEIGHTS}> {{ a = Conv(x, w)  {TAIL} }}"
NHWC = f"""(float[N,8,8,3] x) => (float[N,4] y) <{WEIGHTS}>
    {{ t = Transpose<perm=[0,3,1,2]>(x)  a = Conv(t, w)  {TAIL} }}"""
HALF = NCHW.replace("float", "float16")
BYTES = f"""(uint8[N,8,8,3] x) => (float[N,4] y) <{WEIGHTS}, float k = {{0.003921569}}>
    {{ u = Cast<to=1>(x)  s = Mul(u, k)  t = Transpose<perm=[0,3,1,2]>(s)  a = Conv(t, w)  {TAIL} }}"""
WORDS = """(int64[N,6] x) => (float[N,4] y) <float[256,8] e, float[8,16] w, float[16,4] m>
    { a = Gather(e, x)  p = ReduceMean<axes=[1], keepdims=0>(a)  h = MatMul(p, w)  r = Relu(h)  y = MatMul(r, m) }"""
FIXED = NCHW.replace("[N,", "[4,")
BARE = (
    """(float[3,8,8] x) => (float[4] y) <float[8,3,3,3] w, float[8,8,3,3] v, float[8,4] m>
    { axes = Constant<value_ints=[0]>()  u = Unsqueeze(x, axes)  a = Conv(u, w) """
    + TAIL.replace("y =", "z =")
    + """
      y = Squeeze(z, axes) }"""
)
TWO = f"""(float[N,3,8,8] x, float[N,5] extra) => (float[N,4] y) <{WEIGHTS}, float[5,4] k>
    {{ a = Conv(x, w)  {TAIL.replace("y =", "z =")}  e = MatMul(extra, k)  y = Add(z, e) }}"""
STATE = """(float[1,6] x, float[2,1,6] state, int64 rate) => (float[1,4] y, float[2,1,6] next)
    <float[6,16] w, float[16,4] m>
    { h = MatMul(x, w)  r = Relu(h)  n = MatMul(r, m)  c = Cast<to=1>(rate)  y = Div(n, c)  next = Add(state, x) }"""

Run = Callable[..., dict]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Compresses a graph on the data of a folder, and returns the report."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(text: str, data: Path | str, *words: str, passes: str = "fold,prune:macs=60%:align=1") -> dict:
        onnx.save(net_proto(text), tmp_path / "net.onnx")
        out = tmp_path / "out"
        code = main([str(tmp_path / "net.onnx"), "--passes", passes, "--calib", str(data), "-o", str(out), *words])
        assert code in (0, 1)
        Model.load(out / "model.onnx")
        report = json.loads((out / "report.json").read_text())
        assert report["passes"][1]["changed"]
        return report

    return call


def images(folder: Path, count: int = 12, size: tuple[int, int] = (8, 8)) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{number:03}.png")
    return folder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(NCHW, ["--preprocess", "mean=0.5,std=0.5"], id="NCHW"),
        pytest.param(NHWC, ["--preprocess", "mean=0.5,0.4,0.3,std=0.5"], id="NHWC"),
        pytest.param(HALF, ["--preprocess", "scale=1"], id="fp16"),
        pytest.param(BYTES, [], id="uint8"),
        pytest.param(FIXED, ["--preprocess", "scale=1"], id="fixed batch"),
        pytest.param(BARE, ["--preprocess", "scale=1"], id="no batch axis"),
    ],
)
def test_a_graph_of_images(run: Run, tmp_path: Path, text: str, words: list[str]) -> None:
    report = run(text, images(tmp_path / "photos"), *words)
    used = {"source": str(tmp_path / "photos"), "samples": 12, "random": False, "left_out": 0}
    assert report["data"] == {"calib": used, "test": None}
    assert report["fidelity"]["n"] in (2, 4)


def test_a_graph_of_words(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    for number in range(10):
        np.save(folder / f"{number}.npy", np.random.default_rng(number).integers(0, 256, 6))
    assert run(WORDS, folder)["data"]["calib"]["samples"] == 10


def test_two_inputs_in_a_folder_each(run: Run, tmp_path: Path) -> None:
    images(tmp_path / "both" / "x", 10)
    (tmp_path / "both" / "extra").mkdir()
    for number in range(10):
        np.save(tmp_path / "both" / "extra" / f"{number:03}.npy", np.full(5, number, np.float32))
    assert run(TWO, tmp_path / "both", "--preprocess", "scale=1")["data"]["calib"]["samples"] == 10


def test_a_state_and_a_number_in_an_npz_each(run: Run, tmp_path: Path) -> None:
    folder, rng = tmp_path / "feeds", np.random.default_rng(0)
    folder.mkdir()
    for number in range(10):
        x, state = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 6), (2, 1, 6)))
        np.savez(folder / f"{number}.npz", x=x, state=state, rate=np.int64(2))
    assert run(STATE, folder, passes="fold,prune:ratio=0.5:align=1")["data"]["calib"]["samples"] == 10


@pytest.mark.parametrize("text", [NCHW, NHWC, HALF, BYTES, FIXED, BARE, TWO, WORDS, STATE])
def test_random_inputs_run_on_every_kind(run: Run, tmp_path: Path, text: str, capsys: pytest.CaptureFixture) -> None:
    report = run(text, "random", passes="fold,prune:ratio=0.5:align=1")
    calib = report["data"]["calib"]
    assert (calib["source"], calib["random"], calib["samples"] >= 64) == ("random", True, True)
    told = capsys.readouterr().err
    assert told.count("RANDOM INPUTS, NOT DATA") == 2
    assert "random inputs)" in told


@pytest.mark.parametrize(
    "signature",
    [
        "(optional(float[2]) x) => (bool y) { y = OptionalHasElement(x) }",
        "(seq(float[2]) x) => (float[N] y) { y = ConcatFromSequence<axis=0>(x) }",
    ],
)
def test_a_graph_input_that_is_no_tensor_takes_no_samples(tmp_path: Path, signature: str) -> None:
    from onnxprune.calibrate import Calibration

    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> net {signature}')
    for source in ("random", images(tmp_path / "photos"), {"x": np.zeros((3, 2), np.float32)}):
        with pytest.raises(UsageError, match=r"the graph input 'x' is no tensor .*; leave out the data"):
            Calibration.load(source, Model.load(proto))
