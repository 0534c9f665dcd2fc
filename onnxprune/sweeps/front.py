"""The Pareto front: what nobody beats."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["unbeaten"]


def unbeaten(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of points (cost, quality): whether none costs no more, is as good, and is better in one of both."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a != b and a[0] <= b[0] and a[1] >= b[1]
