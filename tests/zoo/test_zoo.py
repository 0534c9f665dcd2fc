"""Real networks: all are read, and a cut of them computes what the original computes with the channels silenced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cuts import random_cut, shifted
from oracle import run, silenced

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.backends import load_target, tvm
from onnxprune.lift import lifted
from onnxprune.model import Model
from onnxprune.normal import OPSETS as SUPPORTED
from onnxprune.runtime import Session
from onnxprune.shapes import input_shapes

FOLDER = Path(__file__).parents[3] / "shared" / "zoo"
MODELS = sorted(FOLDER.glob("*.onnx"))
SHARE = 0.2
RECURRENT = ("dtln_model_1",)  # nothing but LSTMs, which have no rule
SIZES = {"silero_vad_16k_op15": {"input": (1, 512)}}  # of dynamic dimensions that cannot be 1

pytestmark = [pytest.mark.zoo, pytest.mark.skipif(not MODELS, reason=f"there is no zoo in {FOLDER}")]
every_model = pytest.mark.parametrize("path", MODELS or [FOLDER], ids=lambda path: path.stem)


def inputs(path: Path, model: Model) -> dict[str, np.ndarray]:
    """Two samples of the calibration data where there is any, else normal noise."""
    data = path.with_suffix(".calib.npz")
    if data.is_file():
        count = {t.name: t.size(0) or 2 for t in model.inputs}
        with np.load(data) as arrays:
            return {name: arrays[name][: count[name]] for name in arrays.files}
    rng = np.random.default_rng(0)
    shapes = input_shapes(model, SIZES.get(path.stem, {}))
    noise = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return noise | {t.name: np.full(shapes[t.name], 16000) for t in model.inputs if t.dtype == np.int64}  # Hz


def distance(after: Model, before: Model, feeds: dict[str, np.ndarray]) -> float:
    """max|Δ| / max|y| of the worst output."""
    pairs = zip(run(after, feeds), run(before, feeds), strict=True)
    return max(float(np.abs(z - y).max() / np.abs(y).max()) for z, y in pairs)


@every_model
def test_a_network_is_read_and_written_without_a_change_of_its_function(path: Path, tmp_path: Path) -> None:
    model = Model.load(path)
    model.save(tmp_path / "m.onnx")
    assert Model.load(tmp_path / "m.onnx").fingerprint() == model.fingerprint()
    feeds = inputs(path, model)
    expected = Session(onnx.load(path), optimise=False)(feeds)
    for y, z in zip(run(model, feeds), expected, strict=True):
        assert np.abs(y - z).max() <= 1e-6 * np.abs(z).max()


@every_model
def test_a_network_is_lifted_without_a_change_of_its_function(path: Path) -> None:
    model = Model.load(path)
    feeds = inputs(path, model)
    lift = lifted(model.proto(), max(SUPPORTED))
    for y, z in zip(Session(lift, optimise=False)(feeds), run(model, feeds), strict=True):
        assert np.abs(y - z).max() <= 1e-6 * np.abs(z).max()


@every_model
def test_a_cut_network_is_the_original_with_the_channels_silenced(path: Path) -> None:
    model = Model.load(path)
    after, spec = random_cut(model, seed=0, share=SHARE)
    if path.stem in RECURRENT:
        assert not spec
        return
    feeds = inputs(path, model)
    assert distance(after, silenced(model, spec), feeds) <= 1e-5
    assert distance(after, model, feeds) > 1e-3
    assert distance(after, silenced(model, shifted(model, spec)), feeds) > 1e-3


@every_model
def test_every_axis_of_a_constant_is_in_one_group_or_none(path: Path) -> None:
    found = [axis for group in ChannelGroups().compute(Model.load(path)) for axis in group.atoms]
    assert len(found) == len(set(found))


@every_model
def test_a_network_is_compiled_and_computes_what_onnxruntime_does(path: Path, tmp_path: Path) -> None:
    model = Model.load(path)
    shapes = input_shapes(model, SIZES.get(path.stem, {}))
    feeds = {name: value[: shapes[name][0]] if value.ndim else value for name, value in inputs(path, model).items()}
    tvm.build(onnx.load(path), load_target("host"), tmp_path / "model.so", shapes)
    expected = Session(onnx.load(path))(feeds)
    for y, z in zip(tvm.run(tmp_path / "model.so", list(feeds.values())), expected, strict=True):
        assert np.abs(y - z).max() <= 1e-4 * np.abs(z).max()
