"""A network layer by layer: our kernels beside onnxruntime's nodes, as far as they read and write the same sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.native.measured import Built
from benchmarks.native.runtimes import ONNXRUNTIME, OURS
from benchmarks.native.traced import MACHINE, Call, traced

__all__ = ["layers", "pairs"]

ALIKE = 0.4  # bits by which sizes may differ in the mean
BLOCKED = 0.7  # of convolutions: what is read and weights are twice as large where 8 channels fill a block of 16
WEIGHTED = 3  # sizes: what is read, weights, what is written
LONGEST = 30  # of a name, in letters
NOTHING = Call("", (), 0.0)
Row = dict[str, Any]


def layers(built: Built, threads: int) -> Iterator[Row]:
    """One row for each kernel of ours and for each node that has none, in our order, and their sum."""
    ours = traced(OURS, built.library, built.feeds, threads)
    theirs = traced(ONNXRUNTIME, built.network.path, built.feeds, threads)
    kernels = [call for call in ours if not call.name.startswith(MACHINE)]
    own = [call for call in ours if call.name.startswith(MACHINE)]
    rows = [*pairs(kernels, theirs), (Call(f"{len(own)} × {MACHINE}*", (), _sum(own)), None)]
    whole = (Call("all", (), _sum(ours)), Call("all", (), _sum(theirs)))
    for mine, other in [*rows, whole]:
        yield _row(mine, other, *(call.seconds for call in whole))


def pairs(ours: Sequence[Call], theirs: Sequence[Call]) -> list[tuple[Call | None, Call | None]]:
    """Calls of the most alike sizes together, those with weights first, of equals the earliest; the rest alone."""
    found = _weighted(ours, theirs)
    free = {place: call for place, call in enumerate(ours) if place not in found.values()}
    for index in (i for i in range(len(theirs)) if i not in found):
        costs = {place: _unlike(call, theirs[index]) for place, call in free.items()}
        behind = found.get(index - 1, -1)
        best = min(costs, key=lambda place: (costs[place], place < behind, place), default=None)
        if best is not None and costs[best] <= ALIKE:
            found[index] = best
            del free[best]
    places = [*((i, 0, call, None) for i, call in free.items()), *_placed(ours, theirs, found)]
    return [(mine, other) for _, _, mine, other in sorted(places, key=lambda place: place[:2])]


def _weighted(ours: Sequence[Call], theirs: Sequence[Call]) -> dict[int, int]:
    """Nodes that read weights, and the places of their kernels, the most alike first."""
    nodes = [i for i, call in enumerate(theirs) if len(call.sizes) >= WEIGHTED]
    every = sorted((_unlike(call, theirs[i]), i, place) for place, call in enumerate(ours) for i in nodes)
    found = dict[int, int]()
    for cost, index, place in every:
        if cost <= BLOCKED and index not in found and place not in found.values():
            found[index] = place
    return found


def _placed(
    ours: Sequence[Call], theirs: Sequence[Call], found: dict[int, int]
) -> Iterator[tuple[int, int, Call | None, Call]]:
    """Each node at the place of its kernel, or behind that of the node before it."""
    place = -1
    for index, call in enumerate(theirs):
        place = found.get(index, place)
        yield (place, 0, ours[place], call) if index in found else (place, 1 + index, None, call)


def _unlike(mine: Call, other: Call) -> float:
    """Bits by which the sizes of two calls differ, each from the nearest of the other's; one for a size left over."""
    few, many = sorted((mine.sizes, other.sizes), key=len)
    if not few:
        return math.inf
    left, bits = list(many), len(many) - float(len(few))
    for size in sorted(few, reverse=True):
        nearest = min(left, key=lambda each: _bits(each, size))
        bits += min(_bits(nearest, size), 1.0)
        left.remove(nearest)
    return bits / len(many)


def _bits(a: int, b: int) -> float:
    return abs(math.log2((a or 1) / (b or 1)))


def _row(mine: Call | None, other: Call | None, ours: float, theirs: float) -> Row:
    row: Row = {"ours": mine and _short(mine.name), "onnxruntime": other and _short(other.name)}
    row["shape"] = "×".join(map(str, (other or mine or NOTHING).shape))
    if mine is not None:
        row |= {"ours µs": 1e6 * mine.seconds, "ours %": 100 * mine.seconds / ours}
    if other is not None:
        row |= {"onnxruntime µs": 1e6 * other.seconds, "onnxruntime %": 100 * other.seconds / theirs}
    if mine is not None and other is not None:
        row["ratio"] = other.seconds / mine.seconds
    return row


def _short(name: str) -> str:
    """The operator and the end of the name, which tell most."""
    kind, space, name = name.rpartition(" ")
    return f"{kind}{space}{name if len(name) <= LONGEST else f'…{name[1 - LONGEST :]}'}"


def _sum(calls: Sequence[Call]) -> float:
    return sum(call.seconds for call in calls)
