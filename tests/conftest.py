"""What tests of several folders share: distributions that extend onnxprune, installed where only they are seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

from onnxprune import plugins

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No answer that another run, or another worker of this one, has kept is believed; fonts are looked for once.

    Nothing is fetched from a package index.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("fonts")))
        patch.setenv("PIP_NO_INDEX", "1")  # a runtime for another architecture would be fetched
        yield


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``tests/plugin`` is installed in: it takes effect where it is on PYTHONPATH."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--no-compile", "--target", str(folder / "site")]
    subprocess.run([*command, str(folder / "source")], check=True, capture_output=True, text=True)
    return folder / "site"


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler for CMake: the one in the wheel of Zig where the machine has none."""
    for variable, name, installed in (("CC", "cc", ("cc", "gcc", "clang")), ("CXX", "c++", ("c++", "g++", "clang++"))):
        if not any(map(shutil.which, installed)):
            monkeypatch.setenv(variable, f"{sys.executable} -m ziglang {name}")


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Makes a distribution with one entry point and some files, in this process; no others are installed."""
    modules, paths = set(sys.modules), []

    def make(name: str, group: str, entry: str, files: Mapping[str, str]) -> Path:
        folder = tmp_path / name
        for path, text in {
            f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{name}-1.0.dist-info/entry_points.txt": f"[{group}]\n{entry}\n",
            **files,
        }.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        paths.append(str(folder))
        return folder

    def installed(group: str) -> list[EntryPoint]:
        return [entry for dist in distributions(path=paths) for entry in dist.entry_points.select(group=group)]

    monkeypatch.setattr(plugins, "entry_points", installed)
    yield make
    for module in set(sys.modules) - modules:
        del sys.modules[module]
