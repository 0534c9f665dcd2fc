"""The README does what it says: its blocks are run in the order they stand, in a folder with nothing but models/."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from onnxprune import registry
from onnxprune.cli import main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The command lines of a shell block, comments left out."""
    return [words for line in text.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


def test_the_first_two_commands_are_the_demo_and_the_tests() -> None:
    kind, text = BLOCKS[0]
    assert kind == "sh"
    assert commands(text) == [["make", "demo"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "test"} <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


def test_the_demo_is_the_command_of_the_readme() -> None:
    command = next(
        words for kind, text in BLOCKS if kind == "sh" for words in commands(text) if words[0] == "onnxprune"
    )
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    recipe = re.search(r"^demo:.*\n\t(.*)$", makefile, re.MULTILINE)
    assert recipe is not None
    demo = shlex.split(recipe[1].replace("$(BIN)/", ""))
    assert demo[:-1] == command[:-1]  # but for the folder


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ran = 0
    for kind, text in BLOCKS:
        if kind == "toml" and text.startswith("# "):
            Path(text.split()[1]).write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})
            ran += 1
        elif kind == "sh":
            for words in (words for words in commands(text) if words[0] == "onnxprune"):
                assert main(words[1:]) == 0, capsys.readouterr().err
                ran += 1
    assert ran == 4
    for path in ("model.onnx", "prune.json", "report.json", "host/model.so"):
        assert Path("build", path).stat().st_size > 0
    assert Path("build/edge/model.onnx").exists()
    assert Path("build/python/model.onnx").exists()


def test_the_table_of_passes_has_every_pass() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert tuple(sorted(listed)) == registry.names()


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
