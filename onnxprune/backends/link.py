"""Finding a linker and linking: a compiler's own, or the one in the ``ziglang`` wheel where there is no compiler."""

from __future__ import annotations

import errno
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from onnxprune.backends.targets import Target
from onnxprune.errors import BackendError

__all__ = ["compile_program", "find_linker", "link_shared"]

COMPILERS = ("c++", "g++", "clang++", "cc", "gcc", "clang")  # the objects are C to a linker: either kind will do


def find_linker(target: Target) -> list[str]:
    """The command, as a list of words, that links a shared library for the target."""
    named = _named(target)
    if named and shutil.which(named[0]):
        return named
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-target", _zig_triple(target)]
    raise BackendError(_missing(target, named))


def link_shared(command: Sequence[str], output: str, objects: Sequence[str]) -> None:
    """Link object files into one stripped shared library; raises OSError where there is no room for it."""
    _run([*command, "-shared", "-fPIC", "-s", "-o", output, *objects], command, os.path.dirname(output))


def compile_program(target: Target, output: Path, folder: Path, sources: Sequence[str]) -> None:
    """Compile the ``sources`` of a deploy folder into a program for its target; raises BackendError."""
    command = find_linker(target)
    if "ziglang" in command:
        command[command.index("cc")] = "c++"
    options = ["-std=c++11", "-O1", "-I", str(folder.absolute() / "include"), "-o", str(output), *sources, "-ldl"]
    _run([*command, *options], command, str(output.parent), folder)


def _run(line: Sequence[str], command: Sequence[str], scratch: str, folder: Path | None = None) -> None:
    env = {**os.environ, "TMPDIR": scratch, "LC_ALL": "C"}
    try:
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False, env=env, cwd=folder)
    except OSError as error:
        raise BackendError(f"cannot start the linker {shlex.join(command)}: {error}") from error
    if done.returncode:
        said = (done.stderr + done.stdout).strip()[-2000:]
        if (full := os.strerror(errno.ENOSPC)) in said:
            raise OSError(errno.ENOSPC, full)
        raise BackendError(f"the linker failed; name another one in CXX\n  {shlex.join(line)}\n{said}")


def _named(target: Target) -> list[str]:
    if target.linker:
        return shlex.split(target.linker)
    if target.foreign:
        return [f"{target.triple}-g++"]
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    return [next((name for name in COMPILERS if shutil.which(name)), COMPILERS[0])]


def _zig_triple(target: Target) -> str:
    """Zig leaves the vendor out: arch-os-abi."""
    words = target.triple.split("-")
    return "-".join([words[0], *words[-2:]])


def _missing(target: Target, named: Sequence[str]) -> str:
    package = f"g++-{target.triple.replace('_', '-')}" if target.foreign else "g++"
    return (
        f"no linker for target '{target.name}' ({target.triple}): '{named[0]}' is not on PATH and ziglang is not"
        f" installed; install a compiler (e.g. `apt install {package}`) or `pip install 'onnxprune[cross]'`"
    )
