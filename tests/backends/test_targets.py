"""Targets are tables of a file; a wrong name proposes the right one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from onnxprune.backends.processors import check_processor
from onnxprune.backends.targets import _tables, load_target, target_names
from onnxprune.errors import BackendError, UsageError


def test_every_table_of_the_file_is_a_target() -> None:
    assert {"host", "x86-64", "x86-64-v3", "x86-64-v4", "rpi3", "rpi4", "rpi5", "graviton"} <= set(target_names())
    for name in target_names():
        target = load_target(name)
        assert target.name == name
        assert target.triple.endswith("-linux-gnu")
        assert target.vector_bits % (target.align * 32) == 0


def test_an_unknown_target_proposes_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no target 'x86_64'; did you mean 'x86-64'\?"):
        load_target("x86_64")


def test_an_unlike_target_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no target 'zzz'; known: graviton, host, rpi3"):
        load_target("zzz")


def test_host_describes_this_machine() -> None:
    host = load_target("host")
    assert (host.arch, host.foreign) == (platform.machine(), False)
    assert host.cores == len(os.sched_getaffinity(0))
    assert host.cpu is None


def test_a_target_is_frozen_and_names_its_features() -> None:
    target = load_target("x86-64-v3")
    assert (target.cpu, target.features, target.vector_bits, target.align) == ("x86-64-v3", (), 256, 8)
    with pytest.raises(FrozenInstanceError):
        target.cpu = "znver5"  # type: ignore[misc]


@pytest.mark.parametrize("name", target_names())
def test_llvm_knows_the_processor_of_every_target(name: str) -> None:
    check_processor(load_target(name))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cpu": "cortex-a75a"}, "'rpi4': LLVM knows no processor 'cortex-a75a'; near ones: .*cortex-a75"),
        ({"cpu": "x86-64-v3"}, "LLVM knows no processor 'x86-64-v3'; .*"),
        ({"features": ("+dotprd",)}, "LLVM knows no feature 'dotprd'; near ones: dotprod"),
        ({"features": ("-dotprd",)}, "LLVM knows no feature 'dotprd'; near ones: dotprod"),
        ({"features": ("dotprod",)}, r"'dotprod' is to be '\+dotprod' or '-dotprod'"),
        ({"triple": "arch64-linux-gnu"}, "LLVM knows no instruction set 'arch64'; near ones: aarch64"),
    ],
)
def test_what_llvm_does_not_know_is_refused_with_what_is_near(given: dict[str, Any], message: str) -> None:
    rpi4 = load_target("rpi4")
    check_processor(replace(rpi4, features=("+dotprod", "-sve2")))
    with pytest.raises(BackendError, match=message):
        check_processor(replace(rpi4, **given))


@pytest.mark.parametrize("given", ["cores = 0", "align = -4", "vector_bits = 0"])
def test_sizes_that_no_machine_has_are_refused(given: str, distribution: Callable[..., Path]) -> None:
    table = f"""[board]\ntriple = "aarch64-linux-gnu"\n{given}\n"""
    distribution("boards", "onnxprune.targets", "b = boards", {"boards/__init__.py": "", "boards/targets.toml": table})
    _tables.cache_clear()
    try:
        with pytest.raises(BackendError, match=f"target 'board': {given.replace(' =', ' cannot be')}; repair 'boards'"):
            load_target("board")
    finally:
        _tables.cache_clear()


def test_another_instruction_set_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert load_target("rpi4").foreign
    assert load_target("x86-64").foreign


def test_naming_targets_does_not_import_tvm() -> None:
    code = "import sys, onnxprune.backends.tvm; sys.exit('tvm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
