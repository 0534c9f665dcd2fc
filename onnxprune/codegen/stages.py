"""A function that Relax has fused, as data: stages, each of which computes a buffer element by element.

A stage that is read once for each of its elements, or costs next to nothing, becomes a part of its readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from tvm import tirx
from tvm.ir import Call, TensorLoad
from tvm.s_tir import SBlock, SBlockRealize
from tvm.tirx import Buffer, BufferStore, Expr, For, IterVar, PrimFunc, SeqStmt, Stmt, Var
from tvm_ffi import structural_equal

from onnxprune.codegen.expressions import UnreadableError, choice_of, loads, parts, rebuilt
from onnxprune.codegen.polynomials import bound_to

__all__ = ["Axis", "Stage", "blocks_of", "stage_of", "stages_of"]

CHEAP = 12  # operations for each element that may be done again rather than stored
COSTLY = 10  # operations that a division or a function is worth
COMBINATIONS = (tirx.Add, tirx.Max, tirx.Min, tirx.Mul)


@dataclass(frozen=True)
class Axis:
    """One index of a stage, from 0 up to its extent."""

    var: Var
    extent: int


@dataclass(frozen=True)
class Stage:
    """``buffer[axes] = value``, or with ``reduced`` axes the combination of all values over them."""

    buffer: Buffer
    axes: tuple[Axis, ...]
    value: Expr
    reduced: tuple[Axis, ...] = ()
    combine: type[Expr] = tirx.Add
    start: Expr | None = None

    @property
    def indices(self) -> tuple[Expr, ...]:
        """Where the value is stored."""
        return tuple(axis.var for axis in self.axes)

    @property
    def steps(self) -> int:
        """How often the value is computed."""
        return prod(axis.extent for axis in (*self.axes, *self.reduced))

    @property
    def size(self) -> int:
        """Elements of the buffer."""
        return prod(axis.extent for axis in self.axes)


def stages_of(func: PrimFunc) -> list[Stage]:
    """The stages of a function, inlined; raises UnreadableError where a block is something else."""
    stages = [stage_of(block) for block in blocks_of(func)]
    if not stages:
        raise UnreadableError("nothing to compute")
    given = set(func.params)
    for buffer in [stage.buffer for stage in stages if stage.buffer not in given and not stage.reduced]:
        stages = _inlined(stages, next(stage for stage in stages if stage.buffer.same_as(buffer)))
    return stages


def blocks_of(func: PrimFunc) -> list[SBlock]:
    """The blocks of a function in the order of their execution."""
    body = func.body
    return list(_blocks(body.block.body)) if isinstance(body, SBlockRealize) else []


def _blocks(statement: Stmt) -> Iterator[SBlock]:
    match statement:
        case SeqStmt():
            for each in statement.seq:
                yield from _blocks(each)
        case For():
            yield from _blocks(statement.body)
        case SBlockRealize():
            yield statement.block


def stage_of(block: SBlock) -> Stage:
    """One block as a stage; raises UnreadableError where it does more than compute its own elements."""
    store = block.body
    if not isinstance(store, BufferStore):
        raise UnreadableError("a block that does more than store an element")
    kinds = (IterVar.DataPar, IterVar.CommReduce)
    if any(each.iter_type not in kinds for each in block.iter_vars):
        raise UnreadableError("an axis of another kind")
    axes, reduced = (
        tuple(Axis(each.var, _number(each.dom.extent)) for each in block.iter_vars if each.iter_type == kind)
        for kind in kinds
    )
    if len(axes) != len(store.indices) or any(
        not index.same_as(axis.var) for index, axis in zip(store.indices, axes, strict=True)
    ):
        raise UnreadableError("a stage that writes elsewhere than at its own position")
    if any(_number(size) != axis.extent for size, axis in zip(store.buffer.shape, axes, strict=True)):
        raise UnreadableError("a stage that writes a part of its buffer")
    if not reduced:
        return Stage(store.buffer, axes, store.value)
    value, combine = _combination(store)
    return Stage(store.buffer, axes, value, reduced, combine, _start(block, combine))


def _number(size: Expr) -> int:
    if not isinstance(size, tirx.IntImm) or int(size) < 1:
        raise UnreadableError("a size that is not known, or nothing at all")
    return int(size)


def _combination(store: BufferStore) -> tuple[Expr, type[Expr]]:
    """``buffer[i] = buffer[i] + value`` as the value and the kind of sum."""
    total = store.value
    if not isinstance(total, COMBINATIONS):
        raise UnreadableError("a reduction of another kind")
    if not (isinstance(total.a, TensorLoad) and total.a.source.same_as(store.buffer)):
        raise UnreadableError("a reduction that does not start from itself")
    return total.b, type(total)


def _start(block: SBlock, combine: type[Expr]) -> Expr:
    """What changes no value that it is combined with; TVM's own maximum starts from the least finite number."""
    first = block.init
    if not isinstance(first, BufferStore) or not isinstance(first.value, tirx.IntImm | tirx.FloatImm):
        raise UnreadableError("a reduction that does not start from a number")
    number, dtype = first.value.value, str(first.value.ty.dtype)
    finite = {tirx.Add: 0, tirx.Mul: 1}.get(combine)
    if finite is None and isinstance(first.value, tirx.FloatImm):
        return -tirx.infinity(dtype) if combine is tirx.Max else tirx.infinity(dtype)
    if finite not in (None, number):
        raise UnreadableError("a reduction that starts from a number that counts")
    return first.value


