"""Walking through what a node holds: attributes with graphs and tensors of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import onnx

__all__ = ["all_nodes", "captures", "graphs_of", "inner_names", "inner_tensors"]


def graphs_of(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """The subgraphs in an attribute."""
    single = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []
    return single + list(attribute.graphs)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and those of the subgraphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in graphs_of(attribute):
                yield from all_nodes(inner)


def inner_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The tensors inside nodes: their attributes, and the initializers of their subgraphs."""
    for node in all_nodes(graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in graphs_of(attribute):
                yield from inner.initializer


def captures(node: onnx.NodeProto) -> list[str]:
    """The outer tensors that a node's subgraphs read, each once, in order."""
    found: dict[str, None] = {}
    for attribute in node.attribute:
        for graph in graphs_of(attribute):
            own = {t.name for t in graph.initializer} | {i.name for i in graph.input}
            own |= {name for inner in graph.node for name in inner.output}
            reads = itertools.chain.from_iterable((*inner.input, *captures(inner)) for inner in graph.node)
            found.update((n, None) for n in (*reads, *(o.name for o in graph.output)) if n and n not in own)
    return list(found)


def inner_names(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node's subgraphs give to tensors of their own."""
    for graph in (inner for attribute in node.attribute for inner in graphs_of(attribute)):
        yield from (value.name for value in (*graph.input, *graph.initializer))
        for inner in graph.node:
            yield from inner.output
            yield from inner_names(inner)
