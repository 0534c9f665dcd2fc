"""A run over many seeds that can be stopped at any time: a rerun of the same code goes on where it stopped.

Every outcome is one line of ``build/fuzz/NAME-VERSION.jsonl``. VERSION is a digest of all sources that decide what
comes of a seed, so that changed code starts anew, and nothing old is taken for a result of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from fuzz.watch import Check, Limits, Outcome, watched

ROOT = Path(__file__).parents[2]
SOURCES = ("onnxprune/**/*.py", "passes/*.py", "tests/*.py", "tests/generator/*.py", "tests/fuzz/*.py", "models/*.onnx")
EVERY = 500  # outcomes between two lines of progress


def version() -> str:
    """A digest of the sources, and of the releases beneath them that matter most."""
    import numpy
    import onnx
    import onnxruntime

    digest = hashlib.sha256(f"{onnx.__version__} {onnxruntime.__version__} {numpy.__version__}".encode())
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Campaign:
    """``count`` seeds from ``first`` on, put to a check; what came of them is kept in ``folder``."""

    name: str
    check: Check
    count: int
    first: int = 0
    folder: Path = ROOT / "build" / "fuzz"
    jobs: int = 2
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def journal(self) -> Path:
        return self.folder / f"{self.name}-{version()}.jsonl"

    def done(self) -> dict[int, Outcome]:
        """What an earlier run wrote down; a line that a kill cut short does not count."""
        found: dict[int, Outcome] = {}
        for line in self.journal.read_text().splitlines() if self.journal.exists() else ():
            try:
                outcome = Outcome(**json.loads(line))
            except ValueError:
                continue
            found[outcome.seed] = outcome
        return {seed: found[seed] for seed in self._seeds() if seed in found}

    def run(self) -> list[Outcome]:
        """All outcomes, by seed; those that are missing are brought about, with lines that tell how it goes."""
        held = self.done()
        todo = [seed for seed in self._seeds() if seed not in held]
        _say(f"{self.name}: {len(held)} of {self.count} done before, in {self.journal}")
        for outcome in self._new(todo):
            held[outcome.seed] = outcome
            if outcome.bad or len(held) % EVERY == 0 or len(held) == self.count:
                _say(self._line(held, outcome))
        return [held[seed] for seed in self._seeds()]

    def _seeds(self) -> range:
        return range(self.first, self.first + self.count)

    def _new(self, todo: list[int]) -> Iterator[Outcome]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", buffering=1) as journal:
            journal.write("\n")  # ends a line that was cut short
            for outcome in watched(self.check, todo, self.jobs, self.limits):
                journal.write(json.dumps(asdict(outcome)) + "\n")
                yield outcome

    def _line(self, held: dict[int, Outcome], last: Outcome) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(o.kind for o in held.values()).items()))
        spent = sum(outcome.seconds for outcome in held.values()) / self.jobs
        tail = f"; seed {last.seed} {last.kind}: {last.note.strip().splitlines()[-1][:150]}" if last.bad else ""
        return f"{time.strftime('%H:%M:%S')} {self.name}: {len(held)} of {self.count}: {kinds}, {spent:.0f} s{tail}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
