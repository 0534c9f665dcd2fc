"""Places that cannot be written, and places that must not be: refused at once, in one line, with nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from faults.conftest import Disk
from faults.runs import NET, OTHER, Place, contents
from onnxprune.cli import main

Make: TypeAlias = Callable[[Path], object]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path)


def locked(mode: int) -> Make:
    """A folder of that mode, with a result in it."""

    def make(out: Path) -> None:
        out.mkdir()
        (out / "model.onnx").write_bytes(b"old")
        out.chmod(mode)

    return make


def chained(out: Path) -> None:
    """A link to itself."""
    out.symlink_to(out)


FORBIDDEN: dict[str, tuple[Make, str]] = {
    "a folder that is read-only": (locked(0o555), "Permission denied"),
    "a folder that cannot be entered": (locked(0o666), "Permission denied"),
    "a folder of nothing": (locked(0o000), "Permission denied"),
    "a file": (lambda out: out.write_text("mine"), "is no folder, and one of that name is to be written"),
    "a link to nothing": (lambda out: out.symlink_to("nowhere"), "is no folder, and one of that name is to be written"),
    "a link to itself": (chained, "is no folder, and one of that name is to be written"),
    "a file of devices": (
        lambda out: out.symlink_to("/dev/null"),
        "is no folder, and one of that name is to be written",
    ),
}


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_an_output_folder_that_cannot_be_written(kind: str, place: Place, plain: list[str]) -> None:
    """With a target, which then cannot be delivered."""
    make, why = FORBIDDEN[kind]
    make(place.out)
    before = subprocess.run(["ls", "-lAR", place.out], capture_output=True, check=False).stdout
    command = [*plain, sys.executable, "-m", "onnxprune", NET, *OTHER, "--target", "host", "-o", place.out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place.root)
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"onnxprune: error: cannot write to '{place.out}': ")
    assert line.endswith(f"{why}; name another folder")
    assert subprocess.run(["ls", "-lAR", place.out], capture_output=True, check=False).stdout == before
    assert place.left_over() == []


def test_a_folder_above_that_is_read_only(place: Place, plain: list[str]) -> None:
    above = place.root / "work"
    above.chmod(0o555)
    command = [*plain, sys.executable, "-m", "onnxprune", NET, *OTHER, "-o", "deep/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=above)
    assert done.returncode == 2
    assert done.stderr == "onnxprune: error: cannot write to 'deep/out': Permission denied; name another folder\n"
    assert os.listdir(above) == []


def test_a_disk_that_is_read_only(place: Place, disk: Disk) -> None:
    disk(place.out, "ro")
    code, said = place.compress(*OTHER)
    assert (code, said.count("\n")) == (2, 1)
    assert f"cannot write to '{place.out}': Read-only file system; name another folder" in said


def test_a_cache_and_a_working_directory_that_are_read_only(place: Place, plain: list[str]) -> None:
    """Only the output folder is needed."""
    place.out.mkdir()
    for name in ("cache", "work", "tmp"):
        (place.root / name).chmod(0o555)
    env = {**os.environ, "XDG_CACHE_HOME": str(place.root / "cache"), "HOME": str(place.root / "cache")}
    command = [*plain, sys.executable, "-m", "onnxprune", NET, *OTHER, "--target", "host", "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place.root / "work", env=env)
    assert done.returncode == 0, done.stderr
    assert (place.out / "host" / "model.so").exists()
    assert os.listdir(place.root / "cache") == []


def named(out: Path, source: Path) -> None:
    source.rename(out / "model.onnx")


def linked(out: Path, source: Path) -> None:
    (out / "model.onnx").symlink_to(source)


def linked_hard(out: Path, source: Path) -> None:
    (out / "model.onnx").hardlink_to(source)


def linked_back(out: Path, source: Path) -> None:
    named(out, source)
    source.symlink_to(out / "model.onnx")


@pytest.mark.parametrize("how", [named, linked, linked_hard, linked_back])
@pytest.mark.parametrize("option", ["-o", "--report", "--save-after"])
def test_what_is_read_is_not_written(
    option: str, how: Callable[[Path, Path], None], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model, whatever the ways that lead to it."""
    place.out.mkdir()
    source = Path(shutil.copy(NET, place.root / "work" / "net.onnx"))
    how(place.out, source)
    written = place.out / ("01-fold.onnx" if option == "--save-after" else "model.onnx")
    (place.out / "model.onnx").rename(written)
    if how is linked_back:
        source.unlink()
        source.symlink_to(written)
    given = written if how is named else source
    before = contents(place.root)
    words = [str(given), "--passes", "fold", option, str(written if option == "--report" else place.out)]
    assert main([*words, *(() if option == "-o" else ("-o", str(place.root / "elsewhere")))]) == 2
    assert "is read and would be overwritten; write to another place" in capsys.readouterr().err
    assert contents(place.root) == before


def test_a_folder_in_it_on_another_disk(place: Place, disk: Disk) -> None:
    """One rename cannot reach it: what was moved before is moved back."""
    place.compress(*OTHER)
    disk(place.out / "host", "size=1m")
    before = contents(place.root / "work")
    code, said = place.compress("--passes", "fold", "--target", "host")
    assert code == 5
    assert "Invalid cross-device link; name another folder" in said
    assert contents(place.root / "work") == before
    assert place.left_over() == []


def test_a_folder_in_it_that_leads_elsewhere(place: Place) -> None:
    place.out.mkdir()
    (place.out / "host").symlink_to(place.root)
    code, said = place.compress("--passes", "fold", "--target", "host")
    assert code == 5
    assert f"'{place.out}/host' leads to another place; name another folder" in said
    assert os.listdir(place.out) == ["host"]


@pytest.mark.faults
def test_runs_at_once_into_one_folder(place: Place) -> None:
    """The folder holds what one of them made, whole."""
    kinds = [("--passes", f"prune:ratio={share}%:heal=none") for share in (10, 50)]
    wanted = []
    for kind in kinds:
        place.compress(*kind)
        wanted.append(contents(place.out))
    runs = [place.start(NET, *kind, "-o", str(place.out)) for kind in kinds * 2]
    assert [run.wait() for run in runs] == [0] * 4
    for run in runs:
        run.communicate()
    assert contents(place.out) in wanted
    assert place.left_over() == []
