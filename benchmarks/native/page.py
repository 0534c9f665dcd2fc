"""The page of docs that says how fast compiled code is, written from the rows of the benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.machine import machine, versions

__all__ = ["write"]

Row: TypeAlias = Mapping[str, Any]

HEAD = """\
# How fast compiled code is

`--target host` beside onnxruntime on the same file. Each runtime has a process of its own, they run in turns, and the
figures are medians: *ratio* is onnxruntime's time over ours, ± the distance between quartiles over the rounds; *error*
is max|Δ| / max|y|. *Odd* is the same network with half of its multiply-accumulates, cut by `prune:macs=50%:align=1` to
whatever channel counts come out, *aligned* cut to multiples of a vector's width. *Memory* is what a run takes above the
process's own, over weights and planned activations; *compile* is in seconds. This page is written by
[benchmarks/codegen.py](../benchmarks/codegen.py); none of its figures is typed by hand.
"""
COLUMNS = ("network", "M MACs", "ours, ms", "onnxruntime, ms", "ratio", "error", "memory", "compile, s")


def write(path: Path, rows: Sequence[Row]) -> None:
    """The page: a table for each form and number of threads."""
    parts = [HEAD, _where()]
    for form, threads in dict.fromkeys((row["form"], row["threads"]) for row in rows):
        own = [row for row in rows if (row["form"], row["threads"]) == (form, threads)]
        parts += [f"## {form.capitalize()}, {threads} thread{'s' if threads > 1 else ''}\n", "\n".join(_table(own)), ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")


def _where() -> str:
    here, with_ = machine(), versions()
    packages = ", ".join(f"{name} {with_[name]}" for name in ("onnxruntime", "apache-tvm", "onnxprune"))
    return f"{here['cpu']}, {here['usable_cores']} cores, {here['system']}; {packages}, git {with_['git']}.\n"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    for row in rows:
        yield f"| {' | '.join(_cells(row))} |"


def _cells(row: Row) -> list[str]:
    if row.get("remarks"):
        return [str(row["network"]), str(row["remarks"]).replace("|", "\\|"), *[""] * (len(COLUMNS) - 2)]
    spread = f" ± {row['ratio ±']:.2g}" if row.get("ratio ±") is not None else ""
    return [
        str(row["network"]),
        _number(row, "M MACs", ",.1f"),
        _number(row, "ours ms", ".4g"),
        _number(row, "onnxruntime ms", ".4g"),
        _number(row, "ratio", ".2f") + spread,
        _number(row, "error", ".1e"),
        _number(row, "over planned", ".2f"),
        _number(row, "compile s", ".1f"),
    ]


def _number(row: Row, name: str, form: str) -> str:
    value = row.get(name)
    return "" if value is None else format(value, form)
