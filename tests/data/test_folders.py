"""Folders: one sample or one batch a file, an input or a class a sub-folder, and labels from names or a CSV."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxprune.calibrate import Calibration
from onnxprune.errors import UsageError
from onnxprune.model import Model


def net(signature: str, body: str) -> Model:
    return Model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {signature} {{ {body} }}'))


ONE = net("(float[N,2] x) => (float[N,2] y)", "y = Relu(x)")
TWO = net("(float[N,2] left, float[N,3] right) => (float[N,2] y, float[N,3] z)", "y = Relu(left) z = Relu(right)")
STATE = net("(float[N,2] x, float[2,N,3] state, int64 rate) => (float[N,2] y)", "y = Relu(x)")
PIXELS = net("(uint8[N,3,4,4] x) => (uint8[N,3,4,4] y)", "y = Identity(x)")
Y = np.arange(2, dtype=np.float32)


def save(folder: Path, **arrays: np.ndarray) -> Path:
    """Each array as an .npy; ``a__b`` is ``a/b.npy``."""
    for name, array in arrays.items():
        path = folder / (name.replace("__", "/") + ".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder


def draw(folder: Path, names: Iterable[str]) -> Path:
    """Images of one grey each: the first is black, the next a little lighter."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / name)
    return folder


def rows(data: Calibration, name: str = "x") -> list:
    return [row for feeds in data.batches() for row in np.asarray(feeds[name]).tolist()]


# -- files -----------------------------------------------------------------------------------------------------------


def test_samples_and_batches_may_be_mixed_and_come_in_the_order_of_names(tmp_path: Path) -> None:
    save(tmp_path, b=np.stack([Y + 1, Y + 2]), a=Y, c__d=(Y + 3)[None])
    data = Calibration.load(tmp_path, ONE)
    assert rows(data) == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert data.fingerprint() == Calibration.load({"x": np.stack([Y, Y + 1, Y + 2, Y + 3])}, ONE).fingerprint()


def test_npz_files_hold_all_inputs_and_labels(tmp_path: Path) -> None:
    for number in range(3):
        left, right = np.full(2, number, np.float32), np.full((1, 3), number, np.float32)
        np.savez(tmp_path / f"{number}.npz", left=left, right=right, labels=np.int64(number + 5))
    data = Calibration.load(tmp_path, TWO)
    assert (rows(data, "left"), rows(data, "right")) == ([[n] * 2 for n in range(3)], [[n] * 3 for n in range(3)])
    assert data.labels.tolist() == [5, 6, 7]


def test_a_feed_whose_arrays_begin_with_different_sizes_is_one_sample(tmp_path: Path) -> None:
    for number in range(3):
        x, state = np.full((1, 2), number, np.float32), np.full((2, 1, 3), number, np.float32)
        np.savez(tmp_path / f"{number}.npz", x=x, state=state, rate=np.int64(number))
    data = Calibration.load(tmp_path, STATE)
    feeds = list(data.batches())
    assert (data.count, data.batch, len(feeds)) == (3, 1, 3)
    assert {name: value.shape for name, value in feeds[2].items()} == {"x": (1, 2), "state": (2, 1, 3), "rate": ()}
    assert feeds[2]["rate"] == feeds[2]["state"][1, 0, 2] == 2


def test_a_sub_folder_for_each_input_pairs_files_by_name(tmp_path: Path) -> None:
    save(tmp_path, left__a=Y, left__b=Y + 1, right__a=np.zeros(3, np.float32), right__b=np.ones(3, np.float32))
    data = Calibration.load(tmp_path, TWO)
    assert (rows(data, "left"), rows(data, "right")) == ([[0, 1], [1, 2]], [[0, 0, 0], [1, 1, 1]])


def test_whole_arrays_are_read_from_an_npy(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    np.save(tmp_path / "c.npy", array)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(array))
    prints = {Calibration.load(tmp_path / name, ONE).fingerprint() for name in ("c.npy", "fortran.npy")}
    assert prints == {Calibration.load(array, ONE).fingerprint()}


def test_what_is_no_sample_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw(tmp_path, ["a.png", "sub/b.PNG", ".hidden/c.png", ".d.png"])
    (tmp_path / "notes.txt").write_text("not a picture")
    os.symlink(tmp_path, tmp_path / "sub" / "loop")
    with caplog.at_level(logging.INFO):
        data = Calibration.load(tmp_path, PIXELS, labels="off")
    assert (data.count, data.left_out) == (2, ("notes.txt",))
    assert "left out, being no samples: notes.txt" in caplog.text


