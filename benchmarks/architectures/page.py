"""The page of docs that says what came out, written from the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.architectures.check import STATUSES
from benchmarks.architectures.listed import SETTINGS
from onnxprune.axes.reasons import KINDS

__all__ = ["page"]

HEAD = """\
# Architectures

Networks of torchvision and timm, with random weights, written by both exporters of PyTorch at several opsets, and real
ones: each is pruned with `prune:ratio=50%:align=1:heal=none`, with and without `fold` before it, run in onnxruntime as
it is and optimised, and held against the original in which the removed channels are silenced. This page is written by
`make coverage` ([benchmarks/coverage.py](../benchmarks/coverage.py)); none of its figures is typed by hand. The
structures of the graphs lie in [tests/architectures](../tests/architectures), and are checked by the tests.
"""
VERDICTS = """
## Verdicts

*Equal* is what computes the same as the silenced original, max|Δ| ≤ 10⁻⁵ max|y|, and something else than the original.
*Whole* is a network of which nothing could go, *refused* one that is not read, both with a reason; *blind* is a
comparison that proves nothing, *failed* is wrong.
"""
REMOVED = """
## Parameters removed

By onnxprune, with `fold`, the least over all graphs of a network; *approximate* is the same with `approximate=yes`,
which cuts through LayerNormalization and its like, and is no longer equal. Torch-Pruning prunes the PyTorch module, all
but the layers that make the outputs; – is where it raises or takes over four minutes. onnxsim prunes the graphs: the
most of those that run afterwards, and how many these are.
"""
REASONS = """
## What stays, and why

The reasons given for layers that keep their channels, by the parameters of these layers over all graphs.
"""
UNWRITTEN = """
## Not exported

What PyTorch itself does not write, by its own words; these graphs of the list are missing above.
"""
MOST = 15  # reasons

Checked = Sequence[tuple[str, str, Mapping[str, Any]]]


def page(checked: Checked, rows: Sequence[Mapping[str, Any]], unwritten: Mapping[str, str]) -> str:
    """Markdown: how many graphs of each setting are right, what was removed of every network, and why no more."""
    parts = [HEAD, VERDICTS, _verdicts(checked), _others(checked), REMOVED, _removed(rows), REASONS, _reasons(checked)]
    if unwritten:
        parts += [UNWRITTEN, "\n".join([*(f"- `{name}`: {why}" for name, why in unwritten.items()), ""])]
    return "\n".join(filter(None, parts))


def _verdicts(checked: Checked) -> str:
    counts = Counter((setting, found.get("status")) for _, setting, found in checked)
    settings = [*map(str, SETTINGS), "as it is"]
    lines = [[name, *(counts[name, status] for status in STATUSES)] for name in settings]
    total = ["**all**", *(sum(counts[name, status] for name in settings) for status in STATUSES)]
    return _table(["setting", *STATUSES], [*lines, total])


def _others(checked: Checked) -> str:
    """Every graph that is not equal, with the reason."""
    lines = [
        f"- `{network}`, {setting}: {found['status']}: {found['why']}"
        for network, setting, found in checked
        if found and found["status"] != "equal"
    ]
    return "\n".join([*lines, ""]) if lines else ""


def _removed(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        [
            f"`{row['network']}`",
            f"{row['equal']} of {row['graphs']}",
            *(_share(row[name]) for name in ("removed", "approximate", "MACs left", "Torch-Pruning", "onnxsim")),
            row["onnxsim runs"],
        ]
        for row in sorted(rows, key=lambda row: str(row["network"]))
    ]
    head = ["network", "equal", "onnxprune", "approximate", "MACs left", "Torch-Pruning", "onnxsim", "of which run"]
    return _table(head, lines)


def _reasons(checked: Checked) -> str:
    held, where = Counter[tuple[str, str]](), dict[tuple[str, str], set[str]]()
    for network, _, found in checked:
        for layer in found.get("skipped", ()):
            reason = layer["kind"], layer["operator"]
            held[reason] += layer["parameters"]
            where.setdefault(reason, set()).add(network)
    lines = [
        [f"`{kind}`: {KINDS.get(kind, kind)}", operator, f"{size / 1e6:.1f} M", len(where[kind, operator])]
        for (kind, operator), size in held.most_common(MOST)
    ]
    return _table(["reason", "by", "parameters", "networks"], lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    rows = [head, ["---", *("---:" for _ in head[1:])], *lines]
    return "\n".join(["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"
