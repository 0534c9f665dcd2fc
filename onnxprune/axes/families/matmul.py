"""Gemm, and MatMul with a constant right-hand weight."""

from __future__ import annotations

from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.axes.families.elementwise import broadcast
from onnxprune.axes.linear import Linear, linear
from onnxprune.axes.rules import rule
from onnxprune.node import Node


def _linear(node: Node) -> Linear:
    view = linear(node)
    if view is None:
        raise ValueError("only a constant right-hand weight and an untransposed left-hand input are understood")
    return view


@rule("Gemm")
def gemm(node: Node) -> Facts:
    """y[m, n] = alpha · Σ_k x[m, k] w[k, n] + beta · bias, the bias broadcast to y."""
    view = _linear(node)
    yield Tie(at(view.x, 0), at(view.y, 0))
    yield Tie(at(view.x, 1), view.read)
    yield Tie(view.made, at(view.y, 1))
    if view.bias is not None:
        yield from broadcast(view.bias, view.y)


@rule("MatMul")
def matmul(node: Node) -> Facts:
    """y[…, n] = Σ_k x[…, k] w[k, n]; a batched weight's batch axes stay whole."""
    view = _linear(node)
    x, w, y = view.x, view.weight, view.y
    yield Tie(at(x, -1), view.read)
    if x.rank == 1:  # a vector: y has no row axis
        yield from (Pin(axis, "MatMul of a vector with a batched weight") for axis in y.axes()[:-1])
    else:
        yield Tie(at(x, -2), at(y, -2))
        yield from broadcast(x, y, skip=2)
    yield Tie(view.made, at(y, -1))
    yield from (Pin(at(w, dim), "batch axis of a MatMul weight") for dim in range((w.rank or 2) - 2))
    if w.rank != 2:
        yield from (Pin(axis, "batch axis of a MatMul") for axis in y.axes()[:-2])
