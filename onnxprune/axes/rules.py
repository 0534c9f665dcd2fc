"""The three tables: operator → the facts it states, why it has none, how sizes inside it are repaired after a cut.

Our families of rules and those that come by entry point fill them in the same way. An operator of another domain is
written with it, as ``com.example.Swish``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeAlias, TypeVar

from onnxprune import plugins
from onnxprune.axes import families
from onnxprune.axes.facts import Fact, Facts, Pin, axes
from onnxprune.axes.left import Left
from onnxprune.errors import PassContractError, PassError, UsageError, first_line
from onnxprune.model import Model
from onnxprune.node import Node

__all__ = [
    "GROUP",
    "Declared",
    "barrier",
    "declarations",
    "facts_of",
    "fingerprint",
    "known",
    "load",
    "refit",
    "refitted",
    "rule",
]

Rule: TypeAlias = Callable[[Node], Facts]
Refit: TypeAlias = Callable[[Model, Node, Left], None]

T = TypeVar("T", bound=Callable[..., Any])
GROUP = "onnxprune.rules"
_rules: dict[str, Rule] = {}
_refits: dict[str, Refit] = {}
_barriers: dict[str, str] = {}


@dataclass(frozen=True)
class Declared:
    """What is declared of an operator: the rule it has, of which all operators of a family have one, or why none."""

    operator: str
    rule: Rule | None = None
    barrier: str | None = None


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of operators: it is given a node of known ranks and yields facts.

    A rule that raises ValueError pins every axis of the node, with the error as the reason; an axis of which it says
    nothing is pinned too.
    """
    return lambda function: _register(_rules, "rules", kinds, function)


def barrier(why: str, *kinds: str) -> None:
    """Declare that every axis of operators stays whole, and why; a rule that comes from elsewhere goes before it."""
    _barriers.update(dict.fromkeys(kinds, why))


def refit(*kinds: str) -> Callable[[Refit], Refit]:
    """Register a function that repairs the sizes held in attributes or constant inputs of operators after a cut.

    It is given the model, the node as it was, and what is left of every axis.
    """
    return lambda function: _register(_refits, "refits", kinds, function)


def _register(table: dict[str, T], what: str, kinds: Iterable[str], function: T) -> T:
    for kind in kinds:
        if kind in table and _identity(table[kind]) != _identity(function):  # equal: its module is imported again
            both = " and ".join(sorted(map(_home, (table[kind], function))))
            raise UsageError(f"there are two {what} for {kind}, in {both}; uninstall one of them")
    table.update(dict.fromkeys(kinds, function))
    return function


def _identity(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def _home(function: Callable[..., Any]) -> str:
    package = function.__module__.partition(".")[0]
    entries = plugins.found(GROUP, "families of rules").values()
    homes = (plugins.home(entry) for entry in entries if entry.module.partition(".")[0] == package)
    return next(homes, f"'{package}'")


@cache
def load() -> tuple[str, ...]:
    """Import all rules, our own and those of plug-ins; the modules of the latter.

    Raises PassError for a plug-in that cannot be imported, UsageError where two have a rule for the same operator.
    """
    for family in iter_modules(families.__path__, f"{families.__name__}."):
        import_module(family.name)
    entries = plugins.found(GROUP, "families of rules").values()
    return tuple(plugins.load(entry, "rules", PassError).__name__ for entry in entries)


def known() -> frozenset[str]:
    """The operators that have a rule."""
    load()
    return frozenset(_rules)


def declarations() -> list[Declared]:
    """What is declared of every operator, by name: an operator with a rule and a barrier is there twice."""
    load()
    found = [Declared(kind, rule=function) for kind, function in _rules.items()]
    found += [Declared(kind, barrier=why) for kind, why in _barriers.items()]
    return sorted(found, key=lambda each: each.operator)


def fingerprint() -> str:
    """A SHA-256 of the source of all plug-ins with rules: what is derived from facts depends on it."""
    digest = hashlib.sha256()
    for path in plugins.sources(load()):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def facts_of(node: Node) -> Iterable[Fact]:
    """What is known of a node's axes, under its name: its rule's facts, or pins with the reason why there are none."""
    load()
    where = f"{node.kind} '{node.name}'"
    if node.captures:
        return list(_pins(node, "subgraph", f"read or written by the subgraph of {where}"))
    if (found := _rules.get(node.kind)) is None:
        if (why := _barriers.get(node.kind)) is not None:
            return list(_pins(node, "barrier", f"{where}: {why}"))
        return list(_pins(node, "no-rule", f"no rule for {where}"))
    unranked = [t.name for t in node.tensors() if t.rank is None]
    if unranked:
        return list(_pins(node, "unknown-shape", f"{where}: the rank of '{unranked[0]}' is unknown"))
    try:
        facts = list(found(node))
    except ValueError as error:
        return list(_pins(node, "unsupported", f"{where}: {error}"))
    except Exception as error:  # whatever a plug-in does
        what = f"the rule of {_home(found)} for {where} failed"
        raise PassError(f"{what}: {type(error).__name__}: {first_line(error)}") from error
    named = {axis for fact in facts for axis in axes(fact)}
    if strange := sorted(named - {axis for t in node.tensors() for axis in t.axes()}):
        raise PassContractError(f"the rule of {_home(found)} for {where} speaks of {strange[0]}, which it has not")
    silent = [axis for t in node.tensors() for axis in t.axes() if axis not in named and t.size(axis.dim) != 1]
    facts += (Pin(axis, f"kept whole by {where}") for axis in dict.fromkeys(silent))
    return [replace(fact, node=node.name) for fact in facts]


def _pins(node: Node, kind: str, why: str) -> Facts:
    for tensor in node.tensors():
        yield from (Pin(axis, why, kind, node.name) for axis in tensor.axes())


def refitted(model: Model, node: Node, left: Left) -> None:
    """Repair a node after a cut, where it holds sizes."""
    load()
    if (repair := _refits.get(node.kind)) is not None:
        repair(model, node, left)
