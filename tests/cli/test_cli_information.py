"""What the command tells of itself goes to standard output, and needs no model."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from toys import Run

from onnxprune.job import Given


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


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_telling_of_itself_costs_no_import(word: str) -> None:
    code = (
        f"import sys; from onnxprune.cli import main\ntry: main(['{word}'])\nexcept SystemExit: pass\n"
        "assert not {'onnx', 'numpy', 'rich', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
