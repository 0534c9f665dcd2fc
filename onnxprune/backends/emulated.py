"""Running code of another architecture here: the ``check`` of a deploy folder, under the user emulation of QEMU."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from onnxprune.backends.difference import Difference
from onnxprune.backends.link import compile_program
from onnxprune.backends.targets import Target
from onnxprune.errors import BackendError
from onnxprune.output import scratch

__all__ = ["CannotRunError", "emulated"]

SECONDS = 900  # an emulated run may take a hundred times as long as a real one
PLACES = ("lib", "usr/lib", "usr/lib/*-linux-gnu")  # of Debian's cross compilers, and of whole systems
FIGURES = re.compile(r"largest error (\S+), relative (\S+)")


class CannotRunError(Exception):
    """Why code cannot be run here; nothing is wrong with it."""


def emulated(target: Target, library: Path) -> Difference:
    """Build ``check`` for the target, and run it on the ``library`` of a deploy folder.

    Raises CannotRunError where there is no emulator, C library or compiler, BackendError where the code fails.
    """
    command = _emulator(target)
    with scratch() as place:
        try:
            compile_program(target, place / "check", library.parent, ["check.cc", "sample.S"])
        except BackendError as error:
            raise CannotRunError(f"its check cannot be compiled: {str(error).splitlines()[-1]}") from error
        return _difference(target, [*command, str(place / "check"), str(library.absolute())])


def _emulator(target: Target) -> list[str]:
    names = [f"qemu-{target.arch}-static", f"qemu-{target.arch}"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise CannotRunError(f"{names[1]} is not installed (`apt install qemu-user-static`)")
    root = Path(os.environ.get("QEMU_LD_PREFIX") or f"/usr/{target.triple}")
    if not any(any(root.glob(f"{place}/libstdc++.so*")) for place in PLACES):
        package = f"g++-{target.triple.replace('_', '-')}"
        raise CannotRunError(f"there is no C++ library for {target.arch} in '{root}' (`apt install {package}`)")
    return [found, "-L", str(root)]


def _difference(target: Target, line: list[str]) -> Difference:
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS, cwd="/"
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRunError(f"it took more than {SECONDS // 60} minutes under {Path(line[0]).name}") from error
    if done.returncode in (-signal.SIGILL, 128 + signal.SIGILL):
        raise CannotRunError(f"{Path(line[0]).name} does not know all instructions of {target.cpu}")
    figures = [(float(absolute), float(relative)) for absolute, relative in FIGURES.findall(done.stdout)]
    if done.returncode not in (0, 1) or not figures:
        said = (done.stderr.strip() or done.stdout.strip() or f"it ended with {done.returncode}").splitlines()[-1][:300]
        raise BackendError(f"the library for target '{target.name}' does not run under QEMU: {said}")
    absolute, relative = (max(column) for column in zip(*figures, strict=True))
    return Difference(absolute, relative)
