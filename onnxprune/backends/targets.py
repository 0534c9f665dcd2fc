"""The machines that models are compiled for, read from ``targets.toml``."""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from onnxprune.errors import UsageError, unknown

__all__ = ["Target", "load_target", "target_names"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A machine: what the code generator, the linker and the passes need to know of it."""

    name: str
    triple: str
    cpu: str | None = None  # None: this machine's, which LLVM names when something is built
    features: tuple[str, ...] = ()
    vector_bits: int = 128
    cores: int = 1
    align: int = 4
    linker: str | None = None

    @property
    def arch(self) -> str:
        """The instruction set: the first word of the triple."""
        return self.triple.partition("-")[0]

    @property
    def foreign(self) -> bool:
        """Whether this machine cannot run the target's code."""
        return self.arch != platform.machine()


def target_names() -> list[str]:
    """The name of every target, in the order of the file."""
    return list(_tables())


def load_target(name: str) -> Target:
    """The target called ``name``."""
    if name not in _tables():
        raise UsageError(unknown("target", name, _tables()))
    table = dict(_tables()[name])
    if "triple" not in table:
        table = {**_this_machine(), **table}
    return Target(name=name, **table | {"features": tuple(table.get("features", ()))})


@cache
def _tables() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(files(__package__).joinpath("targets.toml").read_text(encoding="utf-8"))


def _this_machine() -> dict[str, Any]:
    bits = _vector_bits()
    cores = len(os.sched_getaffinity(0))
    return {"triple": f"{platform.machine()}-linux-gnu", "vector_bits": bits, "cores": cores, "align": bits // 32}


def _vector_bits() -> int:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return 128
    return 512 if "avx512f" in words else 256 if "avx2" in words else 128
