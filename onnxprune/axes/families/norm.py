"""Normalisations: exact where every channel has its own statistics, approximate where they are shared."""

from __future__ import annotations

from collections.abc import Iterable

from onnxprune.axes.facts import Approximate, Facts, Pin, Tie, at
from onnxprune.axes.families.elementwise import broadcast, same
from onnxprune.axes.left import Left
from onnxprune.axes.rules import refit, rule
from onnxprune.model import Model
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


def statistics(node: Node, dims: Iterable[int]) -> Facts:
    """Fewer slots along ``dims`` of the input have another mean, another norm."""
    for dim in dims:
        yield Approximate(at(node.x(), dim), f"{node.op} '{node.name}' takes statistics over it")


@rule("InstanceNormalization")
def instance_normalization(node: Node) -> Facts:
    """Every channel has its statistics, over its positions, and its factor and offset."""
    x = node.x()
    yield from same(x, node.y())
    yield from statistics(node, range(2, x.rank or 0))
    for index in (1, 2):
        yield Tie(at(x, 1), at(node.x(index), 0))


@rule("GroupNormalization")
def group_normalization(node: Node) -> Facts:
    """Statistics over the channels and positions of a group; every group loses the same channels."""
    x, groups = node.x(), int(node.attrs["num_groups"])
    channels = x.size(1)
    if channels is None or groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels cannot be shared out among {groups} groups")
    yield from same(x, node.y())
    yield from statistics(node, range(2 if channels == groups else 1, x.rank or 0))
    if channels != groups:
        yield Tie(at(x, 1), at(x, 1), modulo=channels // groups)
    for index in (1, 2):
        if node.x(index).size(0) == channels:  # before opset 21 there is one a group
            yield Tie(at(x, 1), at(node.x(index), 0))


@refit("GroupNormalization")
def group_count(model: Model, node: Node, left: Left) -> None:
    """There are as many groups as channels where each has one; otherwise all stay."""
    if node.x().size(1) == node.attrs["num_groups"]:
        model.set_attribute(node, "num_groups", left.size(at(node.x(), 1)))


@rule("LRN")
def local_response_normalization(node: Node) -> Facts:
    """Every channel is divided by the norm of its neighbours."""
    yield from same(node.x(), node.y())
    yield from statistics(node, [1])


@rule("LayerNormalization", "RMSNormalization")
def layer_normalization(node: Node) -> Facts:
    """Statistics over the last axes, from ``axis`` on; factor and offset are broadcast to the input."""
    x = node.x()
    start = int(node.attrs.get("axis", -1)) % (x.rank or 1)
    yield from same(x, node.y())
    yield from statistics(node, range(start, x.rank or 0))
    for parameter in node.inputs[1:]:
        if parameter is not None:
            yield from broadcast(parameter, x)
    for seen in node.outputs[1:]:  # mean and inverse deviation
        if seen is not None:
            yield from (Tie(at(x, dim), at(seen, dim)) for dim in range(start))


@rule("com.microsoft.SkipLayerNormalization", "com.microsoft.SkipSimplifiedLayerNormalization")
def skip_layer_normalization(node: Node) -> Facts:
    """A sum of inputs, which is the last output, normalised over the last axis."""
    if any(t is not None for t in node.outputs[1:3]):
        raise ValueError("it gives its statistics, for training")
    x = node.x()
    yield from statistics(node, [-1])
    for tensor in (*node.inputs, *node.outputs):
        if tensor is not None and tensor is not x:
            yield from broadcast(tensor, x)


@rule("LpNormalization")
def lp_normalization(node: Node) -> Facts:
    """Divided by the norm along one axis."""
    yield from same(node.x(), node.y())
    yield from statistics(node, [int(node.attrs.get("axis", -1))])


@rule("MeanVarianceNormalization")
def mean_variance_normalization(node: Node) -> Facts:
    """Statistics over some axes: by default over all but the channels."""
    yield from same(node.x(), node.y())
    yield from statistics(node, map(int, node.attrs.get("axes", (0, 2, 3))))


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node) -> Facts:
    """One axis shares out a sum of one; before opset 13 all axes from ``axis`` on do it together."""
    x, rank = node.x(), node.x().rank or 1
    start = int(node.attrs.get("axis", 1 if node.opset < 13 else -1)) % rank
    end = rank if node.opset < 13 else start + 1
    yield from same(x, node.y())
    yield from (Pin(at(x, d), f"shared out by {node.op} '{node.name}'") for d in range(start, end))
