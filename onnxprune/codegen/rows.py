"""Functions without a kernel of their own as loops: maps, reductions, and what Relax has fused of them.

Where all stages agree in their first axes (rows), one row goes through all of them before the next one starts, and what
lies between two stages is as small as a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tvm import tirx
from tvm.ir import TensorLoad
from tvm.tirx import Buffer, Expr, ForKind, PrimFunc, Stmt

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.expressions import loads
from onnxprune.codegen.loops import allocated, i32, loop, register, sequence
from onnxprune.codegen.nests import SERIAL, Around, nest_of
from onnxprune.codegen.places import Loop
from onnxprune.codegen.regions import Region, regions
from onnxprune.codegen.stages import Axis, Stage, stages_of

__all__ = ["SERIAL", "in_rows"]


def in_rows(func: PrimFunc, cpu: Cpu) -> PrimFunc:
    """A function as loops; raises UnreadableError when it is more than maps and reductions."""
    stages = tuple(stages_of(func))
    made = {stage.buffer for stage in stages} - set(func.params)
    return func.with_body(_Function(stages, _common_rows(stages), made, cpu).body())


def _common_rows(stages: Sequence[Stage]) -> int:
    """First axes in which every stage reads what another one made at its own position."""
    if len(stages) == 1:
        return 0
    made = {stage.buffer for stage in stages}
    last = stages[-1].axes
    found = [
        _agreeing(axis.extent == other.extent for axis, other in zip(each.axes, last, strict=False)) for each in stages
    ]
    for stage in stages:
        inner = (each for each in loads(stage.value) if each.source in made)
        found += [_agreeing(_at_own(each, stage)) for each in inner]
    return min(found)


def _at_own(each: TensorLoad, stage: Stage) -> Iterator[bool]:
    return (bool(i.same_as(axis.var)) for i, axis in zip(each.indices, stage.axes, strict=False))


def _agreeing(signs: Iterator[bool]) -> int:
    """How many hold before one does not."""
    count = 0
    for sign in signs:
        if not sign:
            break
        count += 1
    return count


@dataclass(frozen=True)
class _Function:
    """``rows`` first axes are common; ``made`` is what nobody else reads."""

    stages: tuple[Stage, ...]
    rows: int
    made: set[Buffer]
    cpu: Cpu

    def body(self) -> Stmt:
        """All rows, one after the other or shared out; with one row, each stage is shared out."""
        is_shared = self.cpu.cores > 1 and sum(stage.steps for stage in self.stages) > SERIAL
        axes = self.stages[-1].axes[: self.rows]
        total = prod(axis.extent for axis in axes)
        if total == 1:
            return self._row([i32(0)] * self.rows, is_shared)
        kind = ForKind.PARALLEL if is_shared else ForKind.SERIAL
        return loop("row", total, lambda at: self._row(_split(at, axes), False), kind)

    def _row(self, at: Sequence[Expr], is_shared: bool) -> Stmt:
        local = {
            stage.buffer: register(stage.buffer.name, self._inner(stage), str(stage.buffer.dtype))
            for stage in self.stages
            if stage.buffer in self.made
        }
        return sequence([*allocated(local.values()), *self._nests(local, at, is_shared)])

    def _inner(self, stage: Stage) -> int:
        return prod(axis.extent for axis in stage.axes[self.rows :])

    def _nests(self, local: Mapping[Buffer, Buffer], at: Sequence[Expr], is_shared: bool) -> Iterator[Stmt]:
        for stage in self.stages:
            outer, inner = stage.axes[: self.rows], stage.axes[self.rows :]
            fixed = dict(zip((axis.var for axis in outer), at, strict=True))
            around = Around([Loop(axis.var, 0, axis.extent) for axis in outer], fixed, local, self.rows, is_shared)
            whole = Region(tuple(Loop(axis.var, 0, axis.extent) for axis in inner), stage.value, stage.indices)
            for region in regions(whole, around.loops):
                yield nest_of(stage, region, around, self.cpu)


def _split(at: Expr, axes: Sequence[Axis]) -> list[Expr]:
    """The indices of a row."""
    found: list[Expr] = []
    for axis in reversed(axes[1:]):
        found.insert(0, tirx.floormod(at, i32(axis.extent)))
        at = tirx.floordiv(at, i32(axis.extent))
    return [at, *found]
