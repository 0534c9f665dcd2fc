"""The node cases by operator, and what was looked at, at the end of the run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from corpora.cases import Case, node_cases

from .forms import alone, kind
from .more import more_cases

COUNTS = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def cases() -> Mapping[str, list[Case]]:
    """Those of onnx, and ours."""
    found: defaultdict[str, list[Case]] = defaultdict(list)
    for case in (*node_cases(), *more_cases()):
        if alone(case):
            found[kind(case.model)].append(case)
    return found


@pytest.fixture(scope="session")
def counts(pytestconfig: pytest.Config) -> Counter[str]:
    """What is counted here is printed."""
    return pytestconfig.stash.setdefault(COUNTS, Counter())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line."""
    if found := config.stash.get(COUNTS, Counter()):
        terminalreporter.section("operators")
        terminalreporter.write_line(", ".join(f"{count} {what}" for what, count in found.items()))
