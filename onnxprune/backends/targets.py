"""The machines that models are compiled for: tables of ``targets.toml``, ours and those of plug-ins alike."""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from onnxprune import plugins
from onnxprune.errors import BackendError, UsageError, unknown
from onnxprune.options import read
from onnxprune.quantization.profiles import PROFILES

__all__ = ["GROUP", "Target", "load_target", "target_files", "target_names", "this_profile"]

GROUP = "onnxprune.targets"
FILE = "targets.toml"


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
    int8: Annotated[str, tuple(PROFILES)] = "u8s8"
    linker: str | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for sizes that no machine has."""
        for name in ("vector_bits", "cores", "align"):
            if (value := getattr(self, name)) < 1:
                raise UsageError(f"target '{self.name}': {name} cannot be {value}")

    @property
    def arch(self) -> str:
        """The instruction set: the first word of the triple."""
        return self.triple.partition("-")[0]

    @property
    def foreign(self) -> bool:
        """Whether this machine cannot run the target's code."""
        return self.arch != platform.machine()


def target_names() -> list[str]:
    """The name of every target, ours first, in the order of the files."""
    return list(_tables())


def target_files() -> list[Path]:
    """The files that targets are read from, as far as they are files."""
    return [file for _, file in _files() if isinstance(file, Path)]


def load_target(name: str) -> Target:
    """The target called ``name``; raises UsageError when there is none, BackendError when its table is not sound."""
    if name not in (tables := _tables()):
        raise UsageError(unknown("target", name, tables))
    home, table = tables[name]
    whole = table if "triple" in table else {**_this_machine(), **table}
    try:
        return Target(**read(Target, {**whole, "name": name}, f"target '{name}' of {home}"))
    except UsageError as error:
        raise BackendError(f"{error}; repair {home}") from error


@cache
def _tables() -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Every table, and the distribution it comes from."""
    result: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for home, file in _files():
        for name, table in _parsed(home, file).items():
            if name in result:
                both = " and ".join(sorted((result[name][0], home)))
                raise UsageError(f"two targets are named '{name}', in {both}; uninstall one of them")
            result[name] = (home, table)
    return result


def _files() -> Iterator[tuple[str, Traversable]]:
    yield "'onnxprune'", files(__package__) / FILE
    for entry in plugins.found(GROUP, "families of targets").values():
        yield plugins.home(entry), files(plugins.load(entry, "targets", BackendError)) / FILE


def _parsed(home: str, file: Traversable) -> dict[str, Mapping[str, Any]]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackendError(f"the targets of {home} cannot be read from '{file}': {error}; repair {home}") from error
    if plain := [name for name, table in tables.items() if not isinstance(table, dict)]:
        raise BackendError(f"the targets of {home}: '{plain[0]}' in '{file}' is no table; write [{plain[0]}]")
    return tables


def _this_machine() -> dict[str, Any]:
    bits = _vector_bits()
    cores = len(os.sched_getaffinity(0))
    return {
        "triple": f"{platform.machine()}-linux-gnu",
        "vector_bits": bits,
        "cores": cores,
        "align": bits // 32,
        "int8": this_profile(),
    }


def this_profile() -> str:
    """The name of the integers that suit this machine (``PROFILES``)."""
    if platform.machine() in ("aarch64", "arm64"):
        return "s8s8"
    return "u8s8" if _words() & {"avx512_vnni", "avx_vnni"} else "u8s7"


def _vector_bits() -> int:
    words = _words()
    return 512 if "avx512f" in words else 256 if "avx2" in words else 128


def _words() -> set[str]:
    """What Linux says of the processor, the names of its features among them."""
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return set()
