"""The counts of every corpus, at the end of the run."""

from __future__ import annotations

from typing import Any

import pytest

from corpora.journey import Tally

TALLIES = pytest.StashKey[list[Tally]]()


@pytest.fixture
def tallies(pytestconfig: pytest.Config) -> list[Tally]:
    """What is put here is printed."""
    return pytestconfig.stash.setdefault(TALLIES, [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line a corpus."""
    if found := config.stash.get(TALLIES, []):
        terminalreporter.section("corpora")
        for tally in found:
            terminalreporter.write_line(str(tally))
