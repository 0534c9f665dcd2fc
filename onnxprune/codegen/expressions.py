"""Rebuilding scalar expressions of TIR with other variables and other loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tvm import tirx
from tvm.ir import Call, TensorLoad
from tvm.tirx import Expr

__all__ = ["UnreadableError", "loads", "rebuilt"]

Load = Callable[[TensorLoad, Sequence[Expr]], Expr]

PAIRS = (
    *(tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Mod, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max),
    *(tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.And, tirx.Or),
)
LEAVES = (tirx.IntImm, tirx.FloatImm)


class UnreadableError(Exception):
    """An expression or a function of a form that is not known here."""


def rebuilt(expr: Expr, variables: Mapping[tirx.Var, Expr], load: Load) -> Expr:
    """The expression with variables replaced, and each load by what ``load`` makes of it and its new indices.

    Raises UnreadableError for a kind of expression that is not listed here.
    """

    def again(each: Expr) -> Expr:
        return rebuilt(each, variables, load)

    match expr:
        case tirx.Var():
            return variables.get(expr, expr)
        case TensorLoad():
            return load(expr, [again(index) for index in expr.indices])
        case tirx.Select():
            return tirx.Select(again(expr.condition), again(expr.true_value), again(expr.false_value))
        case tirx.Cast():
            return tirx.Cast(expr.ty.dtype, again(expr.value))
        case tirx.Not():
            return tirx.Not(again(expr.a))
        case Call():
            return Call(expr.op, [again(each) for each in expr.args], expr.attrs, expr.ty_args, ret_ty=expr.ty)
    if isinstance(expr, LEAVES):
        return expr
    if isinstance(expr, PAIRS):
        return type(expr)(again(expr.a), again(expr.b))
    raise UnreadableError(f"an expression of kind {type(expr).__name__}")


def loads(expr: Expr) -> list[TensorLoad]:
    """Every load of an expression, from left to right."""
    found: list[TensorLoad] = []

    def seen(each: TensorLoad, indices: Sequence[Expr]) -> Expr:
        found.append(each)
        return each

    rebuilt(expr, {}, seen)
    return found
