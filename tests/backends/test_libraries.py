"""The runtime for this machine is the one installed; that of another comes from its wheels, once."""

from __future__ import annotations

import platform
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from onnxprune.backends.libraries import headers, libraries
from onnxprune.backends.targets import load_target
from onnxprune.cache import Cache

FAR = load_target("x86-64" if platform.machine() == "aarch64" else "rpi4")
WHEELS = {
    "apache_tvm": ("tvm/lib/libtvm_runtime.so", "tvm/lib/libtvm_runtime_extra.so"),
    "apache_tvm_ffi": ("tvm_ffi/lib/libtvm_ffi.so",),
}
NAMES = ["libtvm_ffi.so", "libtvm_runtime.so"]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library that needs nothing beyond the runtime."""
    (tmp_path / "model.so").write_bytes(b"code")
    return tmp_path / "model.so"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for a package index, with the wheels for the other architecture."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    for name, files in WHEELS.items():
        release = version(name)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n"
        with zipfile.ZipFile(folder / f"{name}-{release}-py3-none-manylinux_2_28_{FAR.arch}.whl", "w") as wheel:
            wheel.writestr(f"{name}-{release}.dist-info/METADATA", about)
            wheel.writestr(f"{name}-{release}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
            for file in files:
                wheel.writestr(file, f"{file} of {FAR.arch}")
    return folder


def test_this_machines_are_those_installed(library: Path) -> None:
    found = libraries(load_target("host"), library, Cache(None))
    assert (sorted(found.files), found.missing) == (NAMES, None)
    assert all(data.startswith(b"\x7fELF") for data in found.files.values())


def test_what_sorts_needs_one_more(library: Path) -> None:
    library.write_bytes(b"code\0tvm.contrib.sort.topk\0")
    assert sorted(libraries(load_target("host"), library, Cache(None)).files) == [*NAMES, "libtvm_runtime_extra.so"]


def test_those_of_another_machine_are_fetched_once(library: Path, index: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = libraries(FAR, library, cache)
    assert (sorted(first.files), first.missing) == (NAMES, None)
    assert first.files["libtvm_ffi.so"] == f"tvm_ffi/lib/libtvm_ffi.so of {FAR.arch}".encode()
    for wheel in index.iterdir():
        wheel.unlink()
    assert libraries(FAR, library, cache) == first
    library.write_bytes(b"tvm.contrib.random.uniform")
    assert sorted(libraries(FAR, library, cache).files) == [*NAMES, "libtvm_runtime_extra.so"]
    assert libraries(FAR, library, Cache(None)).files == {}


def test_what_cannot_be_fetched_is_named_with_the_command_that_does_it(library: Path, tmp_path: Path) -> None:
    found = libraries(FAR, library, Cache(tmp_path / "cache"))
    assert found.files == {}
    assert found.missing is not None
    for part in (
        f"copy libtvm_ffi.so and libtvm_runtime.so for {FAR.arch} into the folder",
        f"`pip download --no-deps --only-binary=:all: --platform=manylinux_2_28_{FAR.arch} apache-tvm==",
        "No matching distribution found",
    ):
        assert part in found.missing


def test_the_headers_are_those_of_the_runtime() -> None:
    assert {name: b"#ifndef" in data for name, data in headers().items()} == {
        "tvm/ffi/c_api.h": True,
        "dlpack/dlpack.h": True,
    }
