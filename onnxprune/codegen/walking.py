"""Axes walked: as loops around one another, or in pieces of whole vectors and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tvm.tirx import Expr, ForKind, Stmt, Var

from onnxprune.codegen.loops import i32, loop
from onnxprune.codegen.places import Loop

__all__ = ["nested", "pieces"]


def nested(loops: Sequence[Loop], body: Callable[[dict[Var, Expr]], Stmt], is_shared: bool = False) -> Stmt:
    """Loops around a body, the first one shared out to threads."""
    if not loops:
        return body({})
    first, *rest = loops

    def turn(i: Expr) -> Stmt:
        return nested(rest, lambda at: body({first.var: i + first.low, **at}))

    return loop(first.var.name, first.extent, turn, _kind(is_shared))


def pieces(
    along: Loop, lanes: int, vectors: int, body: Callable[[Expr, int, int], Stmt], is_shared: bool = False
) -> Iterator[Stmt]:
    """The axis in pieces of so many vectors, then single ones, then what is less: of start, vectors and lanes."""
    bundles, rest = divmod(along.extent, lanes * vectors)
    singles, tail = divmod(rest, lanes)
    start = along.low + bundles * lanes * vectors
    if bundles:
        size = lanes * vectors
        yield loop("bundle", bundles, lambda v: body(v * size + along.low, vectors, lanes), _kind(is_shared))
    if singles:
        yield loop("vector", singles, lambda v: body(v * lanes + start, 1, lanes))
    if tail:
        yield body(i32(start + singles * lanes), 1, tail)


def _kind(is_shared: bool) -> ForKind:
    return ForKind.PARALLEL if is_shared else ForKind.SERIAL
