"""One stage over one range of its axes as a loop nest: the axis along which most lies side by side runs on vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

from tvm.tirx import Buffer, Expr, Stmt, Var

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.elements import At, Elements, Places, each_lane
from onnxprune.codegen.expressions import loads, parts
from onnxprune.codegen.loops import (
    allocated,
    broadcast,
    i32,
    load,
    sequence,
    span,
    store,
    stored,
    vector,
)
from onnxprune.codegen.places import Loop, Place, Space, merged
from onnxprune.codegen.regions import Region
from onnxprune.codegen.squares import Squares
from onnxprune.codegen.stages import Stage
from onnxprune.codegen.walking import nested, pieces

__all__ = ["Around", "nest_of"]

SUMS = 4  # vectors that are added up side by side, as one addition waits for the one before
SERIAL = 16_384  # elements that are not worth waking a thread for


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
    places = Places(lambda each: around.place(space, each.source, list(each.indices)))
    for each in loads(value):
        places[each]
    used = {each for each in parts(value, False) if isinstance(each, Var)}
    found = merged(every, [target, *places.values()], used)
    truths = any(str(each.buffer.dtype) == "bool" for each in (target, *places.values()))
    start = {**{each.var: i32(each.low) for each in every}, **around.fixed}
    lanes = 1 if truths else cpu.lanes  # there are no vectors of truth values in memory
    is_shared = around.is_shared and prod(each.extent for each in found) > SERIAL
    return _Nest(Elements(stage, value, target, places, start), tuple(found), lanes, is_shared).body()


@dataclass(frozen=True)
class _Nest:
    elements: Elements
    loops: tuple[Loop, ...]
    lanes: int
    is_shared: bool

    @property
    def stage(self) -> Stage:
        return self.elements.stage

    # -- loops

    def body(self) -> Stmt:
        """Loops over all axes but the one of the vectors, which comes last."""
        along = min(self.loops, key=self._cost, default=Loop(Var("one", "int32"), 0, 1))
        outer = [each for each in self.loops if not each.reduced and each is not along]
        squares = Squares.found(self.elements, self.loops, along, self.lanes)
        if squares is not None:
            rest = [each for each in outer if each is not squares.across]
            return nested(rest, lambda at: squares.body(at, self.is_shared and not rest), self.is_shared)
        make = self._mapped if not self.stage.reduced else self._across if along.reduced else self._beside
        return nested(outer, lambda at: make(along, at, self.is_shared and not outer), self.is_shared)

    def _cost(self, along: Loop) -> tuple[float, bool]:
        """Loads and stores for each element, when vectors lie along an axis; stores are better in a line than loads."""
        lanes = along.extent / ceil(along.extent / self.lanes)
        read, target = self.elements.places.values(), self.elements.target
        places = [*read] if along.reduced else [target, *read]
        total = sum(1 if each.steps.get(along.var) in (0, 1) else lanes for each in places)
        return total / lanes, target.steps.get(along.var) != 1

    # -- maps

    def _mapped(self, along: Loop, at: At, is_shared: bool) -> Stmt:
        def piece(start: Expr, _: int, lanes: int) -> Stmt:
            elements = self.elements
            return each_lane(
                lanes, {**at, along.var: start}, along, lambda here, _: elements.stored(elements.at(here), here)
            )

        return sequence(pieces(along, self.lanes, 1, piece, is_shared))

    # -- reductions

    def _beside(self, along: Loop, at: At, is_shared: bool) -> Stmt:
        """Neighbouring elements of the result in a vector."""
        inner = [each for each in self.loops if each.reduced]

        def piece(start: Expr, vectors: int, lanes: int) -> Stmt:
            sums = {v: self.elements.register(lanes) for v in range(vectors)}
            here = {v: {**at, along.var: start + v * lanes} for v in sums}
            steps = nested(
                inner, lambda r: sequence(self._added(sums[v], {**here[v], **r}, along, lanes) for v in sums)
            )
            return sequence(
                [
                    *allocated(sums.values()),
                    *map(self._cleared, sums.values()),
                    steps,
                    *(self.elements.emptied(sums[v], here[v], along, lanes) for v in sums),
                ]
            )

        return sequence(pieces(along, self.lanes, SUMS, piece, is_shared))

    def _across(self, along: Loop, at: At, _: bool) -> Stmt:
        """Neighbouring terms of one sum in a vector, whose lanes are added up in the end."""
        others = [each for each in self.loops if each.reduced and each is not along]
        lanes = min(self.lanes, along.extent)
        sums = [self.elements.register(lanes) for _ in range(max(1, min(SUMS, along.extent // lanes)))]

        def piece(r: At, start: Expr, vectors: int, size: int) -> Stmt:
            places = ({**at, **r, along.var: start + v * size} for v in range(vectors))
            return sequence(self._added(sums[v], place, along, size) for v, place in enumerate(places))

        def row(r: At) -> Stmt:
            return sequence(pieces(along, self.lanes, len(sums), lambda *where: piece(r, *where)))

        return sequence(
            [
                *allocated(sums),
                *map(self._cleared, sums),
                nested(others, row),
                *self._joined(sums, lanes),
                vector("lane", 1, lambda lane: self.elements.stored(load(sums[0], lane), at)),
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
            return stored(total, self.stage.combine(load(total, lane), self.elements.at(here)), lane)

        return each_lane(lanes, at, along, of)

    def _cleared(self, total: Buffer) -> Stmt:
        lanes = int(total.shape[0])
        assert self.stage.start is not None
        return store(total, broadcast(self.stage.start, lanes), span(0, lanes))
