"""One stage over one range of its axes as a loop nest: the axis along which most lies side by side runs on vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, prod

from tvm import tirx
from tvm.ir import TensorLoad
from tvm.tirx import Buffer, BufferLoad, Expr, ForKind, Ramp, Stmt, Var

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.expressions import loads, parts, rebuilt
from onnxprune.codegen.loops import (
    allocated,
    broadcast,
    i32,
    load,
    loop,
    register,
    sequence,
    span,
    store,
    stored,
    vector,
)
from onnxprune.codegen.places import Loop, Place, Space, merged
from onnxprune.codegen.regions import Region
from onnxprune.codegen.stages import Stage
from onnxprune.codegen.transposing import turned

__all__ = ["Around", "nest_of"]

SUMS = 4  # vectors that are added up side by side, as one addition waits for the one before

SERIAL = 16_384  # elements that are not worth waking a thread for
MANY = 3  # elements along each side of a square that is worth turning

At = Mapping[Var, Expr]


@dataclass(frozen=True)
class Around:
    """What lies around a nest: loops whose axes are ``fixed``, buffers that hold one of their rows alone, threads."""

    loops: Sequence[Loop]
    fixed: At
    local: Mapping[Buffer, Buffer]
    rows: int
    is_shared: bool

    def place(self, space: Space, buffer: Buffer, indices: Sequence[Expr]) -> Place:
        """Where an element lies."""
        sizes = [int(size) for size in buffer.shape]
        if buffer not in self.local:
            return space.place(buffer, indices, sizes)
        return space.place(self.local[buffer], indices[self.rows :], sizes[self.rows :])


def nest_of(stage: Stage, region: Region, around: Around, cpu: Cpu) -> Stmt:
    """The loops of a stage over some ranges of its axes."""
    every = [*region.loops, *(Loop(axis.var, 0, axis.extent, True) for axis in stage.reduced)]
    space = Space([*around.loops, *every])
    value = region.value
    target = around.place(space, stage.buffer, region.indices)
    places = _Places(lambda each: around.place(space, each.source, list(each.indices)))
    for each in loads(value):
        places[each]
    used = {each for each in parts(value, False) if isinstance(each, Var)}
    found = merged(every, [target, *places.values()], used)
    truths = any(str(each.buffer.dtype) == "bool" for each in (target, *places.values()))
    start = {**{each.var: i32(each.low) for each in every}, **around.fixed}
    lanes = 1 if truths else cpu.lanes  # there are no vectors of truth values in memory
    is_shared = around.is_shared and prod(each.extent for each in found) > SERIAL
    return _Nest(stage, value, tuple(found), target, places, start, lanes, is_shared).body()


class _Places(dict[TensorLoad, Place]):
    """Where loads read, found out on demand: what lies in an index is rewritten when that is simplified."""

    def __init__(self, find: Callable[[TensorLoad], Place]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, each: TensorLoad) -> Place:
        self[each] = found = self._find(each)
        return found


@dataclass(frozen=True)
class _Nest:
    stage: Stage
    value: Expr
    loops: tuple[Loop, ...]
    target: Place
    places: _Places
    start: At
    lanes: int
    is_shared: bool

    # -- loops

    def body(self) -> Stmt:
        """Loops over all axes but the one of the vectors, which comes last."""
        along = min(self.loops, key=self._cost, default=Loop(Var("one", "int32"), 0, 1))
        outer = [each for each in self.loops if not each.reduced and each is not along]
        across = self._crossing(along)
        if across is not None:
            rest = [each for each in outer if each is not across]
            shared = self.is_shared and not rest
            return _nested(rest, lambda at: self._squares(along, across, at, shared), self.is_shared)
        make = self._mapped if not self.stage.reduced else self._across if along.reduced else self._beside
        return _nested(outer, lambda at: make(along, at, self.is_shared and not outer), self.is_shared)

    def _cost(self, along: Loop) -> tuple[float, bool]:
        """Loads and stores for each element, when vectors lie along an axis; stores are better in a line than loads."""
        lanes = along.extent / ceil(along.extent / self.lanes)
        places = [*self.places.values()] if along.reduced else [self.target, *self.places.values()]
        total = sum(1 if each.steps.get(along.var) in (0, 1) else lanes for each in places)
        return total / lanes, self.target.steps.get(along.var) != 1

    def _pieces(
        self, along: Loop, vectors: int, body: Callable[[Expr, int, int], Stmt], is_shared: bool = False
    ) -> Iterator[Stmt]:
        """The axis in pieces of so many vectors, then single ones, then what is less: of start, vectors and lanes."""
        lanes = self.lanes
        bundles, rest = divmod(along.extent, lanes * vectors)
        singles, tail = divmod(rest, lanes)
        start = along.low + bundles * lanes * vectors
        kind = ForKind.PARALLEL if is_shared else ForKind.SERIAL
        if bundles:
            yield loop("bundle", bundles, lambda v: body(v * (lanes * vectors) + along.low, vectors, lanes), kind)
        if singles:
            yield loop("vector", singles, lambda v: body(v * lanes + start, 1, lanes))
        if tail:
            yield body(i32(start + singles * lanes), 1, tail)

    # -- maps

    def _mapped(self, along: Loop, at: At, is_shared: bool) -> Stmt:
        def piece(start: Expr, _: int, lanes: int) -> Stmt:
            return self._lanes(
                lanes, {**at, along.var: start}, along, lambda here, _: self._stored(self._value(here), here)
            )

        return sequence(self._pieces(along, 1, piece, is_shared))

    # -- maps whose operands lie along another axis

    def _crossing(self, along: Loop) -> Loop | None:
        """The axis along which all lies that does not lie along the axis of the vectors."""
        strided = self._strided(along)
        if self.stage.reduced or self.lanes == 1 or not strided or self.target.steps.get(along.var) != 1:
            return None
        found = [each for each in self.loops if each is not along and each.extent >= MANY and along.extent >= MANY]
        return next((each for each in found if self._beside_each_other(each)), None) or next(
            (each for each in found if self._turns(strided, along, each)), None
        )

    def _beside_each_other(self, axis: Loop) -> bool:
        """Whether all that is read lies along an axis: then the values may be computed there, and turned."""
        return all(each.steps.get(axis.var) in (0, 1) for each in self.places.values())

    def _turns(self, strided: Sequence[TensorLoad], along: Loop, across: Loop) -> bool:
        steps = [self.places[each].steps for each in strided]
        return all(along.var in each and each.get(across.var) == 1 for each in steps)

    def _strided(self, along: Loop) -> list[TensorLoad]:
        return [each for each, place in self.places.items() if place.steps.get(along.var) not in (0, 1)]

    def _squares(self, along: Loop, across: Loop, at: At, is_shared: bool) -> Stmt:
        """Squares of as many elements as a vector has lanes, each turned in registers."""

        def column(start: Expr, _: int, high: int) -> Stmt:
            def row(first: Expr, _: int, wide: int) -> Stmt:
                return self._square({**at, along.var: first, across.var: start}, along, across, wide, high)

            return sequence(self._pieces(along, 1, row))

        return sequence(self._pieces(across, 1, column, is_shared))

    def _square(self, at: At, along: Loop, across: Loop, wide: int, high: int) -> Stmt:
        if min(wide, high) < MANY:
            each_column = ({**at, across.var: at[across.var] + q} for q in range(high))
            return sequence(self._lanes(wide, here, along, partial(self._turned, {})) for here in each_column)
        turn = self._turned_values if self._beside_each_other(across) else self._turned_operands
        return sequence(turn(at, along, across, wide, high))

    def _turned_values(self, at: At, along: Loop, across: Loop, wide: int, high: int) -> Iterator[Stmt]:
        """Values are computed along the other axis."""
        rows = [self._register(high) for _ in range(wide)]
        yield from allocated(rows)
        for q, row in enumerate(rows):
            here = {**at, along.var: at[along.var] + q}
            yield self._lanes(high, here, across, partial(self._kept, row))
        values = [load(row, span(0, high)) for row in rows]
        turning, columns = turned(values, high, self.lanes, str(self.stage.buffer.dtype))
        yield from (*allocated(columns), *turning)
        for q, column in enumerate(columns):
            yield self._emptied(column, {**at, across.var: at[across.var] + q}, along, wide)

    def _kept(self, row: Buffer, at: At, lane: Expr) -> Stmt:
        return stored(row, self._value(at), lane)

    def _turned_operands(self, at: At, along: Loop, across: Loop, wide: int, high: int) -> Iterator[Stmt]:
        """What lies along the other axis is turned when it is read."""
        columns: dict[TensorLoad, list[Buffer]] = {}
        for each in self._strided(along):
            place = self.places[each]
            starts = [self._indices(place, {**at, along.var: at[along.var] + q}) for q in range(wide)]
            rows = [BufferLoad(place.buffer, [*index[:-1], _ramp(index[-1], high)]) for index in starts]
            turning, columns[each] = turned(rows, high, self.lanes, str(place.buffer.dtype))
            yield from (*allocated(columns[each]), *turning)
        for q in range(high):
            here = {**at, across.var: at[across.var] + q}
            known = {each: found[q] for each, found in columns.items()}
            yield self._lanes(wide, here, along, partial(self._turned, known))

    def _turned(self, known: Mapping[TensorLoad, Buffer], at: At, lane: Expr) -> Stmt:
        def read(each: TensorLoad, _: Sequence[Expr]) -> Expr:
            return load(known[each], lane) if each in known else self._read(each, at)

        return self._stored(rebuilt(self.value, self._typed(at), read), at)

    # -- reductions

    def _beside(self, along: Loop, at: At, is_shared: bool) -> Stmt:
        """Neighbouring elements of the result in a vector."""
        inner = [each for each in self.loops if each.reduced]

        def piece(start: Expr, vectors: int, lanes: int) -> Stmt:
            sums = {v: self._register(lanes) for v in range(vectors)}
            here = {v: {**at, along.var: start + v * lanes} for v in sums}
            steps = _nested(
                inner, lambda r: sequence(self._added(sums[v], {**here[v], **r}, along, lanes) for v in sums)
            )
            return sequence(
                [
                    *allocated(sums.values()),
                    *map(self._cleared, sums.values()),
                    steps,
                    *(self._emptied(sums[v], here[v], along, lanes) for v in sums),
                ]
            )

        return sequence(self._pieces(along, SUMS, piece, is_shared))

    def _across(self, along: Loop, at: At, _: bool) -> Stmt:
        """Neighbouring terms of one sum in a vector, whose lanes are added up in the end."""
        others = [each for each in self.loops if each.reduced and each is not along]
        lanes = min(self.lanes, along.extent)
        sums = [self._register(lanes) for _ in range(max(1, min(SUMS, along.extent // lanes)))]

        def piece(r: At, start: Expr, vectors: int, size: int) -> Stmt:
            places = ({**at, **r, along.var: start + v * size} for v in range(vectors))
            return sequence(self._added(sums[v], place, along, size) for v, place in enumerate(places))

        def row(r: At) -> Stmt:
            return sequence(self._pieces(along, len(sums), lambda *where: piece(r, *where)))

        return sequence(
            [
                *allocated(sums),
                *map(self._cleared, sums),
                _nested(others, row),
                *self._joined(sums, lanes),
                vector("lane", 1, lambda lane: self._stored(load(sums[0], lane), at)),
            ]
        )

    def _joined(self, sums: Sequence[Buffer], lanes: int) -> Iterator[Stmt]:
        """All vectors added to the first one, then the upper half of its lanes to the lower one."""
        first, every = sums[0], span(0, lanes)
        for each in sums[1:]:
            yield store(first, self.stage.combine(load(first, every), load(each, every)), every)
        while lanes > 1:
            half = lanes // 2
            lanes -= half
            lower = span(0, half)
            yield store(first, self.stage.combine(load(first, lower), load(first, span(lanes, half))), lower)

    def _added(self, total: Buffer, at: At, along: Loop, lanes: int) -> Stmt:
        def of(here: At, lane: Expr) -> Stmt:
            return stored(total, self.stage.combine(load(total, lane), self._value(here)), lane)

        return self._lanes(lanes, at, along, of)

    def _emptied(self, total: Buffer, at: At, along: Loop, lanes: int) -> Stmt:
        return self._lanes(lanes, at, along, lambda here, lane: self._stored(load(total, lane), here))

    def _cleared(self, total: Buffer) -> Stmt:
        lanes = int(total.shape[0])
        assert self.stage.start is not None
        return store(total, broadcast(self.stage.start, lanes), span(0, lanes))

    def _register(self, lanes: int) -> Buffer:
        return register("sum", lanes, str(self.stage.buffer.dtype))

    # -- elements

    @staticmethod
    def _lanes(lanes: int, at: At, along: Loop, of: Callable[[At, Expr], Stmt]) -> Stmt:
        """A statement for each lane, given where that is and its number."""
        return vector("lane", lanes, lambda lane: of({**at, along.var: at[along.var] + lane}, lane))

    def _stored(self, value: Expr, at: At) -> Stmt:
        return stored(self.target.buffer, value, *self._indices(self.target, at))

    def _value(self, at: At) -> Expr:
        return rebuilt(self.value, self._typed(at), lambda each, _: self._read(each, at))

    def _read(self, each: TensorLoad, at: At) -> Expr:
        place = self.places[each]
        return BufferLoad(place.buffer, self._indices(place, at))

    def _indices(self, place: Place, at: At) -> list[Expr]:
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


def _ramp(start: Expr, lanes: int) -> Expr:
    return start if lanes == 1 else Ramp(start, i32(1), lanes)


def _nested(loops: Sequence[Loop], body: Callable[[dict[Var, Expr]], Stmt], is_shared: bool = False) -> Stmt:
    """Loops around a body, the first one shared out to threads."""
    if not loops:
        return body({})
    first, *rest = loops
    kind = ForKind.PARALLEL if is_shared else ForKind.SERIAL

    def turn(i: Expr) -> Stmt:
        return _nested(rest, lambda at: body({first.var: i + first.low, **at}))

    return loop(first.var.name, first.extent, turn, kind)
