"""Equations as MathML, which browsers draw by themselves: no script, no network."""

from __future__ import annotations

from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

__all__ = ["visit_block", "visit_inline"]


def visit_inline(writer: Any, node: Any) -> None:
    """An equation within a line."""
    writer.body.append(convert(node.astext()))
    raise SkipNode


def visit_block(writer: Any, node: Any) -> None:
    """An equation of its own."""
    writer.body.append(f'<p style="margin: 1em 0">{convert(node.astext(), display="block")}</p>')
    raise SkipNode
