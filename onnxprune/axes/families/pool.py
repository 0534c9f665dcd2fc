"""Pools and reductions: channels pass one by one, what is pooled stays whole, what is reduced changes the result."""

from __future__ import annotations

from onnxprune.axes.facts import Approximate, Facts, Pin, Tie, at
from onnxprune.axes.rules import rule
from onnxprune.node import Node


@rule("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
def pool(node: Node) -> Facts:
    """Batch and channel axes pass; spatial axes are pooled."""
    if any(t is not None for t in node.outputs[1:]):
        raise ValueError("its second output counts elements across all channels")
    x, y = node.x(), node.y()
    yield from (Tie(at(x, d), at(y, d)) for d in (0, 1))
    for tensor in (x, y):
        yield from (Pin(axis, "spatial: pooled") for axis in tensor.axes()[2:])


REDUCTIONS = [f"Reduce{name}" for name in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()]


@rule(*REDUCTIONS)
def reduction(node: Node) -> Facts:
    """The axes that are not reduced pass; a reduction of fewer slots is another one."""
    x, y, rank = node.x(), node.y(), node.x().rank or 0
    axes = node.setting("axes", 1)
    if axes is not None and axes.size:
        reduced = {int(a) % rank for a in axes.ravel()}
    else:
        reduced = set() if axes is None and node.attrs.get("noop_with_empty_axes", 0) else set(range(rank))
    left = [d for d in range(rank) if d not in reduced]
    yield from (Approximate(at(x, d), f"reduced by {node.op} '{node.name}'") for d in sorted(reduced))
    kept = range(rank) if node.attrs.get("keepdims", 1) else left
    for position, dim in enumerate(kept):
        if dim in reduced:
            yield Pin(at(y, position), f"reduced by {node.op} '{node.name}'")
        else:
            yield Tie(at(x, dim), at(y, position))
