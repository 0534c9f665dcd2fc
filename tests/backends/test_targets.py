"""Targets are tables of a file; a wrong name proposes the right one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from onnxprune.backends.targets import load_target, target_names
from onnxprune.errors import UsageError


def test_every_table_of_the_file_is_a_target() -> None:
    assert {"host", "x86-64", "x86-64-v3", "rpi4"} <= set(target_names())
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


def test_another_instruction_set_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert load_target("rpi4").foreign
    assert load_target("x86-64").foreign


def test_naming_targets_does_not_import_tvm() -> None:
    code = "import sys, onnxprune.backends.tvm; sys.exit('tvm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
