"""Bad input gets one clear message and the right exit code, and leaves every file as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from oracle import net_proto
from toys import NET, Run, samples, tree

OLD = "an old result"


@pytest.fixture
def refused(work: Path, run: Run) -> Callable[..., str]:
    """Runs the command, which must refuse with the exit code given; the one line that it says."""

    def call(code: int, *words: str) -> str:
        before = tree(work)
        done = run(*words)
        assert done.code == code, done.err
        assert done.out == ""
        *above, line = done.err.splitlines()
        assert line.startswith("onnxprune: error: ")
        assert all(": stopped at " in other for other in above)  # progress
        assert tree(work) == before
        return line.removeprefix("onnxprune: error: ")

    return call


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot read model 'bad.onnx': No such file or directory", id="missing"),
        pytest.param(b"", "'bad.onnx' is empty", id="empty"),
        pytest.param(b"\x89PNG\r\n\x1a\n" * 9, "'bad.onnx' is not an ONNX model", id="not a protobuf"),
        pytest.param(net_proto(NET).SerializeToString()[:-40], "'bad.onnx' is not an ONNX model", id="cut short"),
        pytest.param(onnx.ModelProto(ir_version=8).SerializeToString(), "it has no graph", id="no graph"),
    ],
)
def test_a_file_that_is_no_model(refused: Callable[..., str], work: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (work / "bad.onnx").write_bytes(content)
    assert message in refused(3, "bad.onnx", "--passes", "scale", "-o", "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("(float[1,4] x) => (float[1,4] y) { y = Relu(z) }", "the graph is invalid", id="unknown tensor"),
        pytest.param(
            "(float[1,4] x, float[1,5] z) => (float[1,4] y) { y = Add(x, z) }", "the graph is invalid", id="shapes"
        ),
        pytest.param("(float[1,4] x) => (float[1,4] y) { y = Rellu(x) }", "the graph is invalid", id="operator"),
        pytest.param(NET.replace("4,3,3,3", "4,2,3,3"), "onnxruntime", id="what only onnxruntime sees"),
    ],
)
def test_an_invalid_graph(refused: Callable[..., str], work: Path, text: str, message: str) -> None:
    onnx.save(net_proto(text), work / "bad.onnx")
    words = ("--calib", "calib.npz") if "float[N" in text else ()
    assert message in refused(3, "bad.onnx", "--passes", "scale", *words, "-o", "out")


def test_an_opset_of_another_age(refused: Callable[..., str], work: Path) -> None:
    proto = net_proto(NET)
    proto.opset_import[0].version = 27
    onnx.save(proto, work / "new.onnx")
    assert "the model uses opset 27; supported are" in refused(3, "new.onnx", "--passes", "scale", "-o", "out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param("--pases fold", "no option '--pases'; did you mean '--passes'?", id="option"),
        pytest.param("--pases=fold", "no option '--pases'; did you mean '--passes'?", id="option with value"),
        pytest.param("--pass fold", "no option '--pass'; did you mean '--passes'?", id="abbreviation"),
        pytest.param("more.onnx", "'more.onnx' is one argument too many", id="two models"),
        pytest.param("--passes", "argument --passes: expected one argument", id="no value"),
        pytest.param("--passes prnue", "no pass 'prnue'; did you mean 'prune'?", id="pass"),
        pytest.param("--passes scale:bye=2", "pass 'scale': no option 'bye'; did you mean 'by'?", id="pass option"),
        pytest.param("--passes scale:by=much", "pass 'scale': option 'by' cannot be 'much'", id="option value"),
        pytest.param("--passes scale{by=2}", "cannot read 'scale{by=2}' in passes", id="grammar"),
        pytest.param("--passes prune:macs=0", "option 'macs' cannot be '0'; it takes an amount", id="budget of 0"),
        pytest.param("--passes prune:macs=150%", "option 'macs' cannot be '150%'; it takes", id="budget over 100 %"),
        pytest.param("--passes scale --target hots", "no target 'hots'; did you mean 'host'?", id="target"),
        pytest.param("--passes scale --recipe no.toml", "no.toml: cannot read the recipe", id="recipe"),
        pytest.param("--passes scale --max-drop 1", "a drop can be seen on data only", id="drop without data"),
        pytest.param("--passes scale --max-drop x", "argument --max-drop: invalid float value: 'x'", id="no number"),
        pytest.param("--passes scale --max-drop nan --calib calib.npz", "max_drop cannot be nan", id="nan"),
        pytest.param("--passes scale --threads 0", "threads cannot be 0", id="threads"),
        pytest.param("--passes scale --seed -1", "seed cannot be -1", id="seed"),
        pytest.param("--passes scale --shape x", "cannot read 'x'; write it as input=1,3,224,224", id="shape grammar"),
        pytest.param("--passes scale --shape x=1,3,0,4", "shape of 'x' cannot be [1, 3, 0, 4]", id="size 0"),
        pytest.param("--passes scale --shape x=1 --shape x=2", "--shape of 'x' is given twice", id="shape twice"),
        pytest.param("--passes scale --shape z=1,3,4,4", "no graph input 'z'; known: x", id="shape of nothing"),
        pytest.param("--passes scale --shape x=1,3,5,4", "does not fit the model's", id="another shape"),
        pytest.param("--passes scale --metric own", "cannot read the metric 'own'", id="metric"),
        pytest.param("--passes scale --metric math:tau --test test.npz", "it must be a function", id="no function"),
        pytest.param("--passes scale --metric math:sin", "needs test data that holds 'labels'", id="no labels"),
        pytest.param("--passes needy", "pass 'needy' needs calibration data: give --calib", id="requires"),
        pytest.param(
            "-q -v --passes scale", "argument -v/--verbose: not allowed with argument -q", id="loud and quiet"
        ),
        pytest.param("--passes scale --preprocess mena=1", "preprocess: no option 'mena'; did you", id="preprocess"),
        pytest.param("--passes scale --preprocess mean", "cannot read 'mean' in 'mean'", id="preprocess grammar"),
        pytest.param("--passes scale --calib calib.npz --preprocess scale=1", "the data holds none", id="no images"),
        pytest.param("--passes scale --test test.npz --labels a.csv", "--labels is for folders", id="labels"),
        pytest.param("--passes scale --calib .", "1 of 2 feeds come with 'labels'", id="a folder"),
        pytest.param("--passes scale --calib net.onnx", "not an .npz file", id="no data"),
        pytest.param("", "there is nothing to do: give passes", id="nothing to do"),
    ],
)
def test_wrong_usage(refused: Callable[..., str], words: str, message: str) -> None:
    assert message in refused(2, "net.onnx", *words.split(), "-o", "out")


def test_no_model_and_no_output(refused: Callable[..., str]) -> None:
    assert "there is no model" in refused(2, "--passes", "scale", "-o", "out")
    assert "there is nowhere to write to: give -o DIR" in refused(2, "net.onnx", "--passes", "scale")
    assert "no option '--pases'" in refused(2, "--pases", "net.onnx")
    assert "no pass 'flod'; did you mean 'fold'?" in refused(2, "--help-pass", "flod")


DATA = samples(4)["x"]


@pytest.mark.parametrize("option", ["--calib", "--test"])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        pytest.param(None, "'bad.npz': no such file", id="missing"),
        pytest.param({"image": DATA}, "no graph input 'image'", id="name"),
        pytest.param({"x": DATA[:, :2]}, "array 'x' is 4×2×4×4, but the graph reads N×3×4×4", id="shape"),
        pytest.param({"x": DATA.astype(np.float64)}, "array 'x' is float64, the graph reads float32", id="dtype"),
        pytest.param({"x": np.where(DATA > 1, np.nan, DATA)}, "array 'x' holds NaN or infinity", id="nan"),
        pytest.param({"x": DATA[:0]}, "there are no samples in it", id="no samples"),
        pytest.param({"x": DATA, "labels": np.arange(3)}, "the arrays differ in their number of samples", id="counts"),
        pytest.param({"x": DATA, "labels": np.arange(5.0)[:4]}, "give one whole class index per sample", id="labels"),
    ],
)
def test_wrong_data(
    refused: Callable[..., str], work: Path, option: str, arrays: dict[str, np.ndarray] | None, message: str
) -> None:
    if arrays is not None:
        np.savez(work / "bad.npz", **arrays)
    assert message in refused(2, "net.onnx", "--passes", "failing", option, "bad.npz", "-o", "out")


def test_data_that_is_no_archive(refused: Callable[..., str], work: Path) -> None:
    (work / "bad.npz").write_bytes((work / "calib.npz").read_bytes()[:-100])
    line = refused(2, "net.onnx", "--passes", "failing", "--calib", "bad.npz", "-o", "out")
    assert "'bad.npz': not an .npz file, or cut off" in line


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        pytest.param("net.onnx", "'net.onnx'", id="a file"),
        pytest.param("net.onnx/out", "cannot write to 'net.onnx/out'", id="below a file"),
        pytest.param("/proc/out", "cannot write to '/proc/out'", id="where nobody may write"),
        pytest.param("taken", "'taken/model.onnx' is a folder", id="a folder in the way"),
    ],
)
def test_a_folder_that_cannot_be_written(refused: Callable[..., str], work: Path, folder: str, message: str) -> None:
    (work / "taken" / "model.onnx").mkdir(parents=True)
    assert message in refused(2, "net.onnx", "--passes", "failing", "-o", folder)


def test_a_report_that_cannot_be_written(refused: Callable[..., str], work: Path) -> None:
    words = ("net.onnx", "--passes", "failing", "-o", "out", "--report")
    assert "there is no folder 'no'" in refused(2, *words, "no/report.json")
    (work / "folder").mkdir()
    assert "'folder' is a folder" in refused(2, *words, "folder")


def test_the_input_as_output(refused: Callable[..., str], work: Path) -> None:
    (work / "out").mkdir()
    (work / "net.onnx").rename(work / "out" / "model.onnx")
    line = refused(2, "out/model.onnx", "--passes", "scale", "-o", "out")
    assert "'out/model.onnx' is read and would be overwritten" in line


def test_data_that_lies_where_a_library_goes(refused: Callable[..., str], work: Path) -> None:
    (work / "out/host").mkdir(parents=True)
    (work / "calib.npz").rename(work / "out/host/inputs.npy")
    words = ("--calib", "out/host/inputs.npy", "--target", "host", "-o", "out")
    assert "'out/host/inputs.npy' is read and would be overwritten" in refused(2, "net.onnx", *words)


@pytest.mark.parametrize("options", [("--report", "net.onnx"), ("--report", "recipe.toml", "--recipe", "recipe.toml")])
def test_a_file_that_is_read_as_report(options: tuple[str, ...], refused: Callable[..., str], work: Path) -> None:
    (work / "recipe.toml").write_text("schema = 1\n")
    line = refused(2, "net.onnx", "--passes", "scale", "-o", "out", *options)
    assert f"'{options[1]}' is read and would be overwritten" in line


def test_an_operator_that_tvm_lacks(refused: Callable[..., str], work: Path) -> None:
    onnx.save(net_proto("(float[2,2] x) => (float y) { y = Det(x) }"), work / "det.onnx")
    line = refused(5, "det.onnx", "--passes", "failing", "--target", "host", "-o", "out")
    assert line.startswith("TVM cannot compile Det ('Det_0'); leave out the target")


LONG = """(float[2000,1,3] x) => (float[2000,1,1,4] y) <float[1,16,3] w, float[1,16,4] r>
    { y = LSTM<hidden_size=4>(x, w, r) }"""


def test_an_operator_that_tvm_cannot_compile_at_such_a_length(refused: Callable[..., str], work: Path) -> None:
    onnx.save(net_proto(LONG), work / "lstm.onnx")
    line = refused(5, "lstm.onnx", "--passes", "failing", "--target", "host", "-o", "out")
    assert line.startswith("TVM cannot compile LSTM ('LSTM_0'; it runs 2000 steps; 1 to")


def test_sizes_that_cannot_be_one_are_asked_for(refused: Callable[..., str], work: Path, run: Run) -> None:
    text = "(float[N,L] x) => (float[2,4] z) <int64[2] s = {2,4}> { y = Reshape(x, s)  z = Relu(y) }"
    onnx.save(net_proto(text), work / "open.onnx")
    words = ("open.onnx", "--passes", "fold", "--target", "host", "-o", "out")
    line = refused(5, *words)
    assert "the model leaves sizes open, taken as --shape x=1,1: give others" in line
    assert run(*words, "--shape", "x=1,8").code == 0


def test_old_results_survive_a_failure(refused: Callable[..., str], work: Path) -> None:
    (work / "out" / "host").mkdir(parents=True)
    for name in ("model.onnx", "prune.json", "report.json", "host/model.so"):
        (work / "out" / name).write_text(OLD)
    refused(4, "net.onnx", "--passes", "scale,failing", "-o", "out")
    refused(3, "no.onnx", "--passes", "scale", "-o", "out")
