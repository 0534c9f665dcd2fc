"""What all rows come to: geometric means, and the networks that are behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import geometric_mean
from typing import Any

__all__ = ["summaries"]

LEAST, SMALL = 0.7, 50  # of the ratio; M MACs
LARGE = 1  # MB of weights and activations, beside which what every library takes is little
Row = dict[str, Any]


def summaries(rows: Sequence[Row]) -> Iterator[Row]:
    """One row for each form and number of threads: of all networks, where they are several, and of the small ones."""
    timed = [row for row in rows if row.get("ratio")]
    for form, threads in dict.fromkeys((row["form"], row["threads"]) for row in timed):
        own = [row for row in timed if (row["form"], row["threads"]) == (form, threads)]
        if len(own) < 2:
            continue
        missing = [r["network"] for r in rows if r["form"] == form and not r.get("ratio")]
        yield _mean("mean", own, missing)
        small = [row for row in own if row["M MACs"] < SMALL]
        if 0 < len(small) < len(own):
            yield _mean(f"mean < {SMALL} M", small, [])


def _mean(name: str, rows: Sequence[Row], missing: Sequence[str]) -> Row:
    behind = {row["network"]: row["ratio"] for row in rows if row["ratio"] < LEAST}
    told = [f"below {LEAST}: " + ", ".join(f"{name} ({value:.2f})" for name, value in behind.items())] if behind else []
    told += [f"not measured: {', '.join(missing)}"] if missing else []
    named = {"network": f"{name} ({len(rows)})", "form": rows[0]["form"], "threads": rows[0]["threads"]}
    means = {
        "ratio": geometric_mean(row["ratio"] for row in rows),
        "of medians": geometric_mean(row["of medians"] for row in rows),
    }
    worst = {"error": max(row["error"] for row in rows)}
    if large := [row["over planned"] for row in rows if row["planned MB"] >= LARGE]:
        worst["over planned"] = max(large)
    if over := [row["over odd"] for row in rows if row.get("over odd")]:
        worst["over odd"] = geometric_mean(over)
    return {**named, **means, **worst, "remarks": "; ".join(told)}
