"""Maps whose operands lie along another axis than their results: squares of elements, each turned in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tvm.ir import TensorLoad
from tvm.tirx import Buffer, BufferLoad, Expr, Stmt

from onnxprune.codegen.elements import At, Elements, each_lane
from onnxprune.codegen.loops import allocated, load, sequence, span
from onnxprune.codegen.places import Loop
from onnxprune.codegen.transposing import turned
from onnxprune.codegen.walking import pieces

__all__ = ["Squares"]

MANY = 3  # elements along each side of a square that is worth turning


@dataclass(frozen=True)
class Squares:
    """Vectors of ``lanes`` results lie ``along`` one axis, and what does not lie along that lies ``across``."""

    elements: Elements
    lanes: int
    along: Loop
    across: Loop

    @classmethod
    def found(cls, elements: Elements, loops: Sequence[Loop], along: Loop, lanes: int) -> Squares | None:
        """The squares of a stage, None where all lies along the axis of the vectors, or nothing is gained."""
        if elements.stage.reduced or lanes == 1 or elements.target.steps.get(along.var) != 1 or along.extent < MANY:
            return None
        every = [cls(elements, lanes, along, each) for each in loops if each is not along and each.extent >= MANY]
        if not every or not every[0]._strided:
            return None
        return next((each for each in every if each._is_beside), None) or next(
            (each for each in every if each._turns), None
        )

    @property
    def _strided(self) -> list[TensorLoad]:
        places = self.elements.places.items()
        return [each for each, place in places if place.steps.get(self.along.var) not in (0, 1)]

    @property
    def _is_beside(self) -> bool:
        """Whether all that is read lies across: then the values may be computed there, and turned."""
        return all(each.steps.get(self.across.var) in (0, 1) for each in self.elements.places.values())

    @property
    def _turns(self) -> bool:
        steps = [self.elements.places[each].steps for each in self._strided]
        return all(self.along.var in each and each.get(self.across.var) == 1 for each in steps)

    def body(self, at: At, is_shared: bool) -> Stmt:
        """Squares of as many elements as a vector has lanes."""

        def column(start: Expr, _: int, high: int) -> Stmt:
            def row(first: Expr, _: int, wide: int) -> Stmt:
                return self._square({**at, self.along.var: first, self.across.var: start}, wide, high)

            return sequence(pieces(self.along, self.lanes, 1, row))

        return sequence(pieces(self.across, self.lanes, 1, column, is_shared))

    def _square(self, at: At, wide: int, high: int) -> Stmt:
        if min(wide, high) < MANY:
            return sequence(self._stored({}, self._below(at, q), wide) for q in range(high))
        return sequence((self._turned_values if self._is_beside else self._turned_operands)(at, wide, high))

    def _beside(self, at: At, q: int) -> At:
        return {**at, self.along.var: at[self.along.var] + q}

    def _below(self, at: At, q: int) -> At:
        return {**at, self.across.var: at[self.across.var] + q}

    def _turned_values(self, at: At, wide: int, high: int) -> Iterator[Stmt]:
        """Values are computed along the other axis."""
        elements = self.elements
        rows = [elements.register(high) for _ in range(wide)]
        yield from allocated(rows)
        for q, row in enumerate(rows):
            yield each_lane(high, self._beside(at, q), self.across, partial(elements.kept, row))
        values = [load(row, span(0, high)) for row in rows]
        turning, columns = turned(values, high, self.lanes, str(elements.stage.buffer.dtype))
        yield from (*allocated(columns), *turning)
        for q, column in enumerate(columns):
            yield elements.emptied(column, self._below(at, q), self.along, wide)

    def _turned_operands(self, at: At, wide: int, high: int) -> Iterator[Stmt]:
        """What lies along the other axis is turned when it is read."""
        columns: dict[TensorLoad, list[Buffer]] = {}
        for each in self._strided:
            place = self.elements.places[each]
            starts = [self.elements.indices(place, self._beside(at, q)) for q in range(wide)]
            rows = [BufferLoad(place.buffer, [*index[:-1], span(index[-1], high)]) for index in starts]
            turning, columns[each] = turned(rows, high, self.lanes, str(place.buffer.dtype))
            yield from (*allocated(columns[each]), *turning)
        for q in range(high):
            yield self._stored({each: found[q] for each, found in columns.items()}, self._below(at, q), wide)

    def _stored(self, known: dict[TensorLoad, Buffer], at: At, wide: int) -> Stmt:
        """A row of results, some of whose operands are in registers."""
        elements = self.elements
        return each_lane(
            wide, at, self.along, lambda here, lane: elements.stored(elements.given(known, here, lane), here)
        )
