"""Where elements lie: the offset of a load or store as a sum over axes, so that one sees what a vector can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import ceil, floor, prod
from typing import Any

from tvm import tirx
from tvm.ir import Range
from tvm.sym import Analyzer, detect_linear_equation
from tvm.tirx import Buffer, Expr, Var

from onnxprune.codegen.expressions import choice_of, parts
from onnxprune.codegen.stages import Axis

__all__ = ["Loop", "Place", "Space", "merged", "regions"]

REGIONS = 24  # loop nests that one stage may become


@dataclass(frozen=True)
class Loop:
    """An axis from ``low``, ``extent`` times."""

    var: Var
    low: int
    extent: int
    reduced: bool = False


@dataclass(frozen=True)
class Place:
    """An element of a buffer: its offset is ``base`` plus for each axis its step, where that is a number."""

    buffer: Buffer
    base: Expr
    steps: Mapping[Var, int]


class Space:
    """The ranges of some axes, and what follows from them."""

    def __init__(self, loops: Iterable[Loop]) -> None:
        """Start with the loops around an expression."""
        self.loops = tuple(loops)
        self.analyzer = Analyzer()
        for each in self.loops:
            dtype = str(each.var.ty.dtype)
            self.analyzer.bind(
                each.var, Range.from_min_extent(tirx.const(each.low, dtype), tirx.const(each.extent, dtype))
            )

    def place(self, buffer: Buffer, indices: Sequence[Expr], sizes: Sequence[int]) -> Place:
        """Where an element of a buffer of these sizes lies."""
        flat: Expr = tirx.const(0, "int32")
        for axis, index in enumerate(indices):
            flat = flat + index * prod(sizes[axis + 1 :])
        flat = self.analyzer.simplify(flat)
        steps = {each.var: step for each in self.loops if (step := _step(flat, each.var)) is not None}
        found = detect_linear_equation(flat, list(steps)) if steps else [flat]
        return Place(buffer, found[-1], steps) if len(found) else Place(buffer, flat, {})

    def known(self, condition: Expr) -> int | None:
        """Whether a condition holds all over, or nowhere."""
        found = self.analyzer.simplify(condition)
        return int(found) if isinstance(found, tirx.IntImm) else None


def _step(flat: Expr, var: Var) -> int | None:
    found = detect_linear_equation(flat, [var])
    return int(found[0]) if len(found) == 2 and isinstance(found[0], tirx.IntImm) else None


def merged(loops: Sequence[Loop], places: Sequence[Place], fixed: set[Var]) -> list[Loop]:
    """Loops that walk through memory as one become one; those of ``fixed`` variables stay."""
    found: list[Loop] = []
    for inner in loops:
        if inner.extent == 1:
            continue
        outer = found[-1] if found else None
        if outer is not None and _as_one(outer, inner, places) and not fixed & {outer.var, inner.var}:
            found[-1] = replace(inner, extent=inner.extent * outer.extent)
        else:
            found.append(inner)
    return found


def _as_one(outer: Loop, inner: Loop, places: Sequence[Place]) -> bool:
    return outer.reduced == inner.reduced and all(
        outer.var in each.steps
        and inner.var in each.steps
        and each.steps[outer.var] == inner.extent * each.steps[inner.var]
        for each in places
    )


def regions(axes: Sequence[Axis], value: Expr) -> Iterator[tuple[Loop, ...]]:
    """The ranges of axes in which each condition on one axis is the same all over."""
    edges = {axis.var: sorted({0, axis.extent, *_edges(axis, value)}) for axis in axes}
    if prod(len(found) - 1 for found in edges.values()) > REGIONS:
        edges = {axis.var: [0, axis.extent] for axis in axes}
    runs = [[Loop(var, low, high - low) for low, high in pairwise(found)] for var, found in edges.items()]
    yield from product(*runs)


def _edges(axis: Axis, value: Expr) -> Iterator[int]:
    for condition in _conditions(value):
        for each in parts(condition):
            if type(each) in CUTS:
                yield from (cut for cut in _cuts(each, axis.var) if 0 < cut < axis.extent)


def _cuts(comparison: Any, var: Var) -> list[int]:
    line = _line(comparison.a - comparison.b, var)
    return CUTS[type(comparison)](*line) if line else []


def _conditions(value: Expr) -> Iterator[Expr]:
    return (choice[0] for each in parts(value) if (choice := choice_of(each)) is not None)


def _line(expr: Expr, var: Var) -> tuple[int, int] | None:
    """``a · var + b`` as (a, b)."""
    if str(expr.ty.dtype) not in ("int32", "int64"):
        return None
    found = detect_linear_equation(expr, [var])
    if len(found) != 2 or not all(isinstance(each, tirx.IntImm) for each in found) or int(found[0]) == 0:
        return None
    return int(found[0]), int(found[1])


def _first_not_below(a: int, b: int) -> list[int]:
    """Where a · v + b < 0, or ≥ 0, changes."""
    return [ceil(-b / a) if a > 0 else floor(-b / a) + 1]


def _first_above(a: int, b: int) -> list[int]:
    """Where a · v + b ≤ 0, or > 0, changes."""
    return [floor(-b / a) + 1 if a > 0 else ceil(-b / a)]


def _equal(a: int, b: int) -> list[int]:
    return [-b // a, -b // a + 1] if b % a == 0 else []


CUTS: Mapping[type[Expr], Callable[[int, int], list[int]]] = {
    tirx.LT: _first_not_below,
    tirx.GE: _first_not_below,
    tirx.LE: _first_above,
    tirx.GT: _first_above,
    tirx.EQ: _equal,
    tirx.NE: _equal,
}
