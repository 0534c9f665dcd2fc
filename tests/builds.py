"""Build systems for tests: a project of one network, and the commands that build it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pages import texts

PAGE = "docs/build-systems.md"
BIN = Path(sys.executable).parent  # cmake, ninja and meson are installed beside Python


@dataclass
class Build:
    """A project of one network in ``source``, and the commands that build it."""

    source: Path
    site: Path
    steps: list[list[str]]
    made: Path
    log: list[str] = field(default_factory=list)

    def run(self) -> int:
        """Build; the exit code."""
        for command in self.steps:
            env = {**os.environ, "PYTHONPATH": str(self.site), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
            done = subprocess.run(command, cwd=self.source, env=env, capture_output=True, text=True, check=False)
            self.log.append(done.stdout + done.stderr)
            if done.returncode:
                return done.returncode
        return 0

    def rebuilt(self) -> bool:
        """Build, which must succeed; whether the network was written anew."""
        before = self.stamp()
        assert self.run() == 0, self.log[-1]
        return self.stamp() != before

    def stamp(self) -> tuple[int, int] | None:
        """What changes when the network is written."""
        return (self.made.stat().st_ino, self.made.stat().st_mtime_ns) if self.made.exists() else None


def cmake(source: Path, generator: str, text: str | None = None) -> Build:
    """The CMake project of the page, or another, configured."""
    (source / "CMakeLists.txt").write_text(text or texts(PAGE, "cmake")[0], encoding="utf-8")
    build = Build(source, source.parent / "site", [["cmake", "-B", "build", "-G", generator]], source / "none")
    assert build.run() == 0, build.log
    return Build(source, source.parent / "site", [["cmake", "--build", "build"]], source / "build/edge/model.onnx")


def make(source: Path) -> Build:
    """The Makefile of the page."""
    (source / "Makefile").write_text(texts(PAGE, "make")[0], encoding="utf-8")
    return Build(source, source.parent / "site", [["make"]], source / "build/edge/model.onnx")


def meson(source: Path) -> Build:
    """The Meson project of the page, set up."""
    (source / "meson.build").write_text(texts(PAGE, "meson")[0], encoding="utf-8")
    build = Build(source, source.parent / "site", [["meson", "setup", "build"]], source / "none")
    assert build.run() == 0, build.log
    return Build(source, source.parent / "site", [["meson", "compile", "-C", "build"]], source / "build/model.onnx")
