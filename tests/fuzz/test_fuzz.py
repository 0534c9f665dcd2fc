"""The fuzzers, 20 000 seeds each, 1 000 of what is compiled: ``make fuzz``, which may be stopped and started again."""

from __future__ import annotations

import os

import pytest

from fuzz import compiled, files, graphs
from fuzz.campaign import Campaign
from fuzz.watch import GIB, Limits, Outcome

COUNT = int(os.environ.get("FUZZ_COUNT", "20000"))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
COMPILED = 20  # graphs of which one is compiled
SHOWN = 3  # failures that are run again and shrunk

pytestmark = pytest.mark.fuzz


def described(name: str, outcomes: list[Outcome]) -> str:
    """Every failure in a line, the first few of them shrunk, with the command that runs them again."""
    bad = [o for o in outcomes if o.bad and not (o.kind == "crashed" and _is_onnxruntime(name, o.seed))]
    lines = [f"{o.kind}: PYTHONPATH=tests .venv/bin/python -m fuzz {name} {o.seed}" for o in bad]
    failed = [o.seed for o in bad if o.kind == "failed"]
    module = {"graphs": graphs, "files": files, "compiled": compiled}[name]
    return "\n".join([*lines, *(module.report(seed) for seed in failed[:SHOWN])])


def _is_onnxruntime(name: str, seed: int) -> bool:
    return name == "graphs" and graphs.crashes_untouched(seed)


def test_random_graphs_come_through_every_stage_of_the_oracle() -> None:
    outcomes = Campaign("graphs", graphs.check, COUNT, FIRST, limits=Limits(120, 6 * GIB)).run()
    assert len(outcomes) == COUNT
    assert sum(outcome.kind == "cut" for outcome in outcomes) >= 0.4 * COUNT
    found = described("graphs", outcomes)
    assert not found, found


def test_damaged_files_end_in_a_result_or_a_clean_refusal() -> None:
    outcomes = Campaign("files", files.check, COUNT, FIRST, limits=Limits(120, 4 * GIB)).run()
    assert len(outcomes) == COUNT
    assert sum(outcome.kind in ("used", "exit code 0", "exit code 1") for outcome in outcomes) >= 0.1 * COUNT
    found = described("files", outcomes)
    assert not found, found


def test_random_graphs_are_compiled_to_what_onnxruntime_computes() -> None:
    count = COUNT // COMPILED
    outcomes = Campaign("compiled", compiled.check, count, FIRST, limits=Limits(300, 6 * GIB)).run()
    assert sum(outcome.kind == "compiled" for outcome in outcomes) >= 0.8 * count
    found = described("compiled", outcomes)
    assert not found, found
