"""The page of docs that says what 8 bits cost and bring, written from the rows of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.machine import machine, versions
from benchmarks.memory import draw
from benchmarks.quantized.summary import ALL

__all__ = ["write"]

Row: TypeAlias = Mapping[str, Any]
Cell: TypeAlias = Callable[[Row], str]

HEAD = """\
# Eight bits, beside the peers

Trained networks quantized from the same unlabelled samples, measured on test data that nothing was fitted to.
*onnxprune* is `fold,quantize` as it comes, *plain* with `repair=none:round=nearest`; *onnxruntime* is
`quantize_static` after `quant_pre_process` (QDQ, u8 activations, s8 weights); *nncf* is `nncf.quantize`; *onnxsim* is
`quantize_static` of the whole graph. *Rescaled* is the same function with every channel multiplied by e^U(−a, a), and
what reads it by the inverse. A way that fails has a dash, and its message stands at the end. This page is written by
[benchmarks/quantization.py](../benchmarks/quantization.py); none of its figures is typed by hand.
"""
DIVERGENCE = """\
Mean KL divergence from the float network, in nats; a class that is given 0, as where a Softmax ends on 8 bits, counts
as given 1e-12:
"""
SPEED = """\
Times as fast as float in onnxruntime on one thread; share of the MACs on integers; bytes of weights over float:
"""
TOTALS = """\
*Within* is how many lose at most 0.3 points or two images, *nearest* on how many no other way has a lower KL.
"""
MEMORY = """\
Resident memory of the process at its height and seconds, while one network is calibrated and quantized; the samples are
those beside it, cycled with seeded noise. *plain* calibrates, as onnxruntime does; the other also repairs and
rounds anew.
"""


def write(path: Path, rows: Sequence[Row]) -> None:
    """The page, and beside it the picture of memory where there are such rows."""
    parts = [HEAD, _where()]
    measured = [row for row in rows if row["form"] != "memory" and row["network"] != ALL]
    for form, weights in dict.fromkeys((row["form"], row["weights"]) for row in measured):
        own = [row for row in measured if (row["form"], row["weights"]) == (form, weights)]
        parts += _part(form, weights, own)
    parts += _totals([row for row in rows if row["network"] == ALL])
    parts += _memory(path, [row for row in rows if row["form"] == "memory"])
    parts += _remarks(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")


def _where() -> str:
    here, with_ = machine(), versions()
    packages = ", ".join(f"{name} {with_[name]}" for name in ("onnxruntime", "onnxprune"))
    return f"{here['cpu']}, {here['usable_cores']} cores, {here['system']}; {packages}, git {with_['git']}.\n"


def _part(form: str, weights: str, rows: Sequence[Row]) -> Iterator[str]:
    yield f"## {form.capitalize()}, one scale per {weights}\n"
    yield "Top-1 accuracy lost, in points (images):\n"
    yield _table(rows, _drop, {"float": lambda row: f"{row['float']:.2%}"})
    yield DIVERGENCE
    yield _table(rows, lambda row: f"{row['KL']:.2g}", {})
    if any("times as fast" in row for row in rows):
        yield SPEED
        yield _table(rows, _speed, {})
    yield "Seconds to calibrate and quantize, MB at the height above what the process had before:\n"
    yield _table(rows, _cost, {})


def _drop(row: Row) -> str:
    return f"{row['drop']:.2f} ({row['images']})"


def _speed(row: Row) -> str:
    fast = f"{row['times as fast']:.2f} ± {row['times as fast ±']:.2g}" if row.get("times as fast") else "–"
    return f"{fast}; {row['on integers']:.0%}; {row['bytes']:.2f}"


def _cost(row: Row) -> str:
    return f"{row['seconds']:.1f} s, {row['peak MB'] - row['base MB']:.0f} MB"


def _table(rows: Sequence[Row], cell: Cell, more: Mapping[str, Cell]) -> str:
    """One line for each network, one column for each way."""
    lines: dict[str, dict[str, Row]] = {}
    for row in rows:
        lines.setdefault(row["network"], {})[row["way"]] = row
    ways = list(dict.fromkeys(row["way"] for row in rows))
    table = [["network", *more, *ways], ["---", *("---:" for _ in (*more, *ways))]]
    for network, found in lines.items():
        cells = [cell(found[way]) if "KL" in found.get(way, {}) else "–" for way in ways]
        table.append([f"`{network}`", *(told(next(iter(found.values()))) for told in more.values()), *cells])
    return _drawn(table)


def _drawn(table: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"


def _totals(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield "## All networks\n"
    yield TOTALS
    head = ["networks", "scale per", "way", "within", "nearest", "mean KL", "times as fast"]
    table = [head, ["---"] * 3 + ["---:"] * 4]
    for row in rows:
        fast = f"{row['times as fast']:.2f}" if row["times as fast"] else "–"
        shares = [f"{row[name]} of {row['networks']}" for name in ("within", "least KL")]
        table.append([row["form"], row["weights"], row["way"], *shares, f"{row['KL']:.3g}", fast])
    yield _drawn(table)


def _memory(page: Path, rows: Sequence[Row]) -> Iterator[str]:
    told = [{**row, "network": row["way"]} for row in rows if "peak MB" in row]
    if not told:
        return
    picture = page.parent / "pictures" / f"{page.stem}-memory.svg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(draw(told), encoding="utf-8")
    yield f"## Memory over samples, `{rows[0]['network']}`\n"
    yield MEMORY
    table = [["way", "samples", "MB", "MB before", "seconds"], ["---", *["---:"] * 4]]
    for row in told:
        figures = [f"{row[name]:.0f}" for name in ("peak MB", "base MB")]
        table.append([row["way"], f"{row['samples']:,}", *figures, f"{row['seconds']:.1f}"])
    yield _drawn(table)
    yield f"![Memory over the number of samples, ours and onnxruntime's](pictures/{picture.name})\n"


def _remarks(rows: Sequence[Row]) -> Iterator[str]:
    told = {
        f"- {row['way']}, `{row['network']}` {row['form']}, {row['weights']}: {row['remarks']}"
        for row in rows
        if row.get("remarks")
    }
    floats = {
        f"- {row['way']}, `{row['network']}` {row['form']}: {row['float layers']}"
        for row in rows
        if row.get("float layers") and row["weights"] == "channel"
    }
    if told:
        yield "\n".join(["## What failed\n", *sorted(told), ""])
    if floats:
        yield "\n".join(["## Layers that onnxruntime still computes in float\n", *sorted(floats), ""])
