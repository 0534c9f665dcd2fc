"""Walking through scalar expressions of TIR, and rebuilding them with other variables and other loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tvm import tirx
from tvm.ir import Call, TensorLoad
from tvm.tirx import Expr

from onnxprune.codegen.polynomials import on_vectors

__all__ = ["UnreadableError", "choice_of", "loads", "parts", "rebuilt", "straight"]

Load = Callable[[TensorLoad, Sequence[Expr]], Expr]

PAIRS = (
    *(tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Mod, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max),
    *(tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.And, tirx.Or),
    *(tirx.LShift, tirx.RShift, tirx.BitwiseAnd, tirx.BitwiseOr, tirx.BitwiseXor),
)
LEAVES = (tirx.IntImm, tirx.FloatImm)


class UnreadableError(Exception):
    """An expression or a function of a form that is not known here."""


def rebuilt(
    expr: Expr, variables: Mapping[tirx.Var, Expr], load: Load, known: Callable[[Expr], int | None] = lambda _: None
) -> Expr:
    """The expression with variables replaced, and each load by what ``load`` makes of it and its new indices.

    Where a condition is ``known`` to be 1 or 0, what it chooses is all that remains. Functions become what runs on
    vectors; what is bound gets a name of its own, as TVM wants each name bound once.
    Raises UnreadableError for a kind of expression that is not listed here.
    """

    def again(each: Expr) -> Expr:
        return rebuilt(each, variables, load, known)

    expr = _chosen(expr, known)
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
            return on_vectors(Call(expr.op, [again(a) for a in expr.args], expr.attrs, expr.ty_args, ret_ty=expr.ty))
        case tirx.Let():
            name = tirx.Var(expr.var.name, str(expr.var.ty.dtype))
            return tirx.Let(name, again(expr.value), rebuilt(expr.body, {**variables, expr.var: name}, load, known))
    if isinstance(expr, LEAVES):
        return expr
    if isinstance(expr, PAIRS):
        return type(expr)(again(expr.a), again(expr.b))
    raise UnreadableError(f"an expression of kind {type(expr).__name__}")


def straight(expr: Expr, bind: Callable[[Expr], Expr]) -> Expr:
    """The expression without bindings: ``bind`` is given each bound value in turn, and says how it is read.

    TVM's simplifier goes through a bound value and its body twice, and so through values within values exponentially
    often. What is guarded stays behind its guard.
    """
    known: dict[tirx.Var, Expr] = {}

    def again(each: Expr) -> Expr:
        match each:
            case tirx.Var():
                return known.get(each, each)
            case tirx.Let():
                known[each.var] = bind(again(each.value))
                return again(each.body)
            case tirx.Select():
                return tirx.Select(again(each.condition), again(each.true_value), again(each.false_value))
            case tirx.Cast():
                return tirx.Cast(each.ty.dtype, again(each.value))
            case tirx.Not():
                return tirx.Not(again(each.a))
            case Call() if choice_of(each) is not None:
                return rebuilt(each, known, lambda load, indices: load)
            case Call():
                return Call(each.op, [again(a) for a in each.args], each.attrs, each.ty_args, ret_ty=each.ty)
        return type(each)(again(each.a), again(each.b)) if isinstance(each, PAIRS) else each

    return again(expr)


def _chosen(expr: Expr, known: Callable[[Expr], int | None]) -> Expr:
    choice = choice_of(expr)
    while choice is not None and (which := known(choice[0])) is not None:
        expr = choice[1] if which else choice[2]
        choice = choice_of(expr)
    return expr


def choice_of(expr: Expr) -> tuple[Expr, Expr, Expr] | None:
    """The condition of a choice, and both alternatives."""
    if isinstance(expr, tirx.Select):
        return expr.condition, expr.true_value, expr.false_value
    if isinstance(expr, Call) and getattr(expr.op, "name", "") == "prim.if_then_else":
        return expr.args[0], expr.args[1], expr.args[2]
    return None


def parts(expr: Expr, indices: bool = True) -> Iterator[Expr]:
    """An expression and all that it is made of, from the outside in, ``indices`` of loads included or not.

    Raises UnreadableError as ``rebuilt`` does.
    """
    yield expr
    if indices or not isinstance(expr, TensorLoad):
        for each in _operands(expr):
            yield from parts(each, indices)


def _operands(expr: Expr) -> Sequence[Expr]:
    match expr:
        case TensorLoad():
            return list(expr.indices)
        case tirx.Select():
            return expr.condition, expr.true_value, expr.false_value
        case tirx.Cast():
            return (expr.value,)
        case tirx.Not():
            return (expr.a,)
        case Call():
            return list(expr.args)
        case tirx.Let():
            return expr.value, expr.body
    if isinstance(expr, (*LEAVES, tirx.Var)):
        return ()
    if isinstance(expr, PAIRS):
        return expr.a, expr.b
    raise UnreadableError(f"an expression of kind {type(expr).__name__}")


def loads(expr: Expr) -> list[TensorLoad]:
    """Every load of an expression, from left to right."""
    return [each for each in parts(expr) if isinstance(each, TensorLoad)]
