"""Walking through what a node holds: attributes with graphs and tensors of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import onnx

from onnxprune.external import entries, is_external

__all__ = [
    "all_graphs",
    "all_nodes",
    "captures",
    "data_files",
    "graphs_of",
    "inner_names",
    "inner_tensors",
    "sparse_tensors",
]

Body: TypeAlias = onnx.GraphProto | onnx.FunctionProto


def graphs_of(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """The subgraphs in an attribute."""
    single = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []
    return single + list(attribute.graphs)


def all_nodes(graph: Body) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and those of the subgraphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in graphs_of(attribute):
                yield from all_nodes(inner)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and the subgraphs inside its nodes."""
    yield graph
    yield from (inner for node in all_nodes(graph) for attribute in node.attribute for inner in graphs_of(attribute))


def inner_tensors(graph: Body) -> Iterator[onnx.TensorProto]:
    """The tensors inside nodes (attributes, initializers of subgraphs), and the parts of all sparse ones."""
    for node in all_nodes(graph):
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            for inner in graphs_of(attribute):
                yield from inner.initializer
    for sparse in sparse_tensors(graph):
        yield from (sparse.values, sparse.indices)


def data_files(proto: onnx.ModelProto) -> frozenset[Path]:
    """The files in which tensors of a model stand that was read from a file."""
    held = (t for part in (proto.graph, *proto.functions) for t in inner_tensors(part))
    said = (entries(t) for t in (*proto.graph.initializer, *held) if is_external(t))
    return frozenset(Path(each["location"]) for each in said if "location" in each)


def sparse_tensors(graph: Body) -> Iterator[onnx.SparseTensorProto]:
    """The sparse tensors of a graph, and those inside its nodes."""
    yield from graph.sparse_initializer if isinstance(graph, onnx.GraphProto) else ()
    for node in all_nodes(graph):
        for attribute in node.attribute:
            yield from ([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])
            yield from attribute.sparse_tensors
            for inner in graphs_of(attribute):
                yield from inner.sparse_initializer


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
