"""Normalisations."""

from __future__ import annotations

from onnxprune.axes.facts import Facts, Tie, at
from onnxprune.axes.families.elementwise import same
from onnxprune.axes.rules import rule
from onnxprune.node import Node


@rule("BatchNormalization")
def batch_normalization(node: Node) -> Facts:
    """At inference one factor and one offset per channel (axis 1)."""
    if node.attrs.get("training_mode", 0) or any(t is not None for t in node.outputs[1:]):
        raise ValueError("it is in training mode")
    if any(node.x(index).rank != 1 for index in range(1, 5)):
        raise ValueError("it has factors per position")  # spatial=0 of opset 7 and 8
    yield from same(node.x(), node.y())
    for index in range(1, 5):
        yield Tie(at(node.x(), 1), at(node.x(index), 0))
