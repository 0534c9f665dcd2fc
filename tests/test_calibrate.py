"""Samples: read from files and mappings, refused with a way out, fed in batches, split by seed."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxprune.calibrate import Calibration
from onnxprune.errors import UsageError
from onnxprune.feeds import batches
from onnxprune.model import Model

MODELS = Path(__file__).parents[1] / "models"


def net(signature, body):
    return Model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {signature} {{ {body} }}'))


def ramp(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.fixture(scope="module")
def free():
    return net("(float[N,2] x) => (float[N,2] y)", "y = Relu(x)")


@pytest.fixture(scope="module")
def pairs():
    return net("(float[2,3] x) => (float[2,3] y)", "y = Relu(x)")


@pytest.fixture(scope="module")
def two():
    return net("(float[N,2] left, float[N,2] right) => (float[N,2] y)", "y = Add(left, right)")


@pytest.fixture(scope="module")
def recurrent():
    return net(
        "(float[1,2] x, float[2,1,3] state, int64 rate) => (float[1,2] y, float[2,1,3] next, int64 same)",
        "y = Relu(x) next = Relu(state) same = Identity(rate)",
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def test_the_digits_load_with_and_without_labels():
    model = Model.load(MODELS / "digits_cnn.onnx")
    calibration = Calibration.load(MODELS / "digits.calib.npz", model)
    test = Calibration.load(str(MODELS / "digits.test.npz"), model)
    assert (calibration.count, calibration.labels) == (400, None)
    assert (test.count, test.labels.shape, test.labels.dtype) == (450, (450,), np.int64)


def test_a_file_and_a_mapping_of_the_same_arrays_are_the_same_data(free, tmp_path):
    arrays = {"x": ramp(5, 2), "labels": np.arange(5)}
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    from_file, given = Calibration.load(tmp_path / "data.npz", free), Calibration.load(arrays, free)
    assert from_file.fingerprint() == given.fingerprint()
    np.testing.assert_array_equal(next(from_file.batches())["x"], arrays["x"])


def test_an_input_named_labels_is_an_input():
    model = net("(float[N,2] labels) => (float[N,2] y)", "y = Relu(labels)")
    data = Calibration.load({"labels": ramp(3, 2)}, model)
    assert data.labels is None
    assert next(data.batches())["labels"].shape == (3, 2)


def test_the_arrays_given_are_neither_copied_nor_locked(free):
    array = ramp(4, 2)
    data = Calibration.load({"x": array}, free)
    assert np.shares_memory(data.columns["x"], array)
    assert array.flags.writeable
    assert not data.columns["x"].flags.writeable


# -- refusing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": ramp(3, 2)}, "no graph input 'data'; known: x; rename or remove the array"),
        ({"xx": ramp(3, 2)}, "no graph input 'xx'; did you mean 'x'"),
        ({"x": ramp(3, 2), "label": ramp(3)}, "no graph input 'label'.*class indices go under 'labels'"),
        ({}, "no array for the graph input 'x' .there is nothing.; add one"),
        ({"labels": ramp(3)}, "no array for the graph input 'x' .there is labels."),
        ({"x": ramp(3, 2, 1, 1)}, "array 'x' is 3×2×1×1, but the graph reads N×2; give samples×2"),
        ({"x": ramp(3)}, "array 'x' is 3, but the graph reads N×2"),
        ({"x": ramp(3, 5)}, "array 'x' is 3×5, but the graph reads N×2"),
        ({"x": ramp(3, 1, 5)}, "array 'x' is 3×1×5, but the graph reads N×2"),
        ({"x": np.float32(1)}, "array 'x' is a single number; its first axis must count the samples"),
        ({"x": np.zeros((3, 2))}, r"'x' is float64, the graph reads float32; convert it with .astype\('float32'\)$"),
        ({"x": np.zeros((3, 2), np.uint8)}, "'x' is uint8, .*astype.'float32'., scaled as in training"),
        ({"x": ramp(3, 2) / np.float32([1, 1]) * np.float32([[1, 1], [1, np.inf], [1, 1]])}, "first in sample 1"),
        ({"x": np.full((3, 2), np.nan, np.float32)}, "'x' holds NaN or infinity, first in sample 0"),
        ({"x": ramp(0, 2)}, "there are no samples"),
        ({"x": np.array([[1, "a"]], object)}, "'x' holds Python objects"),
        ({"x": [[1.0], [1.0, 2.0]]}, "'x' is ragged"),
        ({"x": ramp(3, 2), "labels": np.arange(4)}, r"differ in their number of samples \(x 3, labels 4\)"),
        ({"x": ramp(3, 2), "labels": np.int64(4)}, "array 'labels' is a single number"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_a_way_out(free, arrays, message):
    with pytest.raises(UsageError, match=f"the data: .*{message}"):
        Calibration.load(arrays, free)


def test_inputs_must_have_equally_many_samples(two):
    with pytest.raises(UsageError, match=r"\(left 3, right 4\)"):
        Calibration.load({"left": ramp(3, 2), "right": ramp(4, 2)}, two)


def test_a_missing_input_among_several_is_named(two):
    with pytest.raises(UsageError, match=r"no array for the graph input 'right' \(there is left\); add one"):
        Calibration.load({"left": ramp(3, 2)}, two)


def test_a_graph_without_inputs_takes_no_samples():
    model = net("() => (float[1] y)", "y = Constant<value = float[1] {1.0}>()")
    with pytest.raises(UsageError, match="the graph has no inputs"):
        Calibration.load({"x": ramp(1)}, model)


def test_other_sources_are_refused(free):
    with pytest.raises(UsageError, match="cannot read samples from a int; give"):
        Calibration.load(1, free)
    with pytest.raises(UsageError, match="the data: item 0 is a int; give a mapping of arrays for 'x'"):
        Calibration.load([1, 2], free)


def whole(path):
    np.savez(path, x=ramp(2000, 2))
    return path.read_bytes()


def damaged(path):
    data = bytearray(whole(path))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def pickled(path):
    np.savez(path, x=np.array([{"a": 1}], object))
    return path.read_bytes()


def single(path):
    with path.open("wb") as stream:
        np.save(stream, ramp(3, 2))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: b"", "not an .npz file, or cut off"),
        (lambda path: b"x" * 4000, "not an .npz file, or cut off"),
        (lambda path: whole(path)[:-100], "not an .npz file, or cut off"),
        (single, "not an .npz file, or cut off; write it with numpy.savez_compressed"),
        (damaged, "array 'x' cannot be read .*; write the file again"),
        (pickled, "array 'x' cannot be read .Object arrays"),
    ],
    ids=["empty", "garbage", "cut off", "npy", "damaged", "pickled"],
)
def test_a_file_that_is_no_whole_npz_is_refused(free, tmp_path, content, message):
    path = tmp_path / "data.npz"
    path.write_bytes(content(path))
    with pytest.raises(UsageError, match=f"data.npz': {message}"):
        Calibration.load(path, free)


def test_a_file_that_is_not_there_is_refused(free, tmp_path):
    with pytest.raises(UsageError, match="no such file; give an"):
        Calibration.load(tmp_path / "none.npz", free)


# -- feeding ---------------------------------------------------------------------------------------------------------


def test_a_free_batch_takes_any_size_and_can_be_read_again(free):
    data = Calibration.load({"x": ramp(7, 2)}, free)
    assert [len(feeds["x"]) for feeds in data.batches(3)] == [3, 3, 1]
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([f["x"] for f in data.batches(2)]), ramp(7, 2))


def test_a_fixed_batch_gets_whole_batches_only(pairs):
    data = Calibration.load({"x": ramp(5, 3), "labels": np.arange(5)}, pairs)
    assert [feeds["x"].shape for feeds in data.batches(32)] == [(2, 3), (2, 3)]
    assert (data.batch, data.count, data.labels.tolist()) == (2, 4, [0, 1, 2, 3])


def test_too_few_samples_for_one_batch_are_refused(pairs):
    with pytest.raises(UsageError, match="1 samples do not fill a batch; the graph takes exactly 2 at once"):
        Calibration.load({"x": ramp(1, 3)}, pairs)


def test_inputs_without_a_batch_axis_are_fed_sample_by_sample(recurrent):
    arrays = {"x": ramp(4, 2), "state": ramp(4, 2, 1, 3), "rate": np.arange(4)}
    data = Calibration.load(arrays, recurrent)
    feeds = list(data.batches())
    assert (data.batch, len(feeds)) == (1, 4)
    assert {name: value.shape for name, value in feeds[2].items()} == {"x": (1, 2), "state": (2, 1, 3), "rate": ()}
    assert feeds[2]["rate"].dtype == np.int64
    np.testing.assert_array_equal(feeds[2]["state"], arrays["state"][2])


def test_first_axes_that_disagree_ask_for_a_sample_axis(recurrent):
    arrays = {"x": ramp(4, 2), "state": ramp(4, 1, 3), "rate": np.arange(4)}
    with pytest.raises(UsageError, match=r"different numbers of samples at once \(x 1, state 2, rate 1\)"):
        Calibration.load(arrays, recurrent)


def test_strings_feed_a_string_input():
    model = net("(string[N] x) => (string[N] y)", "y = Identity(x)")
    data = Calibration.load({"x": np.array(["a", "bc"])}, model)
    assert next(data.batches())["x"].tolist() == ["a", "bc"]


# -- splitting -------------------------------------------------------------------------------------------------------


def samples(data):
    return [row[0] for feeds in data.batches() for row in feeds["x"].tolist()]


def test_a_split_is_a_seeded_partition(free):
    arrays = {"x": ramp(10, 2), "labels": np.arange(10)}
    fit, check = Calibration.load(arrays, free, seed=1).split(0.3)
    assert (fit.count, check.count) == (7, 3)
    assert sorted(samples(fit) + samples(check)) == ramp(10, 2)[:, 0].tolist()
    assert [2 * label for label in check.labels.tolist()] == samples(check)
    again = Calibration.load(arrays, free, seed=1).split(0.3)[1]
    other = Calibration.load(arrays, free, seed=2).split(0.3)[1]
    assert samples(again) == samples(check) != samples(other)


def test_a_split_shuffles_data_sorted_by_class(free):
    fit, _ = Calibration.load({"x": ramp(50, 2)}, free).split()
    assert samples(fit) != sorted(samples(fit))


@pytest.mark.parametrize(("count", "check", "parts"), [(2, 0.01, (1, 1)), (3, 0.99, (1, 2)), (1, 0.2, (1, 1))])
def test_each_part_holds_a_sample(free, count, check, parts):
    fit, held_out = Calibration.load({"x": ramp(count, 2)}, free).split(check)
    assert (fit.count, held_out.count) == parts


def test_a_split_keeps_batches_whole(pairs):
    fit, check = Calibration.load({"x": ramp(10, 3)}, pairs).split(0.5)
    assert {fit.count, check.count} == {4, 6}
    assert all(f["x"].shape == (2, 3) for part in (fit, check) for f in part.batches())


def test_a_few_samples_are_the_first_in_whole_batches(free, pairs):
    data = Calibration.load({"x": ramp(10, 2)}, free)
    assert samples(data.few(3)) == samples(data)[:3]
    assert data.few(10) is data
    assert [Calibration.load({"x": ramp(10, 3)}, pairs).few(most).count for most in (1, 2, 5)] == [2, 2, 4]


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(free, share):
    with pytest.raises(UsageError, match="it must lie between 0 and 1"):
        Calibration.load({"x": ramp(4, 2)}, free).split(share)


def test_a_split_keeps_the_inputs_of_a_sample_together(recurrent):
    arrays = {"x": ramp(9, 2), "state": ramp(9, 2, 1, 3), "rate": np.arange(9)}
    for part in Calibration.load(arrays, recurrent).split():
        for feeds in part.batches():
            assert (feeds["x"][0, 0], feeds["state"][0, 0, 0]) == (2 * feeds["rate"], 6 * feeds["rate"])


def test_the_fingerprint_tells_content_labels_seed_and_part_apart(free):
    x = ramp(4, 2)
    base = Calibration.load({"x": x}, free)
    others = [
        Calibration.load({"x": x + 1}, free),
        Calibration.load({"x": x[::-1]}, free),
        Calibration.load({"x": x, "labels": np.arange(4)}, free),
        Calibration.load({"x": x}, free, seed=1),
        *base.split(),
    ]
    assert len({data.fingerprint() for data in (base, *others)}) == 7
    assert Calibration.load({"x": np.asfortranarray(x)}, free).fingerprint() == base.fingerprint()


def test_batches_of_given_shapes_are_read_when_they_are_asked_for() -> None:
    model = Model.load(MODELS / "digits_cnn.onnx")
    data = Calibration.load(MODELS / "digits.calib.npz", model)
    found = batches(data, {"input": (16, 1, 8, 8)}, 70)
    assert len(found) == 4
    assert [*found][3]["input"].tobytes() == found[-1]["input"].tobytes() == found[2:][1]["input"].tobytes()
    assert found[0]["input"] is not found[0]["input"]
    assert np.array_equal(found[1]["input"], [*data.batches(16)][1]["input"])
    assert not batches(data, {"input": (16, 1, 8, 9)})
    assert len(batches(data, {"input": (16, 1, 8, 8)}, 3)) == 1
    with pytest.raises(IndexError):
        found[4]