def test_the_name_of_an_image_is_no_matter_but_its_content_is(tmp_path: Path) -> None:
    one, two, three = (draw(tmp_path / name, ["a.png", "b.png"]) for name in "123")
    (one / "a.png").rename(one / "0.png")
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(three / "b.png")
    prints = [Calibration.load(folder, PIXELS).fingerprint() for folder in (one, two, three)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("make", "model", "message"),
    [
        (lambda f: f, ONE, r"there are no samples in it; it takes .npy, .npz or images \(.bmp, "),
        (lambda f: (f / "a.heic").write_bytes(b""), ONE, r"no samples in it \(there is 'a.heic'\); it takes"),
        (
            lambda f: draw(save(f, a=Y), ["b.png"]),
            ONE,
            r"there are .npy files \('a.npy'\) and images \('b.png'\) in it",
        ),
        (lambda f: save(f, a=Y), TWO, ".npy files hold one input, the graph reads 'left', 'right'; make a sub-folder"),
        (lambda f: save(f, a=Y, b=np.ones(3, np.float32)), ONE, r"'b.npy': a sample of 'x' is 3 float32, those before"),
        (
            lambda f: save(f, a=Y, b=np.ones(2)),
            ONE,
            "'b.npy': a sample of 'x' is 2 float64, those before are 2 float32",
        ),
        (
            lambda f: save(f, a=Y[None, None, None]),
            ONE,
            "'a.npy': 'x' is 1×1×1×2, but the graph reads N×2; give such a",
        ),
        (lambda f: save(f, a=np.float64([1, 2])), ONE, r"array 'x' is float64, the graph reads float32"),
        (lambda f: save(f, a=Y, b=Y / 0), ONE, r"holds NaN or infinity, first in sample 1 \('b.npy'\); remove"),
        (lambda f: save(f, a=np.array(["a", "b"])), ONE, "'a.npy': 'x' holds no numbers"),
        (lambda f: (f / "a.npy").write_bytes(b"\x93NUMPY"), ONE, "a.npy': cannot be read .*; write it again with"),
        (lambda f: (f / "a.npz").write_bytes(b"PK"), ONE, "a.npz': cannot be read .*; write it again with numpy.savez"),
        (lambda f: np.savez(f / "a.npz", z=Y), ONE, "'a.npz': no graph input 'z'; known: x; rename"),
        (lambda f: np.savez(f / "a.npz", left=Y), TWO, "'a.npz': no array for the graph input 'right'"),
        (
            lambda f: np.savez(f / "a.npz", left=np.ones((2, 2)), right=np.ones((3, 3))),
            TWO,
            r"the arrays differ in their number of samples \(left 2, right 3\)",
        ),
        (
            lambda f: save(f, left__a=Y, right__b=np.zeros(3, np.float32)),
            TWO,
            "left': 'a' has no partner in '.*right'; name files alike in both",
        ),
        (
            lambda f: save(f, left__a=Y, right__a=np.zeros((2, 3), np.float32)),
            TWO,
            r"'a.npy': the arrays differ in their number of samples \(left 1, right 2\)",
        ),
        (
            lambda f: [(f / name).mkdir() for name in "ab"] and np.savez(f / "a" / "1.npz", x=Y, labels=1),
            ONE,
            "'a/1.npz': it holds 'labels', and its folder or --labels gives it another; remove",
        ),
        (lambda f: [np.savez(f / "a.npz", x=Y, labels=1), np.savez(f / "b.npz", x=Y)], ONE, "1 of 2 feeds come with"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_folder_that_does_not_fit_is_refused(
    tmp_path: Path, make: Callable[[Path], object], model: Model, message: str
) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match=message):
        Calibration.load(tmp_path, model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda p: b"", "cannot be read"),
        (lambda p: p.read_bytes()[:-4], "cannot be read .it is cut off.; write it again with numpy.save"),
        (
            lambda p: p.read_bytes().replace(b"(9, 2)", b"(99, 2)").replace(b"  \n", b" \n"),
            "cannot be read .it is cut off",
        ),
        (lambda p: b"PK" + p.read_bytes(), "cannot be read"),
    ],
)
def test_an_npy_that_is_not_whole_is_refused(tmp_path: Path, content: Callable[[Path], bytes], message: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((9, 2), np.float32))
    path.write_bytes(content(path))
    with pytest.raises(UsageError, match=f"a.npy': {message}"):
        Calibration.load(path, ONE)


