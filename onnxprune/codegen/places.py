"""Where elements lie: the offset of a load or store as a sum over axes, so that one sees what a vector can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from tvm import tirx
from tvm.ir import Range
from tvm.sym import Analyzer, detect_linear_equation
from tvm.tirx import Buffer, Expr, Var

__all__ = ["Loop", "Place", "Space", "merged"]


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
