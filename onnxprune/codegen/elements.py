"""The elements that a stage computes: a value at a position, and the statements that store it lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import TensorLoad
from tvm.tirx import Buffer, BufferLoad, Expr, Stmt, Var

from onnxprune.codegen.expressions import rebuilt
from onnxprune.codegen.loops import i32, load, register, stored, vector
from onnxprune.codegen.places import Loop, Place
from onnxprune.codegen.stages import Stage

__all__ = ["At", "Elements", "Places", "each_lane"]

At = Mapping[Var, Expr]


class Places(dict[TensorLoad, Place]):
    """Where loads read, found out on demand: what lies in an index is rewritten when that is simplified."""

    def __init__(self, find: Callable[[TensorLoad], Place]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, each: TensorLoad) -> Place:
        self[each] = found = self._find(each)
        return found


@dataclass(frozen=True)
class Elements:
    """A stage's ``value`` where its loops ``start``: at other positions once their axes are given."""

    stage: Stage
    value: Expr
    target: Place
    places: Places
    start: At

    def stored(self, value: Expr, at: At) -> Stmt:
        """Store an element where it belongs."""
        return stored(self.target.buffer, value, *self.indices(self.target, at))

    def kept(self, row: Buffer, at: At, lane: Expr) -> Stmt:
        """Compute an element into a lane of a register."""
        return stored(row, self.at(at), lane)

    def emptied(self, register: Buffer, at: At, along: Loop, lanes: int) -> Stmt:
        """Store the lanes of a register."""
        return each_lane(lanes, at, along, lambda here, lane: self.stored(load(register, lane), here))

    def register(self, lanes: int, name: str = "sum") -> Buffer:
        """A register for elements."""
        return register(name, lanes, str(self.stage.buffer.dtype))

    def at(self, at: At) -> Expr:
        """The value at a position."""
        return self.given({}, at, i32(0))

    def given(self, known: Mapping[TensorLoad, Buffer], at: At, lane: Expr) -> Expr:
        """The value at a position, where some of what it reads is known to be in a lane of registers."""

        def read(each: TensorLoad, _: Sequence[Expr]) -> Expr:
            return load(known[each], lane) if each in known else self._read(each, at)

        return rebuilt(self.value, self._typed(at), read)

    def _read(self, each: TensorLoad, at: At) -> Expr:
        place = self.places[each]
        return BufferLoad(place.buffer, self.indices(place, at))

    def indices(self, place: Place, at: At) -> list[Expr]:
        """The offset as index of the last axis: a sum of steps, in which TVM sees that lanes are neighbours."""
        known = {**self.start, **at}
        base = rebuilt(place.base, self._typed(at), lambda each, _: self._read(each, at))
        flat = i32(int(base)) if isinstance(base, tirx.IntImm) else tirx.Cast("int32", base)
        for var, step in place.steps.items():
            flat = flat + known[var] * step if step else flat
        dimensions = len(place.buffer.shape)
        return [*[i32(0)] * (dimensions - 1), flat] if dimensions else []

    def _typed(self, at: At) -> dict[Var, Expr]:
        """The axes as variables of their own type."""
        types = {var: str(var.ty.dtype) for var in (*self.start, *at)}
        found = {**self.start, **at}
        return {var: each if types[var] == "int32" else tirx.Cast(types[var], each) for var, each in found.items()}


def each_lane(lanes: int, at: At, along: Loop, of: Callable[[At, Expr], Stmt]) -> Stmt:
    """A statement for each lane, given where that is and its number."""
    return vector("lane", lanes, lambda lane: of({**at, along.var: at[along.var] + lane}, lane))
