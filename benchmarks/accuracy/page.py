"""The page of docs that says what came out, written from the rows of the benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.accuracy.curves import draw

__all__ = ["write"]

Row: TypeAlias = Mapping[str, Any]

HEAD = """\
# Accuracy without training

Trained networks cut to a share of their multiply-accumulates, from unlabelled samples alone. Each column is what a way
of pruning loses of the top-1 accuracy, in percentage points, on test data that nothing was fitted to; ± is the
deviation over seeds. *onnxprune* is `fold,prune:macs=…` as it comes, *align=1* takes any number of channels, *L2, not
healed* is what pruning is without least squares. The peers see the same samples; the ratio of each is searched that
leaves the same MACs, and where it cannot come within two points, what it left stands behind. This page is written by
[benchmarks/pruning.py](../benchmarks/pruning.py); none of its figures is typed by hand.
"""
NEAR = 0.02  # of the MACs count as equal


def write(path: Path, rows: Sequence[Row]) -> None:
    """The page, and beside it the curves where there are any: ``pictures/NAME.svg``."""
    picture = path.parent / "pictures" / f"{path.stem}.svg"
    parts = [HEAD, "## Drop in points\n", _drops(rows), "## Divergence\n", DIVERGENCE, _divergences(rows)]
    if any(not row["main"] for row in rows):
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(draw(rows), encoding="utf-8")
        title = "Top-1 accuracy over the share of the multiply-accumulates left, a panel for each network"
        parts += ["## Curves\n", f"![{title}](pictures/{picture.name})\n"]
    parts += list(_remarks(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")


DIVERGENCE = """\
Mean KL divergence of the class probabilities from the original's, in nats: it sees more than top-1 where the test data
is small.
"""


def _drops(rows: Sequence[Row]) -> str:
    return _table(rows, ["top-1"], lambda row: [f"{row['original']:.2%}"], _drop)


def _divergences(rows: Sequence[Row]) -> str:
    return _table(rows, [], lambda row: [], lambda row: f"{row['KL']:.3g}")


def _drop(row: Row) -> str:
    spread = "" if row["±"] is None else f" ± {row['±']:.1f}"
    left = "" if abs(row["MACs left"] - row["wanted"]) <= NEAR else f" at {row['MACs left']:.0%}"
    return f"{row['drop']:.1f}{spread}{left}"


def _table(rows: Sequence[Row], more: list[str], extra: Any, cell: Any) -> str:
    """One line for each network at its main share of the MACs, one column for each contestant."""
    points: dict[tuple[str, float], dict[str, Row]] = {}
    for row in rows:
        if row["main"]:
            points.setdefault((row["network"], row["wanted"]), {})[row["contestant"]] = row
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    lines = [["network", "MACs", *more, *names], ["---", *("---:" for _ in (0, *more, *names))]]
    for (network, wanted), found in points.items():
        told = {name: row for name, row in found.items() if "top-1" in row}
        if told:
            cells = [cell(told[name]) if name in told else "–" for name in names]
            lines.append([f"`{network}`", f"{wanted:.0%}", *extra(next(iter(told.values()))), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _remarks(rows: Sequence[Row]) -> Iterator[str]:
    told = [
        f"- `{row['network']}` at {row['wanted']:.0%}, {row['contestant']}: {row['remarks']}"
        for row in rows
        if row["remarks"]
    ]
    if told:
        yield "\n".join(["## Remarks\n", *dict.fromkeys(told), ""])
