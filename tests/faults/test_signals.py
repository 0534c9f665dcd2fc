"""Ctrl-C and SIGTERM at any moment: the exit code of the signal, nothing left, and no traceback."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from faults.conftest import Told
from faults.runs import NET, OTHER, WORDS, Place, contents, handles_signals

LAST = {signal.SIGINT: "onnxprune: interrupted", signal.SIGTERM: "onnxprune: terminated"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """With a result of other options in it."""
    place = Place.made(tmp_path)
    assert place.compress(*OTHER)[0] == 0
    return place


def disturbed(place: Place, after: float, number: signal.Signals, target: bool = True) -> tuple[int, str, float]:
    """Send a run a signal, to the whole group as a terminal does: exit code, standard error, how long it went on."""
    words = ("--target", "host") if target else ()
    process = place.start(NET, *WORDS, *words, "-o", str(place.out))
    if handles_signals(process):
        time.sleep(after)
    start = time.monotonic()
    if process.poll() is None:
        os.killpg(process.pid, number)
    _, said = process.communicate(timeout=100)
    return process.returncode, said, time.monotonic() - start


def check(place: Place, before: dict[str, object], number: signal.Signals, code: int, said: str) -> None:
    """All is as it was."""
    assert code == 128 + number, said
    assert said.splitlines()[-1] == LAST[number]
    assert "Traceback" not in said
    assert "ignored" not in said
    assert contents(place.out) == before
    assert place.left_over() == []
    assert [p.name for p in (place.root / "tmp").iterdir() if p.name != ".ses"] == []  # which is onnxruntime's


@pytest.mark.parametrize("number", LAST)
def test_a_run_that_is_stopped(place: Place, number: signal.Signals) -> None:
    before = contents(place.out)
    code, said, _ = disturbed(place, 0.3, number, target=False)
    check(place, before, number, code, said)


@pytest.mark.parametrize("number", LAST)
def test_a_signal_while_code_is_made(place: Place, number: signal.Signals) -> None:
    """As dataclasses do while modules are imported."""
    made = f"exec('import os, time; os.kill(os.getpid(), {number:d}); time.sleep(9)')"
    (place.root / "work" / "made.py").write_text(
        f"import sys\nfrom onnxprune import cli\ncli._inform = lambda _: {made}\nsys.exit(cli.command())\n"
    )
    process = place.start("--version", code=("-m", "made"))
    assert process.communicate() == ("", f"{LAST[number]}\n")
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", LAST)
def test_a_signal_when_all_is_done(place: Place, number: signal.Signals) -> None:
    made = f"import atexit, os, sys; atexit.register(os.kill, os.getpid(), {number:d})"
    process = place.start("--version", code=("-c", f"{made}; from onnxprune.cli import command; sys.exit(command())"))
    said, complained = process.communicate()
    assert (process.returncode, said.split()[0], complained) == (0, "onnxprune", "")


@pytest.mark.faults
def test_thirty_signals(place: Place, told: Told) -> None:
    """Through passes, the build by TVM, and the linker."""
    rng, before, outcomes, slowest = random.Random(5), contents(place.out), Counter[str](), 0.0
    start = time.monotonic()
    place.run(NET, *WORDS, "--target", "host", "-o", "elsewhere")
    seconds = time.monotonic() - start
    for _ in range(30):
        number = rng.choice(list(LAST))
        if rng.random() < 0.5:
            shutil.rmtree(place.root / "cache" / "onnxprune", ignore_errors=True)
        code, said, waited = disturbed(place, rng.uniform(0, 0.8 * seconds), number)
        outcomes["in time" if code else "too late"] += 1
        slowest = max(slowest, waited)
        if code:
            check(place, before, number, code, said)
        else:
            assert (place.out / "host" / "model.so").exists()
            assert place.compress(*OTHER)[0] == 0
            shutil.rmtree(place.out / "host")
    told(f"{dict(outcomes)}; the slowest took {slowest:.1f} s to go")
    assert outcomes["in time"] >= 15
