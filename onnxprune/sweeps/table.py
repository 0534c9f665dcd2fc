"""The sweep for a person, as a table: the original, then every point."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxprune.sweeps.sweep import Point, Sweep
from onnxprune.table import columns, data_notes, size

__all__ = ["render"]

MARK, MISSED = "•", "✗"


def render(sweep: Sweep, console: Console, *, verbose: bool = False) -> None:
    """Print the table, what its marks mean, and what to do next; with every missed goal if ``verbose``."""
    lines: tuple[Table | Text, ...] = (*data_notes(sweep.points[0].report), _table(sweep), *_notes(sweep, verbose))
    for line in lines:
        console.print()
        console.print(Padding(line, (0, 1), expand=False))


def _table(sweep: Sweep) -> Table:
    first, before, latency = sweep.points[0].accuracy, sweep.input.stats, sweep.points[0].report.latency
    table = columns(sweep.option, "MACs", "weights", "latency", first.metric.rpartition(":")[2], "points", "SQNR")
    time = f"{latency.before_ms:.3f} ms" if latency is not None else ""
    costs = f"{before.macs:,}", size(before.bytes), time
    table.add_row("original", *costs, f"{first.before:.4f}", "", "", end_section=True)
    for column in table.columns:
        column.no_wrap = True
    for point in sweep.points:
        style = "bold" if point is sweep.best else "dim" if point.report.missed else None
        table.add_row(*_row(point, before.macs), style=style)
    return table


def _row(point: Point, macs: int) -> Iterator[str]:
    stats, latency, fidelity = point.stats, point.report.latency, point.report.fidelity
    spent = {"macs": f"{stats.macs / macs:.1%}" if macs else "0", "bytes": size(stats.bytes), "latency": ""}
    if latency is not None:
        spent["latency"] = f"{latency.after_ms:.3f} ms"
    yield f"{point.value} {MISSED}" if point.report.missed else point.value
    yield from (f"{MARK} {text}" if point.on_front.get(cost) else text for cost, text in spent.items())
    yield f"{point.accuracy.after:.4f}"
    yield f"{0.0 - point.accuracy.drop:+.2f}"
    sqnr = fidelity.sqnr_db if fidelity is not None else None
    yield f"{sqnr:.1f} dB" if sqnr is not None else "equal"


def _notes(sweep: Sweep, verbose: bool) -> Iterator[Text]:
    count = f"{sweep.points[0].accuracy.n:,} samples"
    yield Text(f"{MARK} unbeaten: no other point, nor the original, is as good at less of this cost ({count}).", "dim")
    goals = [f"{sweep.option}={point.value}: {goal}" for point in sweep.points for goal in point.report.missed]
    if goals:
        yield Text("\n".join(goals) if verbose else f"{MISSED} a goal is missed (-v tells which)", "dim")
    if sweep.missed:
        yield Text(f"No point reaches its goals; the last: {goals[-1]}", "bold red")
    if sweep.best is not None:
        passes = shlex.quote(sweep.best.passes)
        yield Text(f"Fewest MACs with max_drop={sweep.max_drop:g}: --passes {passes}", "bold")
