"""What goes for some layers alone: tables of a recipe, by a regular expression that their names match."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from onnxprune.errors import UsageError, unknown
from onnxprune.model import Model
from onnxprune.node import Axis, Node
from onnxprune.options import Share, given, option

__all__ = ["Layer", "Layers", "kept_axes", "matched", "of_layers", "readable"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is wanted of a layer, whatever is wanted of the others."""

    keep: bool = option(False, "keeps its channels")
    ratio: Share | None = option(None, "share of its channels that it loses, whatever the budgets")
    align: int | None = option(None, "keeps a multiple of so many channels where it is cut")
    min: int | None = option(None, "keeps so many channels at least")

    def __post_init__(self) -> None:
        """Refuse what says nothing, or two things at once."""
        if not given(self):
            raise UsageError(f"says nothing; give some of {', '.join(f.name for f in fields(self))}")
        if self.keep and len(given(self)) > 1:
            raise UsageError("keep=true keeps all channels; leave out the rest")
        if any(value is not None and value < 1 for value in (self.align, self.min)):
            raise UsageError("align and min take a whole number, 1 or more")


Layers: TypeAlias = tuple[tuple[str, Layer], ...]


def readable(option: str, patterns: Iterable[str]) -> None:
    """Refuse what is no regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"{option}={pattern} is not a regular expression: {error}") from error


def matched(option: str, pattern: str, model: Model, of: str = "prune") -> list[Node]:
    """The nodes whose whole name a pattern matches; raises UsageError where there are none."""
    found = [node for node in model.nodes if re.fullmatch(pattern, node.name)]
    if not found:
        raise UsageError(f"pass '{of}': {option}: {unknown('node', pattern, [n.name for n in model.nodes])}")
    return found


def kept_axes(patterns: Iterable[str], layers: Layers, model: Model) -> set[Axis]:
    """The axes of the outputs of the nodes that keep their channels."""
    nodes = [node for pattern in patterns for node in matched("keep", pattern, model)]
    for pattern, layer in layers:
        nodes += [node for node in matched("layers", pattern, model) if layer.keep]
    return {axis for node in nodes for t in node.outputs if t is not None for axis in t.axes()}


def of_layers(layers: Layers, names: Iterable[str]) -> Mapping[str, Any]:
    """What goes for channels that several layers make, by option: the most cautious of what goes for each of them.

    For one layer, the last table that says something counts.
    """
    said: dict[str, list[Any]] = {}
    for name in names:
        own: dict[str, Any] = {}
        for pattern, layer in layers:
            own |= given(layer) if re.fullmatch(pattern, name) else {}
        for key, value in own.items():
            said.setdefault(key, []).append(value)
    return {key: CAUTIOUS[key](values) for key, values in said.items()}


CAUTIOUS: Mapping[str, Callable[[list[Any]], Any]] = {
    "keep": any,
    "ratio": min,
    "align": lambda values: math.lcm(*values),
    "min": max,
}
