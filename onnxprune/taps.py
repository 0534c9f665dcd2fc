"""Reading intermediate tensors: the part of a graph that computes them, with them as its outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import onnx

from onnxprune.external import is_external
from onnxprune.model import Model
from onnxprune.node import Node, Tensor
from onnxprune.runtime import Session
from onnxprune.weights import inlined

__all__ = ["Part", "apart", "part_of", "tapped"]


@dataclass(frozen=True)
class Part:
    """Some nodes of a graph in their order, and what they or their caller read that none of them computes."""

    nodes: tuple[Node, ...]
    reads: frozenset[str]


def part_of(model: Model, names: Iterable[str], given: Collection[str] = ()) -> Part:
    """What computes the tensors ``names`` where the tensors ``given`` are there already, and nothing more.

    A node of which only some outputs are given computes all of them anew where another one is needed.
    """
    needed, nodes = set(names), list[Node]()
    for node in reversed(model.nodes):
        if any(t is not None and t.name in needed and t.name not in given for t in node.outputs):
            nodes.append(node)
            needed.update(t.name for t in (*node.inputs, *node.captures) if t is not None)
    made = {t.name for node in nodes for t in node.outputs if t is not None}
    return Part(tuple(reversed(nodes)), frozenset(needed - made))


def tapped(model: Model, names: Iterable[str], threads: int = 0, given: Collection[str] = ()) -> Session:
    """A session that computes the tensors ``names``, in that order, and nothing that they do not need.

    It reads the tensors ``given``, of known type and any shape, as it reads graph inputs, where they are of use.
    """
    return Session(_cut_out(model, list(dict.fromkeys(names)), given), threads=threads)


def apart(model: Model, names: Sequence[str], given: Collection[str]) -> onnx.ModelProto:
    """What such a session runs as a graph of its own; raises ValueError where a tensor's type or rank is not known."""
    part = _cut_out(model, names, given)
    for tensor in filter(is_external, part.graph.initializer):
        tensor.CopyFrom(inlined(tensor))
    del part.graph.output[:]
    part.graph.output.extend(_open(model.tensor(name), ranked=True) for name in names)
    for value in part.graph.input:
        value.CopyFrom(_open(model.tensor(value.name), ranked=True))
    return part


def _cut_out(model: Model, wanted: Sequence[str], given: Collection[str]) -> onnx.ModelProto:
    found = part_of(model, wanted, given)
    kept, proto = {node.name for node in found.nodes}, model.lean()
    part = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    part.graph.name = "tapped"
    part.graph.node.extend(n for n in proto.graph.node if n.name in kept)
    own = {i.name: i for i in proto.graph.input if i.name in found.reads}
    part.graph.input.extend(own.values())
    part.graph.input.extend(
        _open(model.tensor(name)) for name in dict.fromkeys(given) if name in found.reads and name not in own
    )
    part.graph.initializer.extend(t for t in proto.graph.initializer if t.name in found.reads)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    return part


def _open(tensor: Tensor, *, ranked: bool = False) -> onnx.ValueInfoProto:
    """A graph input of the tensor's type and of any shape, or of any of its rank."""
    if tensor.dtype is None:
        raise ValueError(f"the type of tensor '{tensor.name}' is not known: it cannot be given")
    if ranked and tensor.rank is None:
        raise ValueError(f"the rank of tensor '{tensor.name}' is not known: no graph can begin or end there")
    kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
    sizes = [None] * tensor.rank if ranked and tensor.rank is not None else None
    return onnx.helper.make_tensor_value_info(tensor.name, kind, sizes)
