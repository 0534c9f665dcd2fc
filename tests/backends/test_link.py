"""A linker is the target's, this machine's, or zig's; without any the message names two ways out."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from onnxprune.backends.link import find_linker, link_shared
from onnxprune.backends.targets import load_target
from onnxprune.errors import BackendError

HERE = load_target("x86-64")
FAR = replace(load_target("rpi4"), triple="sparc64-linux-gnu")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with an empty PATH, no CXX and no ziglang; its PATH is the returned folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    ziglang(monkeypatch, present=False)
    return tmp_path


def ziglang(monkeypatch: pytest.MonkeyPatch, *, present: bool) -> None:
    find = importlib.util.find_spec
    answer = find("sys") if present else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: answer if name == "ziglang" else find(name))


def program(folder: Path, name: str, text: str = "#!/bin/sh\n") -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o755)


def test_no_linker_at_all_names_both_ways_out(bare: Path) -> None:
    with pytest.raises(
        BackendError, match=r"'c\+\+' is not on PATH.*apt install g\+\+`.*pip install 'onnxprune\[cross\]'"
    ):
        find_linker(HERE)


def test_no_cross_linker_names_its_package(bare: Path) -> None:
    program(bare, "c++")
    with pytest.raises(BackendError, match=r"sparc64-linux-gnu-g\+\+.*apt install g\+\+-sparc64-linux-gnu"):
        find_linker(FAR)


@pytest.mark.parametrize("name", ["c++", "clang++", "gcc"])
def test_a_compiler_on_path_links(bare: Path, name: str) -> None:
    program(bare, name)
    assert find_linker(HERE) == [name]


def test_cxx_comes_before_path_and_may_have_options(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare, "c++")
    program(bare, "mine")
    monkeypatch.setenv("CXX", "mine -m64")
    assert find_linker(HERE) == ["mine", "-m64"]


def test_cxx_does_not_link_for_another_machine(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare, "c++")
    program(bare, "sparc64-linux-gnu-g++")
    monkeypatch.setenv("CXX", "c++")
    assert find_linker(FAR) == ["sparc64-linux-gnu-g++"]


def test_the_targets_own_linker_comes_first(bare: Path) -> None:
    program(bare, "c++")
    program(bare, "special")
    assert find_linker(replace(HERE, linker="special --sysroot=/x")) == ["special", "--sysroot=/x"]


def test_zig_links_where_there_is_no_compiler(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ziglang(monkeypatch, present=True)
    assert find_linker(HERE) == [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu"]
    conda = replace(HERE, triple="x86_64-conda-linux-gnu")
    assert find_linker(conda)[-1] == "x86_64-linux-gnu"


def test_a_failing_linker_is_quoted_with_its_command(tmp_path: Path) -> None:
    program(tmp_path, "broken", "#!/bin/sh\necho no such symbol >&2\nexit 1\n")
    with pytest.raises(BackendError, match=r"(?s)name another one in CXX.*broken -shared.*a\.o.*no such symbol"):
        link_shared([str(tmp_path / "broken")], "a.so", ["a.o"])


def test_a_linker_that_does_not_start_is_a_backend_error() -> None:
    with pytest.raises(BackendError, match="cannot start the linker /nowhere/ld"):
        link_shared(["/nowhere/ld"], "a.so", ["a.o"])
