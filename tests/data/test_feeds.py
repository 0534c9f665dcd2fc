"""Feeds from Python: iterables, generators, functions and arrays; and columns, of which little is in memory."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from oracle import net_proto
from PIL import Image
from toys import NET, labelled, samples

import onnxprune as op
from onnxprune.calibrate import Calibration
from onnxprune.data import columns
from onnxprune.data.columns import MOST_BYTES, Spool, chunks
from onnxprune.data.preprocess import Preprocess
from onnxprune.errors import UsageError
from onnxprune.executor import Processes
from onnxprune.model import Model


def net(signature: str, body: str) -> Model:
    return Model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {signature} {{ {body} }}'))


ONE = net("(float[N,2] x) => (float[N,2] y)", "y = Relu(x)")
TWO = net("(float[N,2] left, float[N,2] right) => (float[N,2] y)", "y = Add(left, right)")
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)


class Tensor:
    """What other libraries call a tensor."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


# -- feeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda: ROWS, id="an array"),
        pytest.param(lambda: Tensor(ROWS), id="a tensor"),
        pytest.param(lambda: [{"x": row} for row in ROWS], id="a list of samples"),
        pytest.param(lambda: [{"x": ROWS[:3]}, {"x": ROWS[3:]}], id="a list of batches"),
        pytest.param(lambda: list(ROWS), id="a list of arrays"),
        pytest.param(lambda: (Tensor(row) for row in ROWS), id="a generator of tensors"),
        pytest.param(lambda: lambda: iter([{"x": ROWS}]), id="a function"),
    ],
)
def test_feeds_are_the_same_data_whatever_they_come_in(source: Any) -> None:
    data = Calibration.load(source(), ONE)
    assert data.fingerprint() == Calibration.load({"x": ROWS}, ONE).fingerprint()
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([feeds["x"] for feeds in data.batches(2)]), ROWS)


def test_pairs_are_feeds_with_labels() -> None:
    pairs = [(ROWS[:3], [0, 1, 2]), [Tensor(ROWS[3:]), Tensor(np.array([3, 4]))]]
    assert Calibration.load(pairs, ONE).labels.tolist() == [0, 1, 2, 3, 4]
    assert Calibration.load([({"x": ROWS[0]}, 7)], ONE).labels.tolist() == [7]
    assert Calibration.load([{"x": ROWS[0], "labels": 7}], ONE).labels.tolist() == [7]


