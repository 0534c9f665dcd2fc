"""Libraries for targets: built, verified on data of the shapes compiled for, and refused when they are wrong."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from oracle import net
from toys import DRAWN, NET, Failing, Scale, compress, doing, samples, tree

from onnxprune import deploy
from onnxprune.backends import Artifact, link, load_target
from onnxprune.errors import BackendError
from onnxprune.passes import Unchanged
from onnxprune.runtime import Session

FAR = "x86-64" if platform.machine() == "aarch64" else "rpi4"


def test_targets_are_built_verified_and_timed(tmp_path: Path) -> None:
    model = net(NET)
    result = compress(model, [Scale()], calib=samples(), targets=["host"], output=tmp_path / "out")
    (row,) = result.report.targets
    assert row.artifact == tmp_path / "out" / "host" / "model.so"
    assert (row.bytes, row.verified) == (row.artifact.stat().st_size, "host")
    assert 0 <= row.max_abs_error < 1e-5
    assert 0 <= row.max_rel_error < 1e-5
    assert row.latency_ms > 0
    assert row.folder_bytes == sum(len(data or b"") for data in tree(tmp_path / "out/host").values())
    assert (row.why, row.missing) == (None, None)
    alone = result.build("host", tmp_path / "alone")
    assert alone.artifact.read_bytes() == row.artifact.read_bytes()


def test_operators_that_cannot_be_compiled_are_refused_before_any_pass_runs(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"TVM cannot compile Multinomial \('Multinomial_0'\).*; leave out"):
        compress(net(DRAWN), [Failing()], targets=["host"], output=tmp_path / "out")
    assert tree(tmp_path) == {}


def test_a_missing_linker_is_refused_before_any_pass_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(link.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        BackendError,
        match=rf"^no linker for target '{FAR}' .*`apt install g\+\+-.* or `pip install .onnxprune.cross..`$",
    ):
        compress(net(NET), [Failing()], targets=[FAR], output=tmp_path / "out")
    assert tree(tmp_path) == {}


class FakeCompiler:
    """Builds a file that is no library, and runs what onnxruntime runs, with an error."""

    def __init__(self) -> None:
        self.error, self.lacks, self.batches = 0.0, [], []

    def unsupported(self, proto: onnx.ModelProto) -> list[tuple[str, str]]:
        return []

    def ready(self, target: Any) -> None:
        pass

    def build(self, proto: onnx.ModelProto, target: Any, path: Path, shapes: Any) -> Artifact:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"so")
        self.session = Session(proto)
        return Artifact(name=target.name, artifact=path, bytes=2)

    def lacking(self, target: Any) -> list[str]:
        return self.lacks

    def load(self, path: Path) -> Any:
        return self.run

    def run(self, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.batches.append([feed.shape for feed in feeds])
        return [y + self.error for y in self.session(dict(zip(self.session.inputs, feeds, strict=True)))]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    fake = FakeCompiler()
    monkeypatch.setattr(deploy, "backend", lambda: fake)
    monkeypatch.setattr(deploy, "_median_ms", lambda *_: 1.0)
    return fake


def test_what_lacks_its_runtime_is_not_verified_and_says_what_to_copy(compiler: FakeCompiler, tmp_path: Path) -> None:
    (row,) = compress(net(NET), [], targets=[FAR], output=tmp_path).report.targets
    assert (row.verified, row.max_rel_error, row.latency_ms) == ("none", None, None)
    assert row.why == f"the TVM runtime for {load_target(FAR).arch} is missing"
    assert row.missing.startswith("copy libtvm_ffi.so and libtvm_runtime.so for ")
    assert row.missing in (tmp_path / FAR / "README.md").read_text()


def test_what_this_processor_lacks_is_said_of_what_was_not_run(compiler: FakeCompiler, tmp_path: Path) -> None:
    compiler.lacks = ["avx512f", "avx512vl"]
    (row,) = compress(net(NET), [], targets=["host"], output=tmp_path).report.targets
    assert (row.verified, row.why) == ("none", "this machine's processor lacks avx512f, avx512vl")
    assert compiler.batches == []


def test_a_network_that_runs_on_nothing_made_up_is_not_verified(compiler: FakeCompiler, tmp_path: Path) -> None:
    row = replace(compress(net(NET), [Scale()]), feeds=()).build("host", tmp_path)
    assert (row.verified, row.why) == ("none", "there is no input that the model runs on; give --calib")
    assert (tmp_path / "host/inputs.npy").read_bytes() == b""


@pytest.mark.parametrize(("share", "right"), [(0.5e-4, True), (2e-4, False)])
def test_an_error_is_relative_to_the_largest_output(
    compiler: FakeCompiler, share: float, right: bool, tmp_path: Path
) -> None:
    model, feeds = net(NET), samples(1)
    compiler.error = share * float(np.abs(Session(model.proto())(feeds)[0]).max())
    with nullcontext() if right else pytest.raises(BackendError, match=f"{share} of the largest output"):
        compress(model, [], targets=["host"], calib=feeds, output=tmp_path)


@pytest.mark.parametrize("error", [0.1, float("inf"), float("nan")])
def test_a_wrong_library_is_an_error_and_nothing_is_written(
    compiler: FakeCompiler, error: float, tmp_path: Path
) -> None:
    compiler.error = error
    with pytest.raises(BackendError, match="library for target 'host' is wrong: it differs from onnxruntime"):
        compress(net(NET), [], targets=["host"], output=tmp_path / "out")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, [(1, 3, 4, 4)], id="made up"),
        pytest.param({"calib": samples(125)}, [(1, 3, 4, 4)] * 64, id="at most 64 samples"),
        pytest.param({"test": samples(5)}, [(1, 3, 4, 4)] * 5, id="test data"),
        pytest.param({"test": samples(70), "shapes": {"x": (16, 3, 4, 4)}}, [(16, 3, 4, 4)] * 4, id="whole batches"),
        pytest.param({"test": samples(5), "shapes": {"x": (16, 3, 4, 4)}}, [(16, 3, 4, 4)], id="too few"),
    ],
)
def test_a_library_is_verified_on_batches_of_the_shapes_compiled_for(
    compiler: FakeCompiler, given: dict[str, Any], expected: list[tuple[int, ...]], tmp_path: Path
) -> None:
    compress(net(NET), [], targets=["host"], output=tmp_path, **given)
    assert compiler.batches == [[shape] for shape in expected]


def test_the_first_target_is_what_passes_see(compiler: FakeCompiler) -> None:
    seen = []
    look = doing(lambda model, ctx: seen.append(ctx.target.name) or Unchanged("looked"))
    compress(net(NET), [look], targets=["rpi4", "host"])
    assert seen == ["rpi4"]


def test_the_sample_is_the_one_that_says_most_of_a_relative_error(compiler: FakeCompiler, tmp_path: Path) -> None:
    feeds = {"x": samples(5)["x"] * np.float32([1, 3, 9, 2, 1])[:, None, None, None]}
    model = net("(float[N,3,4,4] x) => (float[N,3,4,4] y) { y = Neg(x) }")
    compress(model, [], targets=["host"], test=feeds, output=tmp_path)
    (largest,) = [x for x in feeds["x"] if np.abs(x).max() == np.abs(feeds["x"]).max()]
    np.testing.assert_array_equal(np.load(tmp_path / "host/inputs.npy"), largest[None])
    np.testing.assert_array_equal(np.load(tmp_path / "host/outputs.npy"), -largest[None])
