"""What the rows of a way come to: how often it is within the goal, and how often nearest to the float network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import geometric_mean
from typing import Any

__all__ = ["ALL", "summaries", "within"]

ALL = "all"
POINTS, IMAGES = 0.3, 2  # a network may lose the larger of both
Row = dict[str, Any]


def summaries(rows: Sequence[Row]) -> Iterator[Row]:
    """One row for each form, scales of weights and way."""
    good = [row for row in rows if "KL" in row]
    for form, weights in dict.fromkeys((row["form"], row["weights"]) for row in good):
        own = [row for row in good if (row["form"], row["weights"]) == (form, weights)]
        for way in dict.fromkeys(row["way"] for row in own):
            some = [row for row in own if row["way"] == way]
            fast = [row["times as fast"] for row in some if row.get("times as fast")]
            yield {
                "way": way,
                "network": ALL,
                "form": form,
                "weights": weights,
                "networks": len(some),
                "within": sum(map(within, some)),
                "least KL": sum(row["KL"] <= _least(own, row["network"]) for row in some),
                "KL": sum(row["KL"] for row in some) / len(some),
                "times as fast": geometric_mean(fast) if fast else None,
            }


def within(row: Row) -> bool:
    """Whether a network loses no more than 0.3 points, or two images."""
    return bool(row["drop"] <= POINTS + 1e-9 or row["images"] <= IMAGES)


def _least(rows: Sequence[Row], network: str) -> float:
    return min(float(row["KL"]) for row in rows if row["network"] == network)
