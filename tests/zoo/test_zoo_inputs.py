"""Real networks on folders: images give what the arrays give that they were drawn from; several inputs are fed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onnxprune as op
from onnxprune.cache import Cache
from onnxprune.calibrate import Calibration
from onnxprune.data.preprocess import Preprocess
from onnxprune.model import Model
from onnxprune.runtime import Session

ZOO = Path(__file__).parents[3] / "shared" / "zoo"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

pytestmark = [pytest.mark.zoo, pytest.mark.skipif(not ZOO.is_dir(), reason=f"there is no zoo in {ZOO}")]


def drawn(folder: Path, arrays: np.ndarray, mean: object, std: object, labels: np.ndarray | None = None) -> Path:
    """The images, in sub-folders by label, that preprocessing makes the arrays of."""
    shift, scale = (np.reshape(values, (-1, 1, 1)) for values in (mean, std))
    for number, array in enumerate(arrays):
        pixels = (array * scale + shift) * 255
        assert np.abs(pixels - pixels.round()).max() < 1e-3
        place = folder if labels is None else folder / str(labels[number])
        place.mkdir(parents=True, exist_ok=True)
        image = pixels.round().astype(np.uint8).transpose(1, 2, 0).squeeze()
        Image.fromarray(image).save(place / f"{number:05}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("tiny_vww_mobilenetv1_025", 0, 1),
        ("fer_mini_xception", 0.5, 0.5),
        ("cifar10_resnet20_bn", *IMAGENET),
        ("mobilenet_v2_1.0_224", 128 / 255, 128 / 255),
    ],
)
def test_images_give_the_accuracy_of_their_arrays(tmp_path: Path, name: str, mean: object, std: object) -> None:
    model = Model.load(ZOO / f"{name}.onnx")
    calib, test = (dict(np.load(ZOO / f"{name}.{part}.npz")) for part in ("calib", "test"))
    calib, test = ({key: value[:60] for key, value in part.items()} for part in (calib, test))
    images = drawn(tmp_path / "test", test["input"], mean, std, test["labels"])
    order = np.argsort([f"{label}/{number:05}" for number, label in enumerate(test["labels"])])
    test = {key: value[order] for key, value in test.items()}  # a folder is read by name
    how = {"mean": np.ravel(mean).tolist(), "std": np.ravel(std).tolist()}
    drawings = drawn(tmp_path / "calib", calib["input"], mean, std)
    one = op.compress(model, "fold", calib=calib, test=test, cache=Cache(None)).report
    two = op.compress(model, "fold", calib=drawings, test=images, preprocess=how, cache=Cache(None)).report
    assert one.accuracy == two.accuracy
    assert two.accuracy.metric == "top1"
    assert two.accuracy.before > 0.5
    read = Calibration.load(images, model, preprocess=Preprocess.of(how))
    for number, feeds in enumerate(read.batches(1)):
        np.testing.assert_allclose(feeds["input"][0], test["input"][number], rtol=0, atol=1e-6)


def test_a_recurrent_network_is_fed_from_a_folder_of_npz(tmp_path: Path) -> None:
    model, rng = Model.load(ZOO / "silero_vad_16k_op15.onnx"), np.random.default_rng(0)
    feeds = []
    for number in range(6):
        audio, state = rng.normal(size=(1, 512)), rng.normal(size=(2, 1, 128))
        feeds.append({"input": audio.astype(np.float32), "state": state.astype(np.float32), "sr": np.array(16000)})
        np.savez(tmp_path / f"{number}.npz", **feeds[-1])
    data = Calibration.load(tmp_path, model)
    assert (data.count, data.batch) == (6, 1)
    assert data.fingerprint() == Calibration.load(feeds, model).fingerprint()
    session = Session(model.proto())
    for given, read in zip(feeds, data.batches(), strict=True):
        for y, z in zip(session(given), session(read), strict=True):
            np.testing.assert_array_equal(y, z)
    report = op.compress(model, "fold", calib=tmp_path, shapes={"input": (1, 512)}, cache=Cache(None)).report
    assert report.fidelity.cosine > 0.9999


def test_a_detector_takes_images_of_its_own_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8)).save(tmp_path / f"{number}.jpg")
    how = "scale=1,order=bgr,fit=pad"
    report = op.compress(ZOO / "FastestDet.onnx", "fold", calib=tmp_path, preprocess=how, cache=Cache(None)).report
    assert report.data.calib.samples == 4
    assert report.fidelity.cosine > 0.9999
