"""Several files replace several others: killed at any step whatever, it is as if all were replaced, or none."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faults.runs import STEPPING, contents
from onnxprune.drafts import PREFIX, draft, sweep
from onnxprune.errors import UsageError
from onnxprune.output import check_folder, staged, write_atomically

OLD = {"model.onnx": b"old", "report.json": b'"old"', "b/kept.txt": b"old", "notes.txt": b"mine", "stale.data": b"old"}
NEW = {
    "model.onnx": b"new",
    "report.json": b'"new"',
    "a/deep/new.so": b"new",
    "b/kept.txt": b"new",
    "prune.json": b"new",
}
WHOLE = {name: data for name, data in {**OLD, **NEW}.items() if name != "stale.data"}
WRITE = f"""
from pathlib import Path
from onnxprune.output import staged
with staged(Path("out"), ["stale.data"]) as stage:
    for name, data in {NEW!r}.items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_bytes(data)
"""
SWEEP = """
from pathlib import Path
from onnxprune.drafts import sweep
sweep(Path("out"))
"""


def fill(folder: Path, files: dict[str, bytes]) -> None:
    """Write files as anybody might."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def seen(folder: Path) -> dict[str, bytes]:
    """All files but drafts, as bytes."""
    paths = [p for p in folder.rglob("*") if p.is_file() and not any(s.startswith(PREFIX) for s in p.parts)]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def killed(code: str, folder: Path, step: int) -> bool:
    """Run code that kills itself before its change number ``step``; whether it came that far."""
    done = subprocess.run([sys.executable, "-c", STEPPING + code, str(step)], cwd=folder, check=False)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


def test_a_kill_at_any_step_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    outcomes = []
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        out = folder / "out"
        fill(out, OLD)
        if not killed(WRITE, folder, step):
            break
        at_once = seen(out)
        assert all(data in (OLD.get(name), NEW.get(name)) for name, data in at_once.items())
        sweep(out)
        assert not list(out.glob(f"{PREFIX}*"))
        assert seen(out) in (OLD, WHOLE)
        assert (out / "a").exists() is (seen(out) == WHOLE)
        outcomes.append((at_once in (OLD, WHOLE), seen(out) == OLD))
    assert seen(out) == WHOLE
    assert not list(out.glob(f"{PREFIX}*"))
    assert {(True, True), (False, True), (True, False)} == set(outcomes)  # the control: some were caught half-way


def test_a_kill_while_the_old_is_put_back_is_made_good_by_the_next(tmp_path: Path) -> None:
    def half_way(folder: Path) -> None:
        for step in itertools.count(1):
            fill(folder / "out", OLD)
            killed(WRITE, folder, step)
            if seen(folder / "out") not in (OLD, WHOLE) and (folder / "out" / "model.onnx").read_bytes() == b"new":
                return
            subprocess.run(["rm", "-r", folder / "out"], check=True)

    first = tmp_path / "first"
    half_way(first)
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        subprocess.run(["cp", "-a", first, folder], check=True)
        if not killed(SWEEP, folder, step):
            break
        sweep(folder / "out")
        assert seen(folder / "out") == OLD
    assert seen(folder / "out") == OLD
    assert step > 3


def test_a_living_run_keeps_its_draft(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        (stage / "a").write_text("new")
        sweep(tmp_path)
        check_folder(tmp_path)
        with staged(tmp_path) as other:  # two runs at once
            (other / "a").write_text("other")
    assert seen(tmp_path) == {"a": b"new"}
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "absent", ['["../mine.txt", "link/mine.txt", "PLACE/mine.txt"]', "[1, null]", '{"a": 1}', "[", None]
)
def test_a_journal_that_somebody_else_packed_does_no_harm(tmp_path: Path, absent: str | None) -> None:
    out = tmp_path / "out"
    journal = out / f"{PREFIX}packed" / "undo"
    (journal / "files" / "link").mkdir(parents=True)
    (journal / "files" / "link" / "mine.txt").write_text("theirs")
    (out / "link").symlink_to(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    if absent is not None:
        (journal / "absent.json").write_text(absent.replace("PLACE", str(tmp_path)))
    sweep(out)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert os.listdir(out) == ["link"]


def test_what_is_no_draft_of_ours_stays(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}file").write_text("x")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path)
    with draft(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path)) == [f"{PREFIX}file", f"{PREFIX}link"]


def test_without_locks_no_draft_is_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{PREFIX}whose").mkdir()

    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("onnxprune.drafts.fcntl.flock", none)
    with staged(tmp_path) as stage:
        (stage / "a").write_text("new")
    assert sorted(os.listdir(tmp_path)) == [f"{PREFIX}whose", "a"]


def test_without_links_the_old_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, OLD)
    replace = os.replace

    def no_link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def fails(source: Path, target: Path) -> None:
        if Path(target).name == "report.json" and "new" in Path(source).parts:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(UsageError, match="Input/output error; name another folder"), staged(tmp_path) as stage:
        fill(stage, NEW)
    assert seen(tmp_path) == OLD
    assert not (tmp_path / "a").exists()


def test_a_single_file_is_the_old_or_the_new_too(tmp_path: Path) -> None:
    code = (
        'from pathlib import Path\nfrom onnxprune.output import write_atomically\nwrite_atomically(Path("f"), b"new")'
    )
    for step in itertools.count(1):
        (tmp_path / "f").write_bytes(b"old")
        if not killed(code, tmp_path, step):
            break
        assert contents(tmp_path)["f"] in (b"old", b"new")
    write_atomically(tmp_path / "f", b"newer")
    assert os.listdir(tmp_path) == ["f"]
