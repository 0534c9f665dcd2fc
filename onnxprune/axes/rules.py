"""The two tables: operator → the facts it states, operator → how sizes inside it are repaired after a cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from typing import TypeAlias

from onnxprune.axes.facts import Fact, Facts, Pin, axes
from onnxprune.model import Model
from onnxprune.node import Axis, Node

__all__ = ["Size", "facts_of", "known", "refit", "refitted", "rule"]

Rule: TypeAlias = Callable[[Node], Facts]
Size: TypeAlias = Callable[[Axis], int]
Refit: TypeAlias = Callable[[Model, Node, Size], None]

_rules: dict[str, Rule] = {}
_refits: dict[str, Refit] = {}
FAMILIES = ("conv", "elementwise", "matmul", "norm", "pool", "shape")


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of operators: it is given a node of known ranks and yields facts.

    A rule that raises ValueError pins every axis of the node, with the error as the reason; an axis of which it says
    nothing is pinned too.
    """

    def register(function: Rule) -> Rule:
        clash = _rules.keys() & set(kinds)
        if clash:
            raise ValueError(f"two rules for {', '.join(sorted(clash))}")
        _rules.update(dict.fromkeys(kinds, function))
        return function

    return register


def refit(*kinds: str) -> Callable[[Refit], Refit]:
    """Register a function that repairs the sizes held in attributes or constant inputs of operators after a cut.

    It is given the model, the node as it was, and the new size of every axis.
    """

    def register(function: Refit) -> Refit:
        _refits.update(dict.fromkeys(kinds, function))
        return function

    return register


@cache
def _load() -> None:
    for family in FAMILIES:
        import_module(f"onnxprune.axes.{family}")


def known() -> frozenset[str]:
    """The operators that have a rule."""
    _load()
    return frozenset(_rules)


def facts_of(node: Node) -> Iterable[Fact]:
    """What is known of a node's axes: its rule's facts, or pins with the reason why there are none."""
    _load()
    where = f"{node.kind} '{node.name}'"
    if node.captures or node.op in ("If", "Loop", "Scan"):
        return list(_pins(node, f"read or written by the subgraph of {where}"))
    if (found := _rules.get(node.kind)) is None:
        return list(_pins(node, f"no rule for {where}"))
    unranked = [t.name for t in node.tensors() if t.rank is None]
    if unranked:
        return list(_pins(node, f"{where}: the rank of '{unranked[0]}' is unknown"))
    try:
        facts = list(found(node))
    except ValueError as error:
        return list(_pins(node, f"{where}: {error}"))
    named = {axis for fact in facts for axis in axes(fact)}
    silent = [axis for t in node.tensors() for axis in t.axes() if axis not in named and t.size(axis.dim) != 1]
    return [*facts, *(Pin(axis, f"kept whole by {where}") for axis in dict.fromkeys(silent))]


def _pins(node: Node, why: str) -> Facts:
    for tensor in node.tensors():
        yield from (Pin(axis, why) for axis in tensor.axes())


def refitted(model: Model, node: Node, size: Size) -> None:
    """Repair a node after a cut, where it holds sizes."""
    _load()
    if (repair := _refits.get(node.kind)) is not None:
        repair(model, node, size)
