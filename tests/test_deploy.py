"""Libraries for targets: built, verified on data of the shapes compiled for, and refused when they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from oracle import net
from toys import LSTM, NET, Failing, Scale, compress, doing, samples, tree

from onnxprune import deploy
from onnxprune.backends import Artifact
from onnxprune.errors import BackendError
from onnxprune.passes import Unchanged


def test_targets_are_built_verified_and_timed(tmp_path: Path) -> None:
    model = net(NET)
    result = compress(model, [Scale()], calib=samples(), targets=["host"], output=tmp_path / "out")
    (row,) = result.report.targets
    assert row.artifact == tmp_path / "out" / "host" / "model.so"
    assert (row.bytes, row.verified) == (row.artifact.stat().st_size, "host")
    assert 0 <= row.max_abs_error < 1e-5
    assert row.latency_ms > 0
    assert sorted(tree(tmp_path / "out")) == ["host", "host/model.so", "model.onnx", "prune.json", "report.json"]
    alone = result.build("host", tmp_path / "alone")
    assert alone.artifact.read_bytes() == row.artifact.read_bytes()


def test_operators_that_cannot_be_compiled_are_refused_before_any_pass_runs(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"TVM cannot compile LSTM \('LSTM_0'\); leave out the target"):
        compress(net(LSTM), [Failing()], targets=["host"], output=tmp_path / "out")
    assert tree(tmp_path) == {}


class FakeCompiler:
    """Builds an empty file, whose error and readiness are given."""

    def __init__(self, error: float = 0.0, here: bool = True) -> None:
        self.error, self.here, self.batches = error, here, []

    def unsupported(self, proto: onnx.ModelProto) -> list[tuple[str, str]]:
        return []

    def ready(self, target: Any) -> None:
        pass

    def build(self, proto: onnx.ModelProto, target: Any, path: Path, shapes: Any) -> Artifact:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"so")
        return Artifact(name=target.name, artifact=path, bytes=2)

    def runs_here(self, target: Any) -> bool:
        return self.here

    def load(self, path: Path) -> Any:
        return lambda feeds: []

    def verify(self, path: Path, proto: onnx.ModelProto, batches: Any) -> float:
        self.batches = [{name: a.shape for name, a in batch.items()} for batch in batches]
        return self.error


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    fake = FakeCompiler()
    monkeypatch.setattr(deploy, "backend", lambda: fake)
    return fake


def test_what_does_not_run_here_is_not_verified(compiler: FakeCompiler, tmp_path: Path) -> None:
    compiler.here = False
    (row,) = compress(net(NET), [], targets=["rpi4"], output=tmp_path).report.targets
    assert row == Artifact(name="rpi4", artifact=tmp_path / "rpi4" / "model.so", bytes=2)


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
    assert compiler.batches == [{"x": shape} for shape in expected]


def test_the_first_target_is_what_passes_see(compiler: FakeCompiler) -> None:
    seen = []
    look = doing(lambda model, ctx: seen.append(ctx.target.name) or Unchanged("looked"))
    compress(net(NET), [look], targets=["rpi4", "host"])
    assert seen == ["rpi4"]
