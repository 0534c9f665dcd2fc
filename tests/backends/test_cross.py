"""A trained network on every board: linked with Debian's compilers or with Zig, and run under QEMU."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest
from pages import ROOT

from onnxprune.backends.targets import load_target, target_names
from onnxprune.compression import compress

BOARDS = [name for name in target_names() if load_target(name).arch == "aarch64"]

pytestmark = [
    pytest.mark.cross,
    pytest.mark.skipif(platform.machine() == "aarch64", reason="they are no other machines here"),
]


@pytest.fixture(autouse=True)
def qemu(monkeypatch: pytest.MonkeyPatch) -> str:
    """The emulator; the runtime comes from the package index."""
    monkeypatch.delenv("PIP_NO_INDEX")
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    return found or pytest.skip("QEMU's user emulation is not installed")


def assert_right(board: str, folder: Path) -> None:
    data = str(ROOT / "models/digits.calib.npz")
    report = compress(ROOT / "models/digits_resnet.onnx", calib=data, targets=[board], output=folder).report
    (row,) = report.targets
    assert (row.verified, row.why, row.missing) == ("qemu", None, None)
    assert row.max_rel_error < 1e-6
    assert row.latency_ms is None


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_computes_what_onnxruntime_does(board: str, tmp_path: Path) -> None:
    if shutil.which("aarch64-linux-gnu-g++") is None:
        pytest.skip("g++-aarch64-linux-gnu is not installed")
    assert_right(board, tmp_path)


def test_zig_links_the_model_and_its_check(qemu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ziglang", reason="the extra 'cross' is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / Path(qemu).name).symlink_to(qemu)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert_right("rpi4", tmp_path / "out")
