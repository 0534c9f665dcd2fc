"""``kill -9`` at any moment of a real run: the old result or the new, and a rerun as if nothing had been."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from faults.conftest import Told
from faults.runs import NET, OTHER, STEPPING, WORDS, Place, contents
from onnxprune.drafts import sweep

MAIN = f"{STEPPING}\nfrom onnxprune.cli import main\nsys.exit(main())\n"


class Victim:
    """A place that holds a result, and the results that undisturbed runs give there."""

    def __init__(self, root: Path, *target: str) -> None:
        self.place = Place.made(root)
        self.words = (NET, *WORDS, *target, "-o", str(self.place.out))
        self.other = (NET, *OTHER, *target, "-o", str(self.place.out))
        start = time.monotonic()
        self.new = self.undisturbed(self.words)
        self.seconds = time.monotonic() - start
        self.old = self.undisturbed(self.other)
        shutil.copytree(self.place.out, root / "saved")
        assert self.old["model.onnx"] != self.new["model.onnx"]

    def undisturbed(self, words: tuple[str, ...]) -> dict[str, Any]:
        """What the folder holds after a run."""
        code, said = self.place.run(*words)
        assert code == 0, said
        return contents(self.place.out)

    def killed(self, *, step: int = 0, after: float | None = None) -> str:
        """Kill a run at a step or after a time; whether the old or the new is there then, once it is looked after."""
        self.forget()
        process = self.place.start(str(step), *self.words, code=("-c", MAIN))
        if after is not None:
            time.sleep(after)
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
        at_once = contents(self.place.out)
        assert all(data in (self.old.get(name), self.new.get(name)) for name, data in at_once.items())
        sweep(self.place.out)
        after_all = contents(self.place.out)
        assert after_all in (self.old, self.new)
        if process.returncode == 0:
            return "finished"
        return ("old" if after_all == self.old else "new") + ("" if at_once == after_all else ", put back")

    def rerun(self) -> None:
        """The same command again gives what it gives undisturbed, and clears up."""
        assert self.undisturbed(self.words) == self.new
        assert self.place.left_over() == []

    def put_back(self) -> None:
        """The old result, from a copy."""
        shutil.rmtree(self.place.out)
        shutil.copytree(self.place.root / "saved", self.place.out)

    def steps(self) -> int:
        """How many changes a whole run makes to the file system."""
        self.forget()
        said, _ = self.place.start("0", *self.words, code=("-c", MAIN)).communicate()
        self.put_back()
        return int(said.rpartition("changes: ")[2])

    def forget(self) -> None:
        """Empty the cache."""
        shutil.rmtree(self.place.root / "cache" / "onnxprune", ignore_errors=True)


def test_a_run_that_is_killed_while_it_publishes(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    last, outcomes = victim.steps(), []
    for back in (0, 10, 14, 30):  # the draft goes; a file has been moved; the journal is written; the draft is made
        outcomes.append(victim.killed(step=last - back))
        victim.put_back()
    assert set(outcomes) == {"new", "old, put back", "old"}
    victim.rerun()


def test_a_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """Counted in layers: those that were refitted before the kill are not refitted again."""
    place, words = Place.made(tmp_path), (NET, *WORDS, "-v", "-o", "out")
    process = place.start(*words)
    assert process.stderr is not None
    before = list(islice(refitted(process.stderr), 3))
    os.killpg(process.pid, signal.SIGKILL)
    before += refitted(process.communicate()[1].splitlines())
    after = list(refitted(place.run(*words)[1].splitlines()))
    shutil.rmtree(tmp_path / "cache")
    whole = list(refitted(place.run(*words)[1].splitlines()))
    assert before == whole[: len(before)]
    assert after == whole[-len(after) :]
    assert len(before) + len(after) - len(whole) in (0, 1)  # one may have been said, and not kept yet


def refitted(lines: Iterable[str]) -> Iterator[str]:
    """What the log says of layers that are refitted."""
    return (line.strip() for line in lines if line.startswith("INFO onnxprune.healing: "))


@pytest.mark.faults
def test_fifty_kills(tmp_path: Path, told: Told) -> None:
    victim, rng = Victim(tmp_path, "--target", "host"), random.Random(9)
    last, outcomes = victim.steps(), Counter[str]()
    for number in range(50):
        if number % 2:
            outcome = victim.killed(after=rng.uniform(0, victim.seconds))
        else:
            outcome = victim.killed(step=rng.randint(1, last))
        outcomes[outcome] += 1
        victim.rerun()
        victim.put_back()
    told(f"{last} changes to the file system in {victim.seconds:.1f} s; {dict(outcomes)}")
    assert outcomes["old"] >= 25
