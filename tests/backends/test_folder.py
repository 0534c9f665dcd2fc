"""The folder of a target: its programs build, run, check and time the model, wherever the folder lies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from oracle import net
from pages import ROOT
from toys import tree

from onnxprune.backends import load_target, tvm
from onnxprune.backends.difference import TOLERANCE
from onnxprune.backends.emulated import FIGURES
from onnxprune.backends.folder import Sample, furnish, names, templates
from onnxprune.backends.libraries import libraries
from onnxprune.backends.link import compile_program
from onnxprune.cache import Cache
from onnxprune.runtime import Session

HOST = load_target("host")
MIXED = """(float[2,3] x, int64[2] i, bool[3] b) => (float[2,3] y, int64[2] j, bool[3] n, float z)
    { y = Neg(x)  j = Add(i, i)  n = Not(b)  z = ReduceSum<keepdims=0>(x) }"""
FEEDS = {"x": np.float32([[1, 2, 3], [4, 5, 6]]), "i": np.array([7, -8]), "b": np.array([True, False, True])}


def furnished(folder: Path, proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> Path:
    """A deploy folder with its programs compiled."""
    tvm.build(proto, HOST, folder / "model.so", {})
    session = Session(proto)
    sample = Sample(list(feeds.items()), list(zip(session.outputs, session(feeds), strict=True)))
    furnish(folder, HOST, sample, libraries(HOST, folder / "model.so", Cache(None)))
    compile_program(HOST, folder / "check.o", folder, ["-c", "check.cc"])
    embed(folder)
    for program in ("bench", "run_model"):
        compile_program(HOST, folder / program, folder, [f"{program}.cc", "sample.S"])
    return folder


def embed(folder: Path) -> None:
    """Link ``check`` with the sample that is there now."""
    compile_program(HOST, folder / "check", folder, ["check.o", "sample.S"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network with inputs and outputs of several types."""
    return furnished(tmp_path_factory.mktemp("a place") / "mixed", net(MIXED).proto(), FEEDS)


@pytest.fixture
def folder(mixed: Path, tmp_path: Path) -> Path:
    """A copy of it in another place."""
    return shutil.copytree(mixed, tmp_path / "else where")


def run(folder: Path, program: str, *words: str) -> tuple[int, str]:
    done = subprocess.run([f"./{program}", "model.so", *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def save(path: Path, arrays: Sequence[np.ndarray]) -> None:
    with path.open("wb") as stream:
        for each in arrays:
            np.save(stream, each)


def load(path: Path, count: int) -> list[np.ndarray]:
    with path.open("rb") as stream:
        return [np.load(stream) for _ in range(count)]


def test_the_model_is_right_wherever_the_folder_lies(folder: Path) -> None:
    code, said = run(folder, "check")
    assert (code, said.splitlines()[-1]) == (0, "right")
    shapes = [line.split(": ")[1].split(", largest")[0] for line in said.splitlines()[:-1]]
    assert shapes == ["float32[2, 3]", "int64[2]", "bool[3]", "float32[]"]
    assert FIGURES.findall(said) == [("0", "0")] * 4


@pytest.mark.parametrize("output", range(4))
@pytest.mark.parametrize(("share", "code"), [(0.5, 0), (2, 1)])
def test_check_fails_beyond_the_tolerance_of_the_report(output: int, share: float, code: int, folder: Path) -> None:
    expected = load(folder / "outputs.npy", 4)
    if expected[output].dtype == np.float32:
        expected[output] = expected[output] + np.float32(share * TOLERANCE * np.abs(expected[output]).max())
    elif share > 1:
        expected[output] = ~expected[output]
    save(folder / "outputs.npy", expected)
    embed(folder)
    assert run(folder, "check")[0] == code


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        pytest.param([], "there is no sample", id="none"),
        pytest.param([np.zeros(2)], "4 outputs instead of 1", id="too few"),
        pytest.param([np.zeros((2, 3))] * 4, "output 0: float32[2, 3] instead of float64[2, 3]", id="type"),
        pytest.param([np.zeros((3, 2), np.float32)] * 4, "float32[2, 3] instead of float32[3, 2]", id="shape"),
    ],
)
def test_check_fails_on_other_outputs(outputs: list[np.ndarray], said: str, folder: Path) -> None:
    save(folder / "outputs.npy", outputs)
    embed(folder)
    code, text = run(folder, "check")
    assert code != 0
    assert said in text


