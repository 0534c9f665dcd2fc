"""What there is to say of a network's channels: frozen values, from which text, JSON, DOT and SVG are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from onnxprune.documents import as_json, headed, plain, schema_in

__all__ = ["Blocker", "Channels", "Explanation", "Flow", "Focus", "Operator", "Side", "Step", "schema"]


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """Why ``slots`` of an axis stay: ``kind`` is one of ``axes.reasons.KINDS``, ``node`` the operator to blame."""

    kind: str
    why: str
    node: str | None
    tensor: str | None
    slots: int


@dataclass(frozen=True, kw_only=True)
class Channels:
    """A group: channels that layers ``make`` and ``read``, and that other operators ``carry``.

    ``channels`` are the slots of its widest layer, of which ``free`` can be cut. They go in ``atoms``, the smallest
    sets that live or die together; ``axes`` gives the number of slots of every axis that takes part, and ``shared``
    the layers that make channels with one and the same weight.
    """

    group: int
    channels: int
    free: int
    atoms: int
    makes: tuple[str, ...]
    reads: tuple[str, ...]
    carries: tuple[str, ...]
    shared: Mapping[str, tuple[str, ...]]
    axes: Mapping[str, int]
    blockers: tuple[Blocker, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one axis to the next: ``node`` ties them."""

    node: str | None
    op: str | None
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """What an operator does with an axis (``makes``, ``reads``, ``carries``), and what is in the way of cutting it.

    ``blockers`` come nearest first, and ``path`` leads to the first of them.
    """

    role: str
    axis: str
    group: int | None
    slots: int | None
    free: int
    blockers: tuple[Blocker, ...]
    path: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Focus:
    """The operator that was asked for; ``note`` says what there is to say besides."""

    node: str
    op: str
    sides: tuple[Side, ...]
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator, or a graph input or output, with the channels that it hands on, of which ``free`` can be cut."""

    node: str
    op: str
    layer: bool
    group: int | None
    channels: int | None
    free: int | None


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A tensor on its way from one operator to another."""

    source: str
    target: str
    tensor: str
    group: int | None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Which channels of a network go together, which can be cut, and why others cannot.

    The fields are the keys of the JSON form (schema 1), to which keys may be added and from which none is taken.
    """

    SCHEMA: ClassVar[int] = 1

    model: str | None
    groups: tuple[Channels, ...]
    focus: Focus | None
    operators: tuple[Operator, ...]
    flows: tuple[Flow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The explanation in words that JSON has."""
        return headed(self.SCHEMA, plain(self))

    def to_json(self) -> str:
        """The explanation as JSON with sorted keys."""
        return as_json(self.to_dict())

    def to_dot(self) -> str:
        """The network as a graph for Graphviz, its groups in colours."""
        from onnxprune.explained.dot import dot

        return dot(self)

    def to_svg(self) -> str:
        """The same as a picture."""
        from onnxprune.explained.svg import draw

        return draw(self)

    def text(self, width: int = 100, *, colour: bool = False) -> str:
        """The explanation for a person."""
        from onnxprune.explained.text import text

        return text(self, width, colour)

    def __str__(self) -> str:
        return self.text()


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an explanation."""
    return schema_in("onnxprune.explained", "explanation.schema.json")
