"""CMake with Ninja and with Make, Make alone and Meson: rebuilt exactly when something that was read has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from builds import PAGE, Build, cmake, make, meson
from oracle import net
from pages import ROOT, commands, texts
from toys import NET, labelled, samples

from onnxprune.backends.link import find_linker
from onnxprune.backends.targets import load_target
from onnxprune.errors import BackendError
from onnxprune.model import Model

RECIPE = """schema = 1
calib = "{}.npz"

[[pass]]
use = "round"

[[pass]]
use = "prune"
ratio = "50%"
align = 1
heal = "none"
"""
METRIC = """
def top1(outputs, labels):
    return 1.0
"""


@pytest.fixture
def project(tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network ``edge`` whose weights lie beside it, its recipe and its data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    shutil.copytree(plugin, tmp_path / "site")
    source = tmp_path / "a project"
    source.mkdir()
    save(source, 0)
    (source / "edge.toml").write_text(RECIPE.format("calib"), encoding="utf-8")
    (source / "scores.py").write_text(METRIC, encoding="utf-8")
    np.savez(source / "calib.npz", **samples())
    np.savez(source / "test.npz", **labelled(Model.load(source / "edge.onnx")))
    return source


def save(source: Path, seed: int) -> None:
    """A network whose weights stand in ``edge.data``."""
    (source / "edge.data").unlink(missing_ok=True)
    proto = net(NET, seed=seed).proto()
    onnx.save_model(proto, source / "edge.onnx", save_as_external_data=True, location="edge.data", size_threshold=0)


SYSTEMS: dict[str, Callable[[Path], Build]] = {
    "cmake with ninja": lambda source: cmake(source, "Ninja"),
    "cmake with make": lambda source: cmake(source, "Unix Makefiles"),
    "make": make,
    "meson": meson,
}
every_system = pytest.mark.parametrize("system", SYSTEMS)
some_systems = pytest.mark.parametrize(
    "system", [each if each == "cmake with ninja" else pytest.param(each, marks=pytest.mark.builds) for each in SYSTEMS]
)


def appended(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def other_calibration(source: Path) -> None:
    """The recipe names other data, and what it named before is gone."""
    (source / "calib.npz").rename(source / "other.npz")
    (source / "edge.toml").write_text(RECIPE.format("other"), encoding="utf-8")


EDITS: dict[str, Callable[[Path], object]] = {
    "the model": lambda source: os.utime(source / "edge.onnx"),
    "its external data": lambda source: os.utime(source / "edge.data"),
    "the recipe": lambda source: appended(source / "edge.toml", "\n# a comment\n"),
    "the calibration data": lambda source: np.savez(source / "calib.npz", **samples(seed=3)),
    "the source of a pass": lambda source: appended(source.parent / "site/onnxprune_example/round.py", "\n# it\n"),
    "the recipe and its data": other_calibration,
}
MORE: dict[str, Callable[[Path], object]] = {
    "the test data": lambda source: os.utime(source / "test.npz"),
    "the metric": lambda source: appended(source / "scores.py", "\n# it\n"),
}


@every_system
def test_it_is_built_again_when_a_pass_has_changed_and_not_without_a_reason(system: str, project: Path) -> None:
    build = SYSTEMS[system](project)
    assert build.rebuilt()
    assert not build.rebuilt()
    EDITS["the source of a pass"](project)
    assert build.rebuilt()


@pytest.mark.builds
@every_system
def test_it_is_built_again_exactly_when_an_input_has_changed(system: str, project: Path) -> None:
    build = SYSTEMS[system](project)
    assert build.rebuilt()
    for what, edit in {**(MORE if "cmake" in system else {}), **EDITS}.items():
        edit(project)
        assert build.rebuilt(), what
    assert not build.rebuilt()


@some_systems
def test_a_run_that_failed_leaves_nothing_that_looks_up_to_date(system: str, project: Path) -> None:
    build = SYSTEMS[system](project)
    assert build.rebuilt()
    sound, kept = (project / "edge.onnx").read_bytes(), build.made.read_bytes()
    (project / "edge.onnx").write_bytes(sound[:50])
    for _ in range(2):
        assert build.run() != 0
        assert "is not an ONNX model" in build.log[-1]
    assert not build.made.exists() or build.made.read_bytes() == kept
    (project / "edge.onnx").write_bytes(sound)
    assert build.rebuilt()
    assert build.made.read_bytes() == kept


@pytest.mark.builds
@every_system
def test_a_missed_goal_fails_the_build_until_it_is_met(system: str, project: Path) -> None:
    build = SYSTEMS[system](project)
    impossible = RECIPE.format("calib").replace('ratio = "50%"', 'macs = "0.1%"')
    (project / "edge.toml").write_text(impossible, encoding="utf-8")
    for _ in range(2):
        assert build.run() != 0
        assert "goal missed: prune: macs=0.1% is out of reach" in build.log[-1]
    (project / "edge.toml").write_text(RECIPE.format("calib"), encoding="utf-8")
    assert build.rebuilt()
    assert not build.rebuilt()


# -- CMake -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["Ninja", pytest.param("Unix Makefiles", marks=pytest.mark.builds)])
def test_the_example_is_built_runs_and_is_linked_again(generator: str, tmp_path: Path, compiler: None) -> None:
    for part in ("examples/cmake", "models"):
        shutil.copytree(ROOT / part, tmp_path / part)
    configure, *steps = commands(texts(PAGE, "sh")[0])
    program = tmp_path / "build/example/digits"
    assert Build(tmp_path, Path(), [[*configure[:-1], generator]], program).run() == 0
    build = Build(tmp_path, Path(), steps, program)
    assert build.rebuilt()
    assert "100% tests passed" in build.log[-1]
    assert not build.rebuilt()
    recipe = tmp_path / "examples/cmake/small.toml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("60%", "50%"), encoding="utf-8")
    assert build.rebuilt()
    assert not build.rebuilt()


PROGRAM = """#include <onnxprune/model.h>
#include <cstdio>
int main() {
  for (const onnxprune::Array& y : onnxprune::Model(edge_LIBRARY)({onnxprune::Array::of<float>({2, 3, 4, 4})})) {
    std::printf("%s\\n", y.text().c_str());
  }
}
"""


@pytest.mark.parametrize(
    ("targets", "linked", "folder"),
    [
        ("host", "edge", "."),
        ("host", "edge::host", "below"),
        pytest.param("rpi4 host", "edge::host", ".", marks=pytest.mark.builds),
        pytest.param("host rpi4", "edge::host", "below", marks=pytest.mark.builds),
    ],
)
def test_a_program_is_linked_with_the_target_and_runs_the_model(
    targets: str, linked: str, folder: str, project: Path, compiler: None
) -> None:
    """In the folder of the target or another one, before anything was built."""
    if "rpi4" in targets:
        try:
            find_linker(load_target("rpi4"))
        except BackendError as error:
            pytest.skip(str(error))
    (project / folder).mkdir(exist_ok=True)
    (project / folder / "app.cc").write_text(PROGRAM, encoding="utf-8")
    app = f"add_executable(app app.cc)\ntarget_link_libraries(app PRIVATE {linked})\n"
    call = f"onnxprune_add_model(NAME edge SOURCE edge.onnx EXCLUDE_FROM_ALL SHAPE x=2,3,4,4 TARGET {targets})\n"
    if folder != ".":
        (project / folder / "CMakeLists.txt").write_text(app, encoding="utf-8")
        app = f"add_subdirectory({folder})\n"
    build = cmake(project, "Unix Makefiles" if folder == "below" else "Ninja", HEAD.replace("NONE", "CXX") + call + app)
    assert build.run() == 0, build.log[-1]
    done = subprocess.run([project / "build" / folder / "app"], capture_output=True, text=True, check=True)
    assert done.stdout == "float32[2, 5]\n"
    shutil.move(project / "build/edge", project / "gone")
    assert subprocess.run([project / "build" / folder / "app"], capture_output=True, check=False).returncode != 0


HEAD = texts(PAGE, "cmake")[0].partition("onnxprune_add_model")[0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("NAME a SOURCE edge.onnx PASES fold", "unknown argument 'PASES;fold'"),
        ("NAME a SOURCE edge.onnx PASSES", "nothing is given for PASSES"),
        ("NAME a PASSES fold", "give NAME, the target, and SOURCE, the ONNX"),
        ("NAME a SOURCE edge.onnx CALIB calib.npz", "there is nothing to do for a; give PASSES"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_project_is_configured(project: Path, call: str, said: str) -> None:
    (project / "CMakeLists.txt").write_text(f"{HEAD}onnxprune_add_model({call})\n", encoding="utf-8")
    build = Build(project, Path(), [["cmake", "-B", "build", "-G", "Ninja"]], project / "none")
    assert build.run() != 0
    assert f"onnxprune_add_model: {said}" in " ".join(build.log[-1].split())


def test_everything_that_can_be_given_reaches_the_command(project: Path) -> None:
    call = """set(inputs nowhere)
    set(options --nonsense)
    onnxprune_add_model(NAME edge EXCLUDE_FROM_ALL SOURCE edge.onnx
        PASSES "round:bits=9" prune:ratio=50%:align=1:keep='Mat.*':heal=none
        TEST test.npz METRIC scores:top1 MAX_DROP 100 SEED 3 SHAPE x=2,3,4,4 TARGET host ARGS --threads=1 --verify-each)
    foreach(key MODEL SPEC REPORT LIBRARY)
      get_target_property(path edge ONNXPRUNE_${key})
      list(APPEND paths ${path})
    endforeach()
    file(WRITE ${CMAKE_BINARY_DIR}/paths "${paths}")
    """
    build = cmake(project, "Ninja", HEAD + call)
    assert not build.rebuilt()  # it is not part of all
    build.steps = [["cmake", "--build", "build", "--target", "edge"]]
    assert build.rebuilt()
    names = ["model.onnx", "prune.json", "report.json", "host/model.so"]
    paths = (project / "build/paths").read_text(encoding="utf-8").split(";")
    assert paths == [str(project / "build/edge" / name) for name in names]
    assert all(Path(path).stat().st_size > 0 for path in paths)
    report = (project / "build/edge/report.json").read_text(encoding="utf-8")
    assert '"seed": 3' in report
    assert '"keep": [' in report
