"""Passes are found by entry point, our own and those of others alike; only those that are named get imported."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint

from onnxprune import plugins
from onnxprune.errors import PassContractError, PassError, UsageError, unknown
from onnxprune.options import forms, summary
from onnxprune.passes import Pass

__all__ = ["GROUP", "load", "names", "summaries"]

GROUP = "onnxprune.passes"


def names() -> tuple[str, ...]:
    """The names of all passes that are installed, sorted; none of them is imported."""
    return tuple(sorted(_found()))


def load(name: str) -> type[Pass]:
    """The pass of that name."""
    found = _found()
    if name not in found:
        raise UsageError(unknown("pass", name, found))
    return _import(found[name])


def summaries() -> dict[str, str]:
    """One line about each pass; a pass that cannot be imported says so there."""
    return {name: _summary(entry) for name, entry in sorted(_found().items())}


def _found() -> dict[str, EntryPoint]:
    return plugins.found(GROUP, "passes")


def _summary(entry: EntryPoint) -> str:
    try:
        return summary(_import(entry))
    except PassError as error:
        return f"({error})"


def _import(entry: EntryPoint) -> type[Pass]:
    loaded: object = plugins.load(entry, "pass", PassError)
    if not isinstance(loaded, type):
        raise PassContractError(f"pass '{entry.name}': {entry.value} is not a class")
    if faults := list(_faults(loaded, entry.name)):
        raise PassContractError(f"pass '{entry.name}': {entry.value} {' and '.join(faults)}")
    return loaded


def _faults(cls: type[Pass], name: str) -> Iterable[str]:
    params = vars(cls).get("__dataclass_params__")
    if params is None or not params.frozen:
        yield "is not a frozen dataclass"
    elif "use" in forms(cls):
        yield "has an option 'use', which names the pass in a recipe"
    if getattr(cls, "name", None) != name:
        yield f"has the name {getattr(cls, 'name', None)!r} and not {name!r}"
    if getattr(cls, "run", Pass.run) is Pass.run:
        yield "has no method run(model, ctx)"
