"""Why something stays as it is, as data: a kind to sort by, words to read, and where the cause stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from onnxprune.node import Axis

__all__ = ["KINDS", "Reason"]

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "signature": "a graph input or output: who runs the network counts on its size",
        "no-rule": "nothing is known of the operator",
        "barrier": "the operator mixes or reorders channels as a whole",
        "subgraph": "the body of an If, Loop or Scan reads or writes it",
        "unknown-shape": "a rank or size is known at run time only",
        "operator": "the operator needs the axis whole",
        "unsupported": "the operator is known, but not in this form",
        "tie": "the sizes of what is tied do not match",
        "approximate": "a cut changes more than the removed channels: it takes --calib to heal it, or approximate=yes",
        "recipe": "keep= or the prune spec asks for it",
        "align": "what may go is no multiple of align=",
        "floor": "so few channels stay in any case",
        "goal": "others do less harm for what they save",
    }
)


@dataclass(frozen=True)
class Reason:
    """Why slots stay: ``kind`` is one of ``KINDS``, ``node`` the operator to blame and ``axis`` what it holds.

    Either is None where there is none: no node computes a graph input, and an option holds no axis.
    """

    kind: str
    why: str
    node: str | None = None
    axis: Axis | None = None
