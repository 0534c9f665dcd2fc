"""What the command tells of itself goes to standard output, and needs no model."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from toys import Run

from onnxprune.job import Given

ROOT = Path(__file__).parents[2]


def test_the_version(run: Run) -> None:
    done = run("--version")
    assert done == type(done)(0, f"onnxprune {version('onnxprune')}\n", "")


def test_the_targets(run: Run) -> None:
    done = run("--list-targets")
    assert done.code == 0
    assert any(line.split() == ["rpi4", "aarch64-linux-gnu,", "cortex-a72"] for line in done.out.splitlines())


def test_the_passes(run: Run) -> None:
    done = run("--list-passes")
    assert (done.code, done.err) == (0, "")
    assert {line.split()[0] for line in done.out.splitlines()} >= {"fold", "prune"}


def test_one_pass(run: Run) -> None:
    done = run("--help-pass=scale")
    assert done.code == 0
    assert (
        done.out == "scale: Multiply the kernel by a factor.\n\n  by\n      the factor\n      a number; default: 0.5\n"
    )


def test_the_folder_for_cmake(run: Run) -> None:
    done = run("--cmake-dir")
    assert (done.code, done.err) == (0, "")
    assert (Path(done.out.strip()) / "OnnxPrune.cmake").is_file()


def test_every_file_of_the_package_that_is_no_module_is_package_data() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["onnxprune"]
    shipped = {path for pattern in patterns for path in (ROOT / "onnxprune").glob(pattern)}
    files = {path for path in (ROOT / "onnxprune").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == shipped


def test_help_names_every_option_of_compress_and_every_exit_code(run: Run) -> None:
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    names = {"recipe", "output", *Given.__annotations__} - {"progress", "cache"}
    for name in names:
        option = "--" + name.removesuffix("s").replace("_", "-") if name in ("targets", "shapes") else name
        assert "--" + option.removeprefix("--").replace("_", "-") in done.out, name
    for code in (0, 1, 2, 3, 4, 5, 70, 130):
        assert f"\n  {code:<4} " in done.out
    assert "onnxprune models/digits_resnet.onnx --passes fold,prune:macs=50% \\\n" in done.out
    assert "%%" not in done.out


@pytest.mark.parametrize("word", ["--help", "--version", "--cmake-dir"])
def test_telling_of_itself_costs_no_import(word: str) -> None:
    code = (
        f"import sys; from onnxprune.cli import main\ntry: main(['{word}'])\nexcept SystemExit: pass\n"
        "assert not {'onnx', 'numpy', 'rich', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
