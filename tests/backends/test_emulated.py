"""Code of another machine runs under QEMU where there is one, a C++ library and a compiler; else it is said why not."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import net

from onnxprune.backends import emulated as module
from onnxprune.backends import load_target, tvm
from onnxprune.backends.difference import Difference
from onnxprune.backends.emulated import CannotRunError, emulated
from onnxprune.backends.folder import Sample, furnish
from onnxprune.backends.libraries import libraries
from onnxprune.cache import Cache
from onnxprune.errors import BackendError
from onnxprune.runtime import Session

HERE = load_target("host")
BOARD = replace(HERE, name="board", triple="strange64-linux-gnu", cpu="odd")
MATMUL = "(float[1,8] x) => (float[1,4] y) <float[8,4] w> { y = MatMul(x, w) }"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a machine with a cross compiler and a C++ library; ``qemu`` gives it an emulator."""
    (tmp_path / "root/lib").mkdir(parents=True)
    (tmp_path / "root/lib/libstdc++.so.6").touch()
    monkeypatch.setenv("QEMU_LD_PREFIX", str(tmp_path / "root"))
    script(tmp_path / "bin/strange64-linux-gnu-g++", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return tmp_path


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def qemu(board: Path, text: str) -> None:
    script(board / "bin/qemu-strange64", text)


def test_the_worst_output_of_check_counts(board: Path) -> None:
    qemu(
        board,
        "echo output 0: float32[2], largest error 2, relative 1e-5; echo output 1: x, largest error 1, relative 0.5",
    )
    assert emulated(BOARD, board / "model.so") == Difference(2, 0.5)


def test_check_gets_the_library_and_the_emulator_the_root(board: Path) -> None:
    qemu(board, f'echo "$@" > {board}/said; echo largest error 0, relative 0')
    emulated(BOARD, board / "model.so")
    option, root, check, library = (board / "said").read_text().split()
    assert (option, root, Path(check).name, library) == ("-L", str(board / "root"), "check", str(board / "model.so"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo check: no such thing >&2; exit 2", "does not run under QEMU: check: no such thing"),
        ("kill -SEGV $$", "does not run under QEMU: it ended with -11"),
        ("echo output 0: float32 instead of int64; exit 1", "does not run under QEMU: output 0: float32 instead of"),
    ],
)
def test_code_that_fails_is_an_error(text: str, said: str, board: Path) -> None:
    qemu(board, text)
    with pytest.raises(BackendError, match=said):
        emulated(BOARD, board / "model.so")


def test_what_the_emulator_does_not_know_is_no_fault_of_the_code(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("kill -ILL $$", "exit 132"):
        qemu(board, text)
        with pytest.raises(CannotRunError, match="qemu-strange64 does not know all instructions of odd"):
            emulated(BOARD, board / "model.so")
    qemu(board, "exec sleep 5")
    monkeypatch.setattr(module, "SECONDS", 0.1)
    with pytest.raises(CannotRunError, match=r"took more than 0.* minutes under qemu-strange64"):
        emulated(BOARD, board / "model.so")


def test_what_is_not_installed_is_named_with_its_package(board: Path) -> None:
    with pytest.raises(CannotRunError, match=r"qemu-strange64 is not installed .`apt install qemu-user-static`"):
        emulated(BOARD, board / "model.so")
    qemu(board, "exit 0")
    script(board / "bin/strange64-linux-gnu-g++", "echo no header >&2; exit 1")
    with pytest.raises(CannotRunError, match="its check cannot be compiled: no header"):
        emulated(BOARD, board / "model.so")
    (board / "root/lib/libstdc++.so.6").unlink()
    with pytest.raises(
        CannotRunError, match=r"no C\+\+ library for strange64 in '.*apt install g\+\+-strange64-linux-gnu"
    ):
        emulated(BOARD, board / "model.so")


def test_a_library_runs_under_the_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine's own instruction set, for which everything is installed; a wrong sample is seen."""
    if not any(map(shutil.which, (f"qemu-{platform.machine()}", f"qemu-{platform.machine()}-static"))):
        pytest.skip("QEMU's user emulation is not installed")
    monkeypatch.setenv("QEMU_LD_PREFIX", "/")
    target = load_target("x86-64" if platform.machine() == "x86_64" else "rpi3")
    model, x = net(MATMUL).proto(), np.arange(8, dtype=np.float32)[None]
    tvm.build(model, target, tmp_path / "model.so", {})
    for scale in (1, 2):
        (y,) = Session(model)({"x": x})
        sample = Sample([("x", x)], [("y", scale * y)])
        furnish(tmp_path, target, sample, libraries(target, tmp_path / "model.so", Cache(None)))
        found = emulated(target, tmp_path / "model.so")
        assert (found.relative < 1e-5) == (scale == 1)
