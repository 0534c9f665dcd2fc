"""The runtime of TVM as shared libraries: those installed here, or those of another architecture's wheels."""

from __future__ import annotations

import importlib.util
import logging
import mmap
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from onnxprune.backends.targets import Target
from onnxprune.cache import Cache
from onnxprune.errors import BackendError
from onnxprune.output import scratch

__all__ = ["HEADERS", "NAMES", "Libraries", "headers", "libraries"]

log = logging.getLogger(__name__)

PACKAGES = {"tvm": "apache-tvm", "tvm_ffi": "apache-tvm-ffi"}
NEEDED = ("tvm_ffi/lib/libtvm_ffi.so", "tvm/lib/libtvm_runtime.so")
EXTRA = "tvm/lib/libtvm_runtime_extra.so"  # sorting, random numbers
NAMES = tuple(Path(each).name for each in (*NEEDED, EXTRA))
HEADERS = ("tvm/ffi/c_api.h", "dlpack/dlpack.h")
SECONDS = 15  # to wait for an answer of the package index


@dataclass(frozen=True)
class Libraries:
    """Contents by file name, and what could not be had: what to copy, from where, and why it has to be."""

    files: Mapping[str, bytes] = field(repr=False)
    missing: str | None = None


def libraries(target: Target, library: Path, cache: Cache) -> Libraries:
    """The runtime that the ``library``, built for the target, is opened with; nothing of it is downloaded twice."""
    paths = [*NEEDED, *([EXTRA] if _holds(library, b"tvm.contrib.") else [])]
    if not target.foreign:
        return Libraries({Path(each).name: _installed(each).read_bytes() for each in paths})
    held = {each: cache.get(_key(target.arch, each)) for each in paths}
    found = {each: data for each, data in held.items() if data is not None}
    why = ""
    if len(found) < len(paths):
        found, why = _downloaded(target.arch, paths, cache)
    files = {Path(each).name: data for each, data in found.items()}
    return Libraries(files, _missing(target.arch, [each for each in paths if each not in found], why))


def headers() -> Mapping[str, bytes]:
    """What model.h includes of TVM: contents by path."""
    return {each: _installed(f"tvm_ffi/include/{each}").read_bytes() for each in HEADERS}


def _holds(library: Path, name: bytes) -> bool:
    with library.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(name) >= 0


def _installed(path: str) -> Path:
    package, _, rest = path.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None or not (file := Path(spec.origin).parent / rest).is_file():
        raise BackendError(f"'{path}' of {PACKAGES[package]} is not installed; reinstall onnxprune")
    return file


def _wheel(package: str) -> str:
    try:
        return f"{PACKAGES[package]}=={version(PACKAGES[package])}"
    except PackageNotFoundError as error:
        raise BackendError(f"{PACKAGES[package]} is not installed; reinstall onnxprune") from error


def _key(arch: str, path: str) -> str:
    return f"library {_wheel(path.partition('/')[0])} {arch} {path}"


def _downloaded(arch: str, paths: Iterable[str], cache: Cache) -> tuple[dict[str, bytes], str]:
    """Files of the wheels, all that may be needed later going into the cache, and why there are none."""
    found: dict[str, bytes] = {}
    with scratch() as folder:
        if why := _download(arch, folder):
            return {}, why
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for each in {*NEEDED, EXTRA} & {*archive.namelist()}:
                    found[each] = archive.read(each)
                    cache.put(_key(arch, each), found[each])
    return {each: found[each] for each in paths if each in found}, "the wheels have no such file"


def _download(arch: str, folder: Path) -> str:
    """Put the wheels into the folder; says why that was not possible, else nothing."""
    line = _command(arch, folder)
    log.info("fetching the TVM runtime for %s: %s", arch, " ".join(line))
    done = subprocess.run([sys.executable, "-m", *line], capture_output=True, text=True, errors="replace", check=False)
    log.debug("%s%s", done.stdout, done.stderr)
    said = [each.removeprefix("ERROR: ") for each in done.stderr.splitlines() if each.strip()]
    return "" if not done.returncode else (said or ["pip failed"])[-1][:200]


def _command(arch: str, folder: Path | str) -> list[str]:
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1", f"--timeout={SECONDS}"]
    return [*"pip download".split(), *quiet, "--dest", str(folder), *_wheels(arch)]


def _wheels(arch: str) -> list[str]:
    return ["--no-deps", "--only-binary=:all:", f"--platform=manylinux_2_28_{arch}", *map(_wheel, PACKAGES)]


def _missing(arch: str, paths: list[str], why: str) -> str | None:
    if not paths:
        return None
    names = " and ".join(Path(each).name for each in paths)
    return f"copy {names} for {arch} into the folder, from `pip download {' '.join(_wheels(arch))}` ({why})"
