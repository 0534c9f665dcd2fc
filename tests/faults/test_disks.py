"""Disks that are full: one clear line, exit code 2, nothing left and nothing damaged; a cache is not worth an error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.conftest import Disk, Told
from faults.runs import NET, OTHER, WORDS, Place, contents

FULL = "No space left on device; make room, or"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path)


def fill(folder: Path) -> None:
    """Leave no room at all."""
    with (folder / "ballast").open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while stream.write(b"x" * size):
                    pass
            except OSError:
                continue


@pytest.mark.parametrize("room", [4, 60, 130])
def test_no_room_for_the_result(place: Place, disk: Disk, room: int) -> None:
    """For the draft of the folder, the model, and the report beside an old result."""
    disk(place.out, f"size={room}k")
    (place.out / "model.onnx").write_bytes(b"old")
    code, said = place.compress(*OTHER)
    assert (code, contents(place.out), place.left_over()) == (2, {"model.onnx": b"old"}, [])
    assert said.splitlines()[-1] == f"onnxprune: error: cannot write to '{place.out}': {FULL} name another folder"
    assert "Traceback" not in said


@pytest.mark.faults
def test_no_room_for_a_library(place: Place, disk: Disk, told: Told) -> None:
    """Whatever it is that does not fit: disks of every size until one is large enough."""
    place.run(NET, *WORDS, "-o", "saved")
    saved, failed = contents(place.root / "work" / "saved"), 0
    for room in (round(8 * 1.15**step) for step in range(60)):
        out = place.root / "work" / str(room)
        disk(out, f"size={room}k,nr_inodes={9 + room // 8}")
        try:
            shutil.copytree(place.root / "work" / "saved", out, dirs_exist_ok=True)
        except OSError:
            continue
        code, said = place.run(NET, *WORDS, "--target", "host", "-o", str(out))
        if code == 0:
            break
        assert (code, contents(out), place.left_over()) == (5, saved, []), (room, said)
        assert said.splitlines()[-1] == f"onnxprune: error: cannot write to '{out}': {FULL} name another folder"
        failed += 1
    told(f"{failed} disks were too small, {room} kB were enough")
    assert code == 0
    assert failed > 5


def test_a_full_cache_is_no_error(place: Place, disk: Disk) -> None:
    cache = place.root / "cache"
    disk(cache, "size=64k")
    fill(cache)
    code, said = place.compress(*WORDS)
    assert code == 0, said
    assert [p.name for p in cache.rglob("*") if "onnxprune" in p.name and p.is_file()] == []
    assert place.left_over() == []


@pytest.mark.faults
@pytest.mark.parametrize("options", ["size=64k", "size=64k,ro"])
def test_a_full_folder_for_temporary_files_is_not_needed(place: Place, disk: Disk, options: str) -> None:
    disk(place.root / "tmp", options)
    if "ro" not in options:
        fill(place.root / "tmp")
    code, said = place.compress(*OTHER, "--target", "host")
    assert code == 0, said
    assert (place.out / "host" / "model.so").exists()
    assert place.left_over() == []


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(place: Place) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    code = f"{limit}; from onnxprune.cli import main; sys.exit(main())"
    process = place.start(NET, "--passes", "fold", "-o", str(place.out), code=("-c", code))
    _, said = process.communicate()
    assert process.returncode == 2
    assert f"cannot write to '{place.out}': File too large; make room, or name another folder" in said
    assert not place.out.exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_data_that_cannot_be_written_to_standard_output(place: Place, unbuffered: str) -> None:
    full = "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    code = f"{full}; from onnxprune.cli import main; sys.exit(main())"
    process = place.start("--list-passes", code=("-c", code), PYTHONUNBUFFERED=unbuffered)
    _, said = process.communicate()
    assert process.returncode == 2
    assert said == ("onnxprune: error: cannot write to standard output: No space left on device; send it elsewhere\n")