def _inlined(stages: Sequence[Stage], stage: Stage) -> list[Stage]:
    readers = [each for each in stages if _reads(each, stage.buffer)]
    again = sum(each.steps * _times(each, stage.buffer) for each in readers)
    if again > stage.size and _costs(stage.value) * again > CHEAP * stage.size:
        return list(stages)
    return [_with(each, stage) if each in readers else each for each in stages if each is not stage]


def _reads(stage: Stage, buffer: Buffer) -> list[TensorLoad]:
    return [each for each in loads(stage.value) if each.source.same_as(buffer)]


def _times(stage: Stage, buffer: Buffer) -> int:
    found = _reads(stage, buffer)
    return 1 if _at_one_place(found) else len(found)


def _at_one_place(found: Sequence[TensorLoad]) -> bool:
    """Whether all loads read the same element, which exists: an index may be computed under a condition."""
    first = found[0]
    simple = all(isinstance(index, Var | tirx.IntImm) for index in first.indices)
    return simple and all(structural_equal(list(each.indices), list(first.indices)) for each in found[1:])


def _with(reader: Stage, stage: Stage) -> Stage:
    found = _reads(reader, stage.buffer)

    def value(at: Iterable[Expr]) -> Expr:
        return rebuilt(stage.value, dict(zip((axis.var for axis in stage.axes), at, strict=True)), _keep)

    def swapped(known: Expr | None) -> Expr:
        def load(each: TensorLoad, at: Sequence[Expr]) -> Expr:
            if not each.source.same_as(stage.buffer):
                return _keep(each, at)
            return value(at) if known is None else known

        return rebuilt(reader.value, {}, load)

    if len(found) > 1 and _at_one_place(found):
        return replace(reader, value=bound_to(value(found[0].indices), swapped))
    return replace(reader, value=swapped(None))


def _keep(each: TensorLoad, at: Sequence[Expr]) -> Expr:
    return tirx.BufferLoad(each.source, list(at))


def _costs(value: Expr) -> int:
    """Operations to compute a value, roughly; indices are free, as loops take them apart."""
    return sum(_cost(each) for each in parts(value, False))


def _cost(each: Expr) -> int:
    if isinstance(each, tirx.Div | tirx.Let) or (isinstance(each, Call) and choice_of(each) is None):
        return COSTLY
    return not isinstance(each, Var | tirx.IntImm | tirx.FloatImm)
