"""What all rows come to: geometric means, and the networks that are behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import geometric_mean
from typing import Any

__all__ = ["summaries"]

LEAST, SMALL = 0.7, 50  # of the ratio; M MACs
LARGE = 1  # MB of weights and activations, beside which what every library takes is little
MEANT = ("ratio", "of medians", "of fastest")
Row = dict[str, Any]


def summaries(rows: Sequence[Row]) -> Iterator[Row]:
    """For each form and number of threads: all networks, where they are several, the small ones, and who is behind."""
    timed = [row for row in rows if row.get("ratio")]
    for form, threads in dict.fromkeys((row["form"], row["threads"]) for row in timed):
        own = [row for row in timed if (row["form"], row["threads"]) == (form, threads)]
        if len(own) < 2:
            continue
        small = [row for row in own if row["M MACs"] < SMALL]
        for name, some in {"mean": own, f"mean < {SMALL} M": small}.items():
            if some and (some is own or len(some) < len(own)):
                yield {"network": f"{name} ({len(some)})", "form": form, "threads": threads, **_means(some)}
        for row in sorted((row for row in own if row["ratio"] < LEAST), key=lambda row: float(row["ratio"])):
            yield {**row, "network": f"< {LEAST}: {row['network']}"}


def _means(rows: Sequence[Row]) -> Row:
    found: Row = {name: geometric_mean(row[name] for row in rows) for name in MEANT}
    found["error"] = max(row["error"] for row in rows)
    if large := [row["over planned"] for row in rows if row["planned MB"] >= LARGE]:
        found["over planned"] = max(large)
    if over := [row["over odd"] for row in rows if row.get("over odd")]:
        found["over odd"] = geometric_mean(over)
    return found
