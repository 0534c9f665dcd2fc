"""What must hold of a file before anything reads it, and what neither protobuf nor the ONNX checker sees to."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

import onnx

from onnxprune.errors import ModelError
from onnxprune.subgraphs import all_graphs, all_nodes

__all__ = ["check_functions", "check_readable"]

MOST_NODES = 2**20
KINDS = frozenset(onnx.TensorProto.DataType.values())


def check_readable(proto: onnx.ModelProto) -> None:
    """Raise ModelError for names that are no text, types that are none, and attributes without a value.

    Local functions are looked into after they are inlined.
    """
    _check_names(proto.domain, proto.producer_name, *(entry.domain for entry in proto.opset_import))
    for graph in all_graphs(proto.graph):
        _check_names(*_names(graph))
        if twice := [name for name, count in Counter(value.name for value in graph.input).items() if count > 1]:
            raise ModelError(f"graph '{graph.name}' lists its input '{twice[0]}' twice; name it once")
        for value in (*graph.input, *graph.output):
            if (kind := value.type.tensor_type.elem_type) not in KINDS:
                raise ModelError(f"'{value.name}' of graph '{graph.name}' has no type that ONNX knows ({kind})")
        for node in graph.node:
            _check_split(node)
            for attribute in node.attribute:
                _check_attribute(node, attribute)


def check_functions(proto: onnx.ModelProto) -> None:
    """Raise ModelError where local functions that call each other would become more nodes than any memory holds."""
    calls = {_key(f): [_call(node) for node in _nodes(f.node)] for f in proto.functions}
    try:
        order = list(
            TopologicalSorter({key: set(called) & calls.keys() for key, called in calls.items()}).static_order()
        )
    except CycleError:  # the inliner names the function
        return
    nodes: dict[tuple[str, str, str], int] = {}
    for key in order:
        nodes[key] = sum(nodes.get(call, 1) for call in calls[key])
    total = sum(nodes.get(_call(node), 1) for node in all_nodes(proto.graph))
    if total > MOST_NODES:
        raise ModelError(f"the model's local functions come to {total:.2g} nodes when they are inlined: refused")


def _key(function: onnx.FunctionProto) -> tuple[str, str, str]:
    return function.domain, function.name, function.overload


def _call(node: onnx.NodeProto) -> tuple[str, str, str]:
    return node.domain, node.op_type, node.overload


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of the subgraphs inside them."""
    return all_nodes(onnx.GraphProto(node=nodes))


def _check_names(*names: str | bytes) -> None:
    """Raise ModelError for a name that is not UTF-8, of which protobuf hands out the bytes."""
    for name in names:
        if not isinstance(name, str):
            raise ModelError(f"the name {name!r} is not UTF-8; export the model anew")


def _names(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    yield graph.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
    yield from (t.name for t in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)))
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield from itertools.chain([value.name], (dim.dim_param for dim in value.type.tensor_type.shape.dim))


def _check_split(node: onnx.NodeProto) -> None:
    """The shape inference of onnx 1.23 aborts the process where a Split says another number than it has outputs."""
    said = [attribute.i for attribute in node.attribute if attribute.name == "num_outputs"]
    if node.op_type == "Split" and said and said[0] != len(node.output):
        raise ModelError(f"Split '{node.name}' has {len(node.output)} outputs and says {said[0]}; correct num_outputs")


def _check_attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    where = f"{node.op_type} '{node.name}': attribute '{attribute.name}'"
    if attribute.ref_attr_name:
        raise ModelError(f"{where} refers to '{attribute.ref_attr_name}', which only the body of a function can")
