"""Make a graph that fails as small as it gets: every change is kept after which it fails in the same way."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

Fails: TypeAlias = Callable[[onnx.ModelProto], bool]
Move: TypeAlias = Callable[[onnx.ModelProto], Iterator[onnx.ModelProto]]


def shrunk(proto: onnx.ModelProto, fails: Fails, seconds: float = 120) -> onnx.ModelProto:
    """The smallest graph that greedy steps reach in that time; ``fails`` must hold of ``proto``, and holds of it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        smaller = next((c for c in _candidates(proto) if time.monotonic() < deadline and fails(c)), None)
        if smaller is None:
            break
        proto = smaller
    return proto


def _candidates(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Smaller graphs, the boldest first; many of them are no longer valid, which ``fails`` has to notice."""
    for candidate in itertools.chain.from_iterable(move(proto) for move in MOVES):
        _sweep(candidate.graph)
        if _size(candidate) < _size(proto):
            yield candidate


def _size(proto: onnx.ModelProto) -> tuple[int, int, int, int]:
    graph = proto.graph
    attributes = sum(len(node.attribute) + len(node.input) for node in graph.node)
    extras = len(proto.functions) + len(graph.value_info) + len(graph.output) + len(graph.input)
    return len(graph.node), attributes + extras, _numbers(proto), len(proto.SerializeToString())


def _numbers(proto: onnx.ModelProto) -> int:
    shapes = [tuple(t.dims) for t in proto.graph.initializer] + [_dims(v) for v in proto.graph.input]
    return sum(int(np.prod([d for d in shape if isinstance(d, int)], dtype=float)) for shape in shapes)


def _dims(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim)


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    twin = onnx.ModelProto()
    twin.CopyFrom(proto)
    return twin


def _types(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    try:
        graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except Exception:  # a graph that fails may well be one that cannot be inferred
        graph = proto.graph
    return {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}


def _end_earlier(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """The graph up to one of its nodes."""
    types = _types(proto)
    for node in proto.graph.node:
        if all(name in types for name in node.output if name):
            twin = _copy(proto)
            del twin.graph.output[:]
            twin.graph.output.extend(types[name] for name in node.output if name)
            yield twin


def _begin_later(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """A computed tensor becomes a graph input."""
    types = _types(proto)
    for index in reversed(range(len(proto.graph.node))):
        names = [name for name in proto.graph.node[index].output if name]
        if all(name in types for name in names):
            twin = _copy(proto)
            del twin.graph.node[index]
            twin.graph.input.extend(types[name] for name in names)
            yield twin


def _bypass(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Readers of a node read one of its inputs instead."""
    outputs = {value.name for value in proto.graph.output}
    for index, node in enumerate(proto.graph.node):
        for name in dict.fromkeys(node.input):
            if name and node.output[0] not in outputs:
                twin = _copy(proto)
                del twin.graph.node[index]
                for reader in twin.graph.node:
                    reader.input[:] = [name if read == node.output[0] else read for read in reader.input]
                yield twin


def _fewer_outputs(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    for index in range(len(proto.graph.output) if len(proto.graph.output) > 1 else 0):
        twin = _copy(proto)
        del twin.graph.output[index]
        yield twin


def _plainer(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Without old shapes, without an optional input, without an attribute."""
    twin = _copy(proto)
    del twin.graph.value_info[:]
    yield twin
    for index, node in enumerate(proto.graph.node):
        for place in reversed(range(1, len(node.input))):
            twin = _copy(proto)
            del twin.graph.node[index].input[place]
            yield twin
        for place in range(len(node.attribute)):
            twin = _copy(proto)
            del twin.graph.node[index].attribute[place]
            yield twin


def _smaller_sizes(proto: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """One size becomes a smaller one wherever it stands: in shapes, in constant sizes, as a number of groups."""
    sizes = {d for v in proto.graph.input for d in _dims(v) if isinstance(d, int)}
    sizes |= {d for t in proto.graph.initializer for d in t.dims}
    for size in sorted(sizes, reverse=True):
        for smaller in sorted({1, 2, 3, size // 2, size - 1}):
            if 0 < smaller < size:
                yield _resized(proto, size, smaller)


def _resized(proto: onnx.ModelProto, size: int, smaller: int) -> onnx.ModelProto:
    twin = _copy(proto)
    del twin.graph.value_info[:]
    for value in (*twin.graph.input, *twin.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value == size:
                dim.dim_value = smaller
    for output in twin.graph.output:
        output.type.tensor_type.ClearField("shape")
    for tensor in twin.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.int64:
            array = np.where(array == size, smaller, array)
        for axis in range(array.ndim):
            if array.shape[axis] == size:
                array = np.take(array, range(smaller), axis)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for attribute in (a for node in twin.graph.node for a in node.attribute):
        attribute.i = smaller if attribute.i == size else attribute.i
        attribute.ints[:] = [smaller if number == size else number for number in attribute.ints]
    return twin


def _sweep(graph: onnx.GraphProto) -> None:
    """Drop what no output needs."""
    alive = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if alive & set(node.output):
            alive |= set(node.input) | _inner_reads(node)
            kept.append(node)
    kept.reverse()
    nodes = onnx.GraphProto(node=kept).node
    del graph.node[:]
    graph.node.extend(nodes)
    for field in (graph.initializer, graph.input):
        dead = [index for index, each in enumerate(field) if each.name not in alive]
        for index in reversed(dead):
            del field[index]


def _inner_reads(node: onnx.NodeProto) -> set[str]:
    bodies = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    reads = {name for body in bodies for inner in body.node for name in (*inner.input, *_inner_reads(inner))}
    return reads | {value.name for body in bodies for value in body.output}


MOVES: tuple[Move, ...] = (_end_earlier, _begin_later, _bypass, _fewer_outputs, _plainer, _smaller_sizes)


def as_text(proto: onnx.ModelProto) -> str:
    """The graph as ONNX text, its numbers with few digits."""
    twin = _copy(proto)
    twin.graph.name = "shrunk"
    for tensor in twin.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f":
            tensor.CopyFrom(numpy_helper.from_array(np.round(array, 3).astype(array.dtype), tensor.name))
    return str(onnx.printer.to_text(twin))