def test_an_npy_of_objects_or_for_two_inputs_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object))
    with pytest.raises(UsageError, match=r"a.npy': cannot be read \(Object arrays"):
        Calibration.load(tmp_path / "a.npy", ONE)
    with pytest.raises(UsageError, match=r"an .npy holds one array, the graph reads 'left', 'right'; give an .npz"):
        Calibration.load(tmp_path / "a.npy", TWO)


def test_an_npy_that_changes_while_it_is_read_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((9, 2), np.float32))
    data = Calibration.load(path, ONE)
    os.truncate(path, 100)
    with pytest.raises(UsageError, match=r"a.npy': the file changed while it was read; run again"):
        next(data.batches())


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat/1.png", "dog/1.png", "ant/1.png"], [0, 1, 2]),
        (["10/1.png", "2/1.png", "2/2.png"], [10, 2, 2]),
        (["one/1.png", "one/2.png"], None),
        (["1.png", "2.png"], None),
        (["cat/deep/1.png", "dog/1.png"], [0, 1]),
    ],
)
def test_sub_folders_are_classes_in_sorted_order_or_by_number(
    tmp_path: Path, names: list[str], labels: list[int] | None
) -> None:
    draw(tmp_path, names)
    (tmp_path / ".git").mkdir()
    data = Calibration.load(tmp_path, PIXELS)
    wanted = None if labels is None else [label for _, label in sorted(zip(sorted(names), sorted(labels), strict=True))]
    assert (None if data.labels is None else sorted(data.labels.tolist())) == (
        None if wanted is None else sorted(labels)
    )


def test_an_empty_class_counts(tmp_path: Path) -> None:
    draw(tmp_path, ["a/1.png", "c/1.png"])
    (tmp_path / "b").mkdir()
    assert Calibration.load(tmp_path, PIXELS).labels.tolist() == [0, 2]
    assert Calibration.load(tmp_path, PIXELS, labels="off").labels is None


def test_a_batch_in_a_class_has_a_label_for_each_sample(tmp_path: Path) -> None:
    save(tmp_path, a__1=np.stack([Y, Y]), b__1=Y)
    assert Calibration.load(tmp_path, ONE).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a.png,3\nb.png,1\nsub/c.png,0\n", [3, 1, 0]),
        ("\ufefffile,label\r\n./a.png, 3\r\nb.png,1\r\nc.png,0\r\nelsewhere.png,7\r\n", [3, 1, 0]),
        ("id,breed\na,dog\nb,cat\nc,dog\nd,ant\n", [2, 1, 2]),
        ("a,0.5\nb,1\nc,2\n", [0.5, 1.0, 2.0]),
    ],
)
def test_a_csv_names_files_and_labels(tmp_path: Path, text: str, labels: list[float]) -> None:
    draw(tmp_path / "images", ["a.png", "b.png", "sub/c.png"])
    (tmp_path / "labels.csv").write_text(text)
    data = Calibration.load(tmp_path / "images", PIXELS, labels=tmp_path / "labels.csv")
    assert data.labels.tolist() == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the labels .*No such file"),
        ("", "there are no labels in it; write lines 'FILE,LABEL'"),
        ("a.png,1\n", "no label for the file 'b.png'; add a row 'b.png,LABEL'"),
        ("a.png,1\nb.png\n", "line 2 is not 'FILE,LABEL'; write two columns"),
        ("a.png,1\nb.png,\n", "line 2 is not 'FILE,LABEL'"),
        ("a.png,1\na.png,2\n", "line 2 gives 'a.png' another label; give it one"),
        ('a.png,"1\n', "cannot read the labels .unexpected end of data"),
        ("a.png,1\nb.png,1\nc.png,0\n", "'c.png' fits several files; write paths below the folder"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    draw(tmp_path / "images", ["a.png", "b.png", "one/c.png", "two/c.png"])
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=f"labels.csv': {message}"):
        Calibration.load(tmp_path / "images", PIXELS, labels=tmp_path / "labels.csv")


def test_a_file_beside_the_classes_and_labels_of_an_archive_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, ["a/1.png", "b/1.png", "stray.png"])
    with pytest.raises(
        UsageError, match=r"'stray.png' lies beside the sub-folders that name the classes; .* --labels off"
    ):
        Calibration.load(tmp_path, PIXELS)
    np.savez(tmp_path / "x.npz", x=np.stack([Y]))
    with pytest.raises(UsageError, match=r"--labels is for folders; add an array 'labels' to an .npz"):
        Calibration.load(tmp_path / "x.npz", ONE, labels="labels.csv")