def test_bench_prints_the_median_of_its_runs(folder: Path) -> None:
    code, said = run(folder, "bench", "7")
    assert (code, said.split("of ")[1]) == (0, "7 runs\n")
    median, fastest = (float(word) for word in said.split() if word[0].isdigit() and "." in word)
    assert 0 < fastest <= median


def test_run_model_reads_arrays_and_bare_elements_and_writes_arrays(folder: Path) -> None:
    x, i, b = FEEDS["x"] * 2, FEEDS["i"] + 1, ~FEEDS["b"]
    x.tofile(folder / "x.raw")
    save(folder / "rest.npy", [i, b])
    code, said = run(folder, "run_model", "x.raw", "rest.npy")
    assert code == 0, said
    for number, expected in enumerate((-x, i + i, ~b, x.sum())):
        got = np.load(folder / f"output{number}.npy")
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no.npy"], "run_model: cannot read 'no.npy'"),
        (["half.raw"], "run_model: 'half.raw' has 12 bytes, not 24: float32[2, 3]"),
        (["inputs.npy", "half.raw"], "run_model: 'half.raw' is one input too many"),
        (["cut.npy"], "run_model: an array is cut off"),
        (["columns.npy"], "run_model: an array is not in C order"),
        (["complex.npy"], "run_model: arrays of '<c8' are not read"),
        (["one.npy"], "expects 3 arguments"),
    ],
)
def test_inputs_that_cannot_be_run_are_refused(words: list[str], said: str, folder: Path) -> None:
    FEEDS["x"][:1].tofile(folder / "half.raw")
    np.save(folder / "one.npy", FEEDS["x"])
    np.save(folder / "columns.npy", np.asfortranarray(FEEDS["x"]))
    np.save(folder / "complex.npy", np.complex64([1j]))
    (folder / "cut.npy").write_bytes((folder / "one.npy").read_bytes()[:-1])
    code, text = run(folder, "run_model", *words)
    assert code == 2
    assert said in text


def test_a_folder_without_its_runtime_says_so(folder: Path) -> None:
    (folder / "libtvm_runtime.so").unlink()
    code, said = run(folder, "check")
    assert code == 2
    assert "check: no TVM runtime: libtvm_runtime.so: cannot open shared object file" in said


def test_cmake_builds_it_and_tests_the_model(folder: Path, compiler: None) -> None:
    cmake = str(Path(sys.executable).parent / "cmake")
    for words in (["-B", "build"], ["--build", "build"]):
        subprocess.run([cmake, *words], cwd=folder, check=True, capture_output=True)
    done = subprocess.run([f"{cmake[:-5]}ctest", "--test-dir", "build"], cwd=folder, capture_output=True, text=True)
    assert "100% tests passed" in done.stdout
    shutil.rmtree(folder / "include")
    assert subprocess.run(["build/check", "model.so"], cwd=folder).returncode == 0


def test_the_readme_says_what_is_read_and_written_in_ten_lines(mixed: Path) -> None:
    text = (mixed / "README.md").read_text(encoding="utf-8")
    assert "`x` float32[2, 3], `i` int64[2], `b` bool[3] and writes `y` float32[2, 3], `j` int64[2]" in text
    assert "$" not in text
    assert len([line for line in text.splitlines() if line]) <= 10


def test_what_goes_into_the_folder_is_known_before(mixed: Path) -> None:
    place = ROOT / "onnxprune/backends/deployed"
    made = {"model.so", "check.o", "check", "bench", "run_model"}
    assert {*names()} - {"libtvm_runtime_extra.so"} == {
        name for name, data in tree(mixed).items() if data is not None
    } - made
    assert {*templates()} == {path for path in place.rglob("*") if path.is_file()}
