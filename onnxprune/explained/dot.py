"""The network as a graph for Graphviz: operators, what flows between them, and their groups in colours."""

from __future__ import annotations

from collections.abc import Iterator

from onnxprune.explained.explanation import Explanation
from onnxprune.explained.picture import Look, look

__all__ = ["dot"]


def dot(explanation: Explanation) -> str:
    """The text of a DOT file."""
    return "\n".join(_lines(look(explanation))) + "\n"


def _lines(seen: Look) -> Iterator[str]:
    yield "digraph onnxprune {"
    yield '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10];'
    yield '  edge [fontname="Helvetica", fontsize=8];'
    for box in seen.boxes:
        border = 'color="#cf222e", penwidth=2' if box.held else 'color="#57606a"'
        yield f'  {_quoted(box.name)} [label={_quoted(box.label)}, fillcolor="{box.colour}", {border}];'
    for arrow in seen.arrows:
        style = 'color="#cf222e", penwidth=2.5' if arrow.marked else f'color="{arrow.colour}"'
        label = f", label={_quoted(arrow.label)}" if arrow.label else ""
        yield f"  {_quoted(arrow.source)} -> {_quoted(arrow.target)} [{style}{label}];"
    yield "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
