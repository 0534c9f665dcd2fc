"""What is written: all of it or nothing, and never over the input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from oracle import net
from toys import NET, Scale, compress, tree, write_net

from onnxprune import compression, output
from onnxprune.errors import BackendError, UsageError


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("new")


@pytest.mark.parametrize("folder", ["file", "file/out", "/proc/out"])
def test_a_folder_that_cannot_be_written_is_refused_at_once(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        compress("no.onnx", [Scale()], output=tmp_path / folder)
    assert sorted(tree(tmp_path)) == ["file"]


def test_a_folder_that_cannot_be_written_is_the_backends_failure_where_it_was_to_build(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    for call in (
        lambda: compress("no.onnx", [Scale()], output=tmp_path / "out", targets=["host"]),
        lambda: compress(write_net(tmp_path), [], targets=["host"]).save(tmp_path / "out"),
        lambda: compress(write_net(tmp_path), []).build("host", tmp_path / "out"),
    ):
        with pytest.raises(BackendError, match=r"cannot write to '.*out'"):
            call()


@pytest.mark.parametrize("place", ["model.onnx", "host/model.so"])
def test_a_folder_in_the_place_of_a_file_is_refused_at_once(place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(parents=True)
    with pytest.raises(BackendError, match=f"'.*{place}' is a folder"):
        compress("no.onnx", [Scale()], output=tmp_path, targets=["host"])


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    path = write_net(tmp_path).rename(tmp_path / "model.onnx")
    before = tree(tmp_path)
    for call in (lambda: compress(path, [Scale()], output=tmp_path), lambda: compress(path, []).save(tmp_path)):
        with pytest.raises(UsageError, match="is read and would be overwritten"):
            call()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["calib", "test", "recipe"])
def test_no_data_is_ever_overwritten(kind: str, tmp_path: Path) -> None:
    held = tmp_path / "01-scale.onnx"
    held.write_text("schema = 1")
    given: dict[str, Any] = {kind: held}
    with pytest.raises(UsageError, match=r"01-scale.onnx' is read and would be overwritten"):
        compress(net(NET), [Scale()], save_after=tmp_path, **given)
    assert held.read_text() == "schema = 1"


def test_old_files_are_replaced_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    compress(net(NET), [Scale()], output=tmp_path)
    assert sorted(tree(tmp_path)) == ["model.onnx", "notes.txt", "prune.json", "report.json"]
    assert (tmp_path / "model.onnx").read_bytes() != b"old"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_move_that_fails_half_way_is_undone(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.onnx").write_text("old")
    before, replace = tree(tmp_path), os.replace

    def fails(source: Path, target: Path) -> None:
        if Path(target).name == "report.json":
            raise error
        replace(source, target)

    monkeypatch.setattr(output.os, "replace", fails)
    with pytest.raises((UsageError, KeyboardInterrupt)), output.staged(out) as stage:
        write(stage, "model.onnx", "prune.json", "new/deep.txt", "report.json")
    assert tree(tmp_path) == before
    monkeypatch.setattr(output.os, "replace", replace)
    with output.staged(out) as stage:
        write(stage, "model.onnx", "report.json")
    assert tree(out) == {"model.onnx": b"new", "report.json": b"new"}


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compression, "removed", fails)
    with pytest.raises(UsageError, match=r"cannot write to '.*': No space left on device"):
        compress(net(NET), [Scale()], output=tmp_path / "a" / "b")
    assert tree(tmp_path) == {}
