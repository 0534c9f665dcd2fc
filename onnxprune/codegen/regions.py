"""Ranges of a stage's axes in which its conditions are decided and its divisions come out even.

A concatenation, a padding or a change between layouts asks at every element where it is; cut into regions, it is a few
plain copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

from tvm import tirx
from tvm.ir import TensorLoad
from tvm.sym import detect_linear_equation
from tvm.tirx import BufferLoad, Expr, Var

from onnxprune.codegen.expressions import choice_of, parts, rebuilt
from onnxprune.codegen.places import Loop, Space

__all__ = ["Region", "regions"]

REGIONS = 24  # loop nests that one stage may become
CROSSINGS = 3  # multiples that a quotient may cross, each of which is a cut


@dataclass(frozen=True)
class Region:
    """A part of a stage: its loops, the value there, and the indices at which that is stored."""

    loops: tuple[Loop, ...]
    value: Expr
    indices: tuple[Expr, ...]

    def settled(self, around: Sequence[Loop]) -> Region:
        """With all that is decided here left out."""
        known = Space([*around, *self.loops]).known
        return replace(self, value=rebuilt(self.value, {}, _kept, known))

    def cut(self, var: Var, at: int) -> tuple[Region, Region]:
        """What lies below a value of an axis, and the rest."""
        below = tuple(replace(each, extent=at - each.low) if each.var.same_as(var) else each for each in self.loops)
        above = tuple(
            Loop(var, at, each.low + each.extent - at) if each.var.same_as(var) else each for each in self.loops
        )
        return replace(self, loops=below), replace(self, loops=above)

    def split(self, loop: Loop, size: int) -> Iterator[Region]:
        """An axis as two, the inner one of a size, and what is left over as a region of its own."""
        dtype = str(loop.var.ty.dtype)
        outer, inner = Var(f"{loop.var.name}_o", dtype), Var(f"{loop.var.name}_i", dtype)
        joined = {loop.var: outer * tirx.const(size, dtype) + inner}
        value = rebuilt(self.value, joined, _kept)
        indices = tuple(rebuilt(each, joined, _kept) for each in self.indices)
        full, rest = divmod(loop.extent, size)
        first = loop.low // size
        runs = [(Loop(outer, first, full), Loop(inner, 0, size)), (Loop(outer, first + full, 1), Loop(inner, 0, rest))]
        for pair in runs[: 2 if rest else 1]:
            at = next(i for i, each in enumerate(self.loops) if each.var.same_as(loop.var))
            yield Region((*self.loops[:at], *pair, *self.loops[at + 1 :]), value, indices)


def regions(start: Region, around: Sequence[Loop]) -> list[Region]:
    """A region in parts, as far as there are not too many."""
    done: list[Region] = []
    waiting = [start]
    while waiting:
        region = waiting.pop(0).settled(around)
        if len(done) + len(waiting) < REGIONS and (found := _parts(region)):
            waiting = [*found, *waiting]
        else:
            done.append(region)
    return done


def _parts(region: Region) -> list[Region]:
    """A region in two or three, None if there is nothing to decide."""
    for each in parts(region.value):
        if (choice := choice_of(each)) is not None:
            for condition in parts(choice[0]):
                if type(condition) in EDGES and (cut := _condition(condition, region.loops)):
                    return list(region.cut(*cut))
        if isinstance(each, tirx.FloorDiv | tirx.FloorMod) and isinstance(each.b, tirx.IntImm):
            found = _quotient(each.a, int(each.b), region)
            if found:
                return found
    return []


def _condition(comparison: Any, loops: Sequence[Loop]) -> tuple[Var, int] | None:
    """Where to cut so that a comparison is decided below, or above."""
    line = _line(comparison.a - comparison.b, loops)
    if line is None:
        return None
    steps, base = line
    loop = max(loops, key=lambda each: abs(steps.get(each.var, 0)) * (each.extent > 1), default=None)
    if loop is None or not (step := steps.get(loop.var, 0)):
        return None
    low, high = _range({var: each for var, each in steps.items() if not var.same_as(loop.var)}, base, loops)
    for rest in (low, high):
        for cut in EDGES[type(comparison)](step, rest):
            if loop.low < cut < loop.low + loop.extent:
                return loop.var, cut
    return None


def _quotient(dividend: Expr, size: int, region: Region) -> list[Region]:
    line = _line(dividend, region.loops)
    if line is None:
        return []
    steps, base = line
    uneven = [each for each in region.loops if steps.get(each.var, 0) % size and each.extent > 1]
    if len(uneven) != 1 or steps[uneven[0].var] < 0:
        return []
    loop, step = uneven[0], steps[uneven[0].var]
    if step == 1 and base % size == 0 and loop.low % size == 0 and loop.extent > size:
        return list(region.split(loop, size))
    first, last = (step * at + base for at in (loop.low, loop.low + loop.extent - 1))
    if not 0 < last // size - first // size <= CROSSINGS:
        return []
    return list(region.cut(loop.var, ceil(((first // size + 1) * size - base) / step)))


def _line(expr: Expr, loops: Sequence[Loop]) -> tuple[dict[Var, int], int] | None:
    """An integer as a sum of steps along axes and a number."""
    if str(expr.ty.dtype) not in ("int32", "int64") or not loops:
        return None
    found = detect_linear_equation(expr, [each.var for each in loops])
    if not found or not all(isinstance(each, tirx.IntImm) for each in found):
        return None
    *steps, base = (int(each) for each in found)
    return {each.var: step for each, step in zip(loops, steps, strict=True)}, base


def _range(steps: Mapping[Var, int], base: int, loops: Sequence[Loop]) -> tuple[int, int]:
    """The least and the largest value of a sum."""
    low = high = base
    for loop in loops:
        ends = [steps.get(loop.var, 0) * at for at in (loop.low, loop.low + loop.extent - 1)]
        low, high = low + min(ends), high + max(ends)
    return low, high


def _kept(each: TensorLoad, at: Sequence[Expr]) -> Expr:
    return BufferLoad(each.source, list(at))


def _from_below(a: int, b: int) -> list[int]:
    """Where a · v + b < 0, or ≥ 0, changes."""
    return [ceil(-b / a) if a > 0 else floor(-b / a) + 1]


def _from_above(a: int, b: int) -> list[int]:
    """Where a · v + b ≤ 0, or > 0, changes."""
    return [floor(-b / a) + 1 if a > 0 else ceil(-b / a)]


def _equal(a: int, b: int) -> list[int]:
    return [-b // a, -b // a + 1] if b % a == 0 else []


EDGES: Mapping[type[Expr], Callable[[int, int], list[int]]] = {
    tirx.LT: _from_below,
    tirx.GE: _from_below,
    tirx.LE: _from_above,
    tirx.GT: _from_above,
    tirx.EQ: _equal,
    tirx.NE: _equal,
}
