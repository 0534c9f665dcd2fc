"""Statements of TVM's TIR, written down: loops, vector loads and stores, sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from tvm.tirx import (
    AllocBuffer,
    Bind,
    Broadcast,
    Buffer,
    BufferLoad,
    BufferStore,
    Evaluate,
    Expr,
    For,
    ForKind,
    Ramp,
    SeqStmt,
    Stmt,
    Var,
    decl_buffer,
)
from tvm.tirx import const as constant

from onnxprune.codegen.expressions import rebuilt, straight

__all__ = [
    *("Index", "allocated", "broadcast", "i32", "load", "loop", "parallel", "register", "sequence", "span", "store"),
    *("stored", "vector"),
]

Index: TypeAlias = "int | Expr"


def i32(value: Index) -> Expr:
    """An index as an expression."""
    return constant(value, "int32") if isinstance(value, int) else value


def sequence(statements: Iterable[Stmt | None]) -> Stmt:
    """One statement after another; None stands for nothing."""
    found = [each for each in statements if each is not None] or [Evaluate(i32(0))]
    return found[0] if len(found) == 1 else SeqStmt(found)


def loop(name: str, extent: Index, body: Callable[[Expr], Stmt], kind: ForKind = ForKind.SERIAL) -> Stmt:
    """``for name in range(extent)``; without a loop where the extent is known to be one."""
    if isinstance(extent, int) and extent == 1:
        return body(i32(0))
    variable = Var(name, "int32")
    return For(variable, i32(0), i32(extent), kind, body(variable))


def parallel(name: str, extent: Index, body: Callable[[Expr], Stmt]) -> Stmt:
    """A loop whose turns are shared out to the threads."""
    return loop(name, extent, body, ForKind.PARALLEL)


def vector(name: str, lanes: int, body: Callable[[Expr], Stmt]) -> Stmt:
    """Scalar statements for each lane, made one statement on vectors; what they bind lies in registers.

    TVM's simplifier reads through names, and takes (x + a) − a for x.
    """
    kept: list[Buffer] = []
    made = loop(name, lanes, lambda lane: _in_registers(body(lane), lane, lanes, kept), ForKind.VECTORIZED)
    return sequence([*allocated(kept), made])


def _in_registers(statement: Stmt, lane: Expr, lanes: int, kept: list[Buffer]) -> Stmt:
    if not isinstance(statement, SeqStmt):
        return statement
    names: dict[Var, Expr] = {}
    done: list[Stmt] = []
    for each in statement.seq:
        value = rebuilt(each.value, names, lambda inner, at: BufferLoad(inner.source, list(at)))
        if isinstance(each, Bind):
            kept.append(register(each.var.name, lanes, str(each.var.ty.dtype)))
            names[each.var] = BufferLoad(kept[-1], [lane])
            done.append(BufferStore(kept[-1], value, [lane]))
        else:
            done.append(BufferStore(each.buffer, value, list(each.indices)))
    return SeqStmt(done)


def stored(buffer: Buffer, value: Expr, *indices: Index) -> Stmt:
    """One element, in a statement after those that bind what its value reads repeatedly."""
    bindings: list[Stmt] = []

    def bind(part: Expr) -> Expr:
        name = Var("part", str(part.ty.dtype))
        bindings.append(Bind(name, part))
        return name

    last = store(buffer, straight(value, bind), *indices)
    return sequence([*bindings, last])


def register(name: str, lanes: int, dtype: str = "float32") -> Buffer:
    """A buffer that LLVM keeps in a vector register."""
    return decl_buffer((lanes,), dtype, name, scope="global")


def allocated(buffers: Iterable[Buffer]) -> list[Stmt]:
    """The statements that make the buffers exist from here to the end of the sequence."""
    return [AllocBuffer(buffer) for buffer in buffers]


def span(start: Index, lanes: int) -> Expr:
    """Consecutive indices."""
    return i32(start) if lanes == 1 else Ramp(i32(start), i32(1), lanes)


def load(buffer: Buffer, *indices: Index) -> Expr:
    """One element, or with ``span`` as its last index a vector of them."""
    return BufferLoad(buffer, [i32(index) for index in indices])


def store(buffer: Buffer, value: Expr, *indices: Index) -> Stmt:
    """One element, or a vector."""
    return BufferStore(buffer, value, [i32(index) for index in indices])


def broadcast(value: Expr | float, lanes: int) -> Expr:
    """The same number in every lane."""
    scalar = constant(value, "float32") if isinstance(value, float) else value
    return scalar if lanes == 1 else Broadcast(scalar, lanes)
