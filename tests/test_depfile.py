"""The depfile names all that was read, in words that Make and Ninja understand, and is written with the model only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from oracle import net
from toys import NET, labelled, samples

from onnxprune.cli import main
from onnxprune.depfile import rule
from onnxprune.errors import UsageError
from onnxprune.model import Model

NAMES = ["plain", "a b", "a$b", "a$$b", "a#b", "a:b", "a\\b", "a\\ b", "ü é", "a%b", "a'b", "lr=1", "net (1).onnx"]
BIN = Path(sys.executable).parent


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with all there is to read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    proto = net(NET).proto()
    onnx.save_model(proto, "in/net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    np.savez("in/calib.npz", **samples())
    np.savez("test.npz", **labelled(Model.load(Path("in/net.onnx"))))
    Path("in/recipe.toml").write_text('schema = 1\ncalib = "calib.npz"\n[[pass]]\nuse = "fold"\n', encoding="utf-8")
    Path("depfile_scores.py").write_text("def top1(outputs, labels):\n    return 1.0\n", encoding="utf-8")
    return tmp_path


def read(path: str) -> tuple[str, list[str]]:
    """The target and what it depends on."""
    first = Path(path).read_text(encoding="utf-8").replace(" \\\n", "").partition("\n")[0]
    target, _, files = first.partition(":")
    return target, files.split()


def test_everything_that_is_read_is_named(work: Path) -> None:
    words = ["in/net.onnx", "--recipe=in/recipe.toml", "--test=test.npz", "--metric=depfile_scores:top1", "--quiet"]
    assert main([*words, "-o", "out/", "--depfile=out/made/rule.d"]) == 0
    target, files = read("out/made/rule.d")
    assert target == "out/model.onnx"
    data = [file for file in files if not file.endswith(".py")]
    assert data == ["in/net.onnx", "in/net.data", "in/recipe.toml", "in/calib.npz", "test.npz"]
    code = {Path(file).name for file in files if file.endswith(".py")}
    assert {"depfile_scores.py", "fold.py", "cli.py"} <= code
    assert not any("site-packages/onnx/" in file for file in files)
    assert all(Path(file).exists() for file in files)


def test_the_files_of_a_folder_and_their_labels_are_named(work: Path) -> None:
    Path("feeds").mkdir()
    for number, sample in enumerate(samples(2)["x"]):
        np.save(f"feeds/{number}.npy", sample)
    Path("labels.csv").write_text("0,1\n1,0\n", encoding="utf-8")
    words = ["--passes=fold", "--test=feeds", "--labels=labels.csv", "-q", "-o", "out", "--depfile=rule.d"]
    assert main(["in/net.onnx", *words]) == 0
    data = [file for file in read("rule.d")[1] if not file.endswith(".py")]
    assert data == ["in/net.onnx", "in/net.data", "feeds", "feeds/0.npy", "feeds/1.npy", "labels.csv"]


def test_the_tables_of_targets_are_read_where_there_is_a_target(work: Path) -> None:
    assert main(["in/net.onnx", "--target=host", "-q", "-o", "out", "--depfile=rule.d"]) == 0
    for name in ("targets.toml", "deployed/run_model.cc", "deployed/include/onnxprune/model.h"):
        assert any(file.endswith(f"/backends/{name}") for file in read("rule.d")[1]), name


def test_a_folder_stands_with_all_that_is_in_it() -> None:
    from onnxprune.depfile import _files

    found = _files(Path(__file__).parent / "plugin")
    names = [str(path.relative_to(Path(__file__).parent)) for path in found if "__pycache__" not in path.parts]
    assert names[0] == "plugin"
    assert {"plugin/onnxprune_example", "plugin/onnxprune_example/round.py"} <= set(names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dry-run", "--depfile=rule.d"], "a depfile tells what a file is made of, and none is written; give -o DIR"),
        (["-o", "out", "--depfile=in/net.onnx"], "'in/net.onnx' is read and would be overwritten"),
        (["-o", "out", "--depfile=in"], "'in' is a folder, and a file of that name is to be written"),
        (["-o", "a;b", "--depfile=rule.d"], "'a;b/model.onnx' has characters that no depfile can hold; rename it"),
    ],
)
def test_a_depfile_that_cannot_be_written_stops_the_run(
    work: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file() and "cache" not in path.parts}
    assert main(["in/net.onnx", "--passes=fold", *words]) == 2
    assert said in capsys.readouterr().err
    after = {path: path.read_bytes() for path in work.rglob("*") if path.is_file() and "cache" not in path.parts}
    assert after == before


def test_a_run_that_fails_writes_none(work: Path) -> None:
    Path("in/net.onnx").write_bytes(b"nothing")
    assert main(["in/net.onnx", "--passes=fold", "-o", "out", "--depfile=rule.d", "-q"]) == 3
    assert not Path("rule.d").exists()


def test_make_and_ninja_read_the_names(tmp_path: Path) -> None:
    """For each of them a rule of its own; nothing is made again, and all is when the files are touched."""
    edges = []
    for number, name in enumerate(NAMES):
        (tmp_path / name).touch()
        for tool in ("make", "ninja"):
            target = Path(f"{tool}{number}")
            (tmp_path / f"{target}.d").write_text(rule(target, [Path("plain"), Path(name)]), encoding="utf-8")
        edges.append(f"build ninja{number}: touch\n  depfile = ninja{number}.d\n")
    ninja = "rule touch\n  command = touch $out\n" + "".join(edges)
    make = f"all: {' '.join(f'make{n}' for n in range(len(NAMES)))}\nmake%:\n\ttouch $@\n-include $(wildcard make*.d)\n"
    (tmp_path / "build.ninja").write_text(ninja, encoding="utf-8")
    (tmp_path / "Makefile").write_text(make, encoding="utf-8")
    assert [made(tmp_path, tool) for tool in ("make", "ninja")] == [len(NAMES)] * 2
    assert [made(tmp_path, tool) for tool in ("make", "ninja")] == [0, 0]
    for name in NAMES[1:]:
        later = (tmp_path / "ninja0").stat().st_mtime + 1
        os.utime(tmp_path / name, (later, later))
    assert [made(tmp_path, tool, dry=True) for tool in ("make", "ninja")] == [len(NAMES) - 1] * 2
    for name in NAMES[1:]:
        (tmp_path / name).unlink()
    assert made(tmp_path, "make") == len(NAMES) - 3  # all but "plain", "a%b" and "lr=1"


def made(folder: Path, tool: str, dry: bool = False) -> int:
    """How many files the tool makes."""
    command = [*(["make", "-k"] if tool == "make" else [str(BIN / "ninja"), "-v"]), *(["-n"] if dry else [])]
    env = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stdout.count("touch ")


@pytest.mark.parametrize("name", ["a;b", "a|b", "a\nb", "a\tb", "a\\#b", "a\\:b", "ends ", "ends:"])
def test_a_name_that_no_depfile_can_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="has characters that no depfile can hold"):
        rule(Path("out"), [Path("plain"), Path(name)])
