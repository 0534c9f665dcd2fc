"""A square of elements turned in registers: what lies side by side along one axis then does along another."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from tvm import tirx
from tvm.tirx import Bind, Buffer, Expr, Stmt, Var

from onnxprune.codegen.loops import i32, register, span, store

__all__ = ["turned"]


def turned(rows: Sequence[Expr], columns: int, lanes: int, dtype: str) -> tuple[list[Stmt], list[Buffer]]:
    """Up to ``lanes`` vectors of ``columns`` elements, as so many vectors of which lane r comes from row r.

    In log₂ ``lanes`` steps, each of which swaps the blocks beside the diagonal (J. Eklundh, 1972); ``lanes`` is a power
    of 2. Lanes beyond the number of rows hold anything.
    """
    found: list[Expr | None] = []
    statements: list[Stmt] = []
    for row in rows:
        name = Var("row", f"{dtype}x{columns}" if columns > 1 else dtype)
        statements.append(Bind(name, row))
        found.append(name)
    found += [None] * (lanes - len(rows))
    widths = [columns] * lanes
    distance = lanes // 2
    while distance:
        for at in (at for at in range(lanes) if not at & distance):
            pair = found[at], found[at + distance]
            for which in (0, 1):
                made = _swapped(pair, widths[at], distance, lanes, which)
                if made is not None:
                    name = Var("turned", f"{dtype}x{lanes}")
                    statements.append(Bind(name, made))
                    made = name
                found[at + which * distance] = made
        widths = [lanes] * lanes
        distance //= 2
    kept = [register("column", lanes, dtype) for _ in range(columns)]
    for buffer, value in zip(kept, found, strict=False):
        assert value is not None
        statements.append(store(buffer, value, span(0, lanes)))
    return statements, kept


def _swapped(pair: tuple[Expr | None, Expr | None], width: int, distance: int, lanes: int, which: int) -> Expr | None:
    """One of two rows after a swap; where an element is missing, any other stands in its place."""
    vectors = [each for each in pair if each is not None]
    if not vectors:
        return None
    offsets = [0 if pair[0] is not None else -1, width if len(vectors) == 2 else (0 if pair[1] is not None else -1)]

    def source(lane: int) -> int:
        upper = bool(lane & distance)
        at = lane + distance * (which - upper)
        offset = offsets[upper]
        return offset + at if offset >= 0 and at < width else 0

    vectors += [vectors[0]] * ceil(lanes / width - len(vectors))  # TVM wants as many elements as it is to choose
    return tirx.Shuffle(vectors, [i32(source(lane)) for lane in range(lanes)])