def failing() -> Iterator[np.ndarray]:
    yield ROWS[0]
    raise OSError("the network is down")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (1, "cannot read samples from a int; give an .npz, an .npy, a folder of images"),
        (lambda: 1, "cannot read samples from a int"),
        (lambda: 1 / 0, "the data: the function failed: ZeroDivisionError"),
        (failing(), "the data failed at item 1: OSError: the network is down"),
        ([], "the data: there are no samples in it; give at least one"),
        ([1], "the data: item 0 is a int; give a mapping of arrays for 'x'"),
        ([ROWS, "b"], "the data: item 1 is a str; give a mapping"),
        ([{"y": ROWS}], "'item 0': no graph input 'y'; known: x"),
        ([ROWS, ROWS[:, :1]], "'item 1': a sample of 'x' is 1 float32, those before are 2 float32"),
        ([ROWS, ROWS * np.nan], r"holds NaN or infinity, first in sample 5 \('item 1'\)"),
        ([ROWS[:0]], "there are no samples in it"),
        ([{"x": [[1.0], [1.0, 2.0]]}], "array 'x' is ragged"),
        ([(ROWS, [1])], r"differ in their number of samples \(x 5, labels 1\)"),
        ([(ROWS[0], 1), (ROWS[0], [[1]])], "'labels' differ in shape"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(source: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Calibration.load(source, ONE)


def test_an_array_is_not_enough_for_two_inputs() -> None:
    with pytest.raises(UsageError, match="cannot read samples from a ndarray; give"):
        Calibration.load(ROWS, TWO)
    with pytest.raises(UsageError, match="item 0 is a ndarray; give a mapping of arrays for 'left', 'right'"):
        Calibration.load([ROWS], TWO)


def test_compress_takes_feeds_images_and_random_inputs(tmp_path: Path) -> None:
    model = net_proto(NET)
    test = labelled(Model.load(model))
    given = op.compress(model, "fold", calib=(row for row in samples()["x"]), test=[(test["x"], test["labels"])])
    assert given.report.accuracy.metric == "top1"
    assert given.report.to_dict()["data"]["calib"] == {"source": None, "samples": 12, "random": False, "left_out": 0}
    dry = op.compress(model, "fold", calib="random", seed=3)
    assert dry.report.to_dict()["data"]["calib"]["random"]
    assert "RANDOM INPUTS, NOT DATA" in dry.report.table()
    assert "RANDOM" not in given.report.table()
    for number in range(3):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    for how in ("scale=1", {"scale": 1}, Preprocess(scale=1)):
        assert op.compress(model, "fold", test=tmp_path, preprocess=how).report.accuracy.n == 3
    assert op.compress(model, "fold", calib="random", preprocess="scale=1", labels="a.csv").report.data.calib.random
    with pytest.raises(UsageError, match="--preprocess is for images, and the data holds none; leave it out"):
        op.compress(model, "fold", test=test, preprocess="scale=1")


def test_random_inputs_are_seeded() -> None:
    prints = [Calibration.load("random", ONE, seed=seed).content for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_random_inputs_of_absurd_size_are_refused() -> None:
    huge = net("(float[N,1000000,1000000] x) => (float[N,1000000,1000000] y)", "y = Relu(x)")
    with pytest.raises(UsageError, match=r"random inputs for 'x' .1×1000000×1000000. take too much memory; give data"):
        Calibration.load("random", huge)


# -- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "bool", "int64", "complex64", "U3"])
@pytest.mark.parametrize("shape", [(7,), (7, 2, 3), (7, 0), (0, 2)])
def test_a_spool_gives_back_what_it_took(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    with Spool() as spool:
        spool.add(array)
        column = spool.column(array.shape, array.dtype)
    chosen = np.random.default_rng(1).permutation(len(array))
    np.testing.assert_array_equal(column[chosen], array[chosen])
    np.testing.assert_array_equal(np.concatenate([c for _, c in chunks(column)] or [array]), array)


def test_data_travels_to_another_process_without_its_samples(tmp_path: Path) -> None:
    for number in range(40):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"{number:02}.png")
    model = net("(float[N,3,4,4] x) => (float[N,3,4,4] y)", "y = Relu(x)")
    data = Calibration.load(tmp_path, model, preprocess=Preprocess(scale=255.0))
    assert len(pickle.dumps(data)) < 5000
    assert pickle.loads(pickle.dumps(data)).fingerprint() == data.fingerprint()
    assert Processes(2).map(total, [data, data.split()[0]]) == [total(data), total(data.split()[0])]


def total(data: Calibration) -> float:
    return sum(float(feeds["x"].sum()) for feeds in data.batches())


def test_a_chunk_is_bounded_in_samples_and_bytes() -> None:
    assert [len(c) for _, c in chunks(np.zeros((70, 1)))] == [32, 32, 6]
    assert [len(c) for _, c in chunks(np.zeros((3, MOST_BYTES // 2), np.uint8))] == [2, 1]
    assert [len(c) for _, c in chunks(np.zeros((2, MOST_BYTES + 1), np.uint8))] == [1, 1]


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_folder", lambda: "/dev/full/none")
    with pytest.raises(UsageError, match=r"cannot keep samples in '/dev/full/none' .*; free some room, or set TMPDIR"):
        Calibration.load([ROWS], ONE)
    monkeypatch.undo()
    with Spool() as spool:
        spool._stream.close()
        spool._stream = open("/dev/full", "w+b", buffering=0)  # noqa: SIM115
        with pytest.raises(UsageError, match="No space left on device"):
            spool.add(ROWS)


def peak(folder: Path, model: Model) -> int:
    """The most memory that Python held while the data was loaded, split and read twice."""
    tracemalloc.start()
    data = Calibration.load(folder, model, preprocess=Preprocess(mean=(0.5,), std=(0.5,)))
    for part in data.split():
        for _ in part.batches(8):
            pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    model = net("(float[N,3,96,96] x) => (float[N,3,96,96] y)", "y = Relu(x)")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(tmp_path / "one.png")
    found = {32: sys.maxsize, 1024: sys.maxsize}
    for count in (32, 32, 1024, 1024):  # the first warms up, and what else goes on in the process only adds
        folder = tmp_path / str(count)
        folder.mkdir(exist_ok=True)
        for number in range(count):
            (folder / f"{number:04}.png").unlink(missing_ok=True)
            (folder / f"{number:04}.png").hardlink_to(tmp_path / "one.png")
        found[count] = min(found[count], peak(folder, model))
    assert found[1024] < 1.05 * found[32]
