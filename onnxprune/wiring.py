"""The wiring of a graph, which node reads which tensor: all that onnx-graphsurgeon carries, and here alone.

What graphsurgeon would lose on a round trip (attributes of rare types, metadata, doc strings, exotic dtypes) stays in
protobuf. What a subgraph captures is wired as an extra input of its node, so that consumers, order and dead code
account for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from onnxprune.subgraphs import captures, inner_names

__all__ = ["Wired", "Wiring"]

gs.logger.G_LOGGER.severity = gs.logger.G_LOGGER.ERROR


@dataclass(frozen=True, eq=False)
class Wired:
    """A node: its protobuf, whose own inputs and outputs do not count, and the tensors that it reads and writes."""

    proto: onnx.NodeProto
    inputs: tuple[str, ...]
    captures: tuple[str, ...]
    outputs: tuple[str, ...]


class Wiring:
    """The nodes of a graph in an order in which they can be computed, by name; an omitted tensor is ``""``."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._protos = {n.name: n for n in proto.graph.node}
        self._captured = {n.name: names for n in proto.graph.node if (names := captures(n))}
        self._inner = {n.name: inner for n in proto.graph.node if (inner := frozenset(inner_names(n)))}
        self._graph = gs.import_onnx(_names_of(proto, self._captured))
        self._nodes = {n.name: n for n in self._graph.nodes}
        self._variables: dict[str, gs.Variable] = dict(self._graph.tensors())
        self._in_order = True

    def __iter__(self) -> Iterator[Wired]:
        if not self._in_order:  # once for any number of edits
            self._graph.toposort()
            self._in_order = True
        for node in self._graph.nodes:
            names = tuple(t.name for t in node.inputs)
            real = self._real(node)
            yield Wired(self._protos[node.name], names[:real], names[real:], tuple(t.name for t in node.outputs))

    def tensors(self) -> set[str]:
        """The names of all tensors, those that nobody reads or writes any more included."""
        return set(self._variables)

    def taken(self, name: str) -> bool:
        """Whether a node or a tensor has the name, one inside a subgraph included."""
        inside = any(name in names for names in self._inner.values())
        return inside or name in self._nodes or name in self._variables

    def captured(self, name: str) -> bool:
        """Whether some subgraph reads the tensor by this very name."""
        return any(name in names for names in self._captured.values())

    def add(self, proto: onnx.NodeProto, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        """Add a node that holds no subgraph, wherever it stands."""
        ends = [[self._variable(name) for name in names] for names in (inputs, outputs)]
        node = gs.Node(proto.op_type, proto.name, inputs=ends[0], outputs=ends[1])
        self._protos[proto.name], self._nodes[proto.name] = proto, node
        self._graph.nodes.append(node)
        self._in_order = False

    def remove(self, name: str) -> None:
        """Remove a node; its outputs are left without a producer."""
        node = self._nodes[name]
        node.inputs.clear()
        node.outputs.clear()
        position = next(i for i, n in enumerate(self._graph.nodes) if n is node)  # graphsurgeon compares by look
        del self._graph.nodes[position]
        del self._protos[name], self._nodes[name]
        for names in (self._captured, self._inner):
            names.pop(name, None)

    def set_attribute(self, name: str, attribute: str, value: Any) -> None:
        """Set an attribute of a node; None removes it."""
        held = onnx.NodeProto()
        held.CopyFrom(self._protos[name])
        kept = [a for a in held.attribute if a.name != attribute]
        del held.attribute[:]
        held.attribute.extend(kept if value is None else [*kept, onnx.helper.make_attribute(attribute, value)])
        self._protos[name] = held

    def set_input(self, name: str, index: int, tensor: str) -> None:
        """Let a node read another tensor, or with ``""`` none; inputs in between become omitted ones."""
        node = self._nodes[name]
        real = self._real(node)
        for _ in range(real, index + 1):
            node.inputs.insert(real, gs.Variable(""))
        node.inputs[index] = self._variable(tensor)
        if node.inputs[index].inputs:  # computed, perhaps by a node that stands further down
            self._in_order = False
        while (last := self._real(node) - 1) >= 0 and not node.inputs[last].name:
            del node.inputs[last]

    def set_output(self, name: str, index: int, tensor: str) -> None:
        """Let a node write another tensor."""
        self._nodes[name].outputs[index] = self._variable(tensor)

    def rewire(self, old: str, new: str) -> None:
        """Let every reader of ``old`` read ``new``."""
        source, target = self._variable(old), self._variable(new)
        for node in list(source.outputs):
            for index, tensor in enumerate(node.inputs):
                if tensor is source:
                    node.inputs[index] = target

    def release(self, name: str, spare: str, needed: Collection[str]) -> None:
        """Let nobody write a tensor: its producer writes ``spare``, or goes when none of its outputs is read or needed.

        The output is not omitted: of most operators none is optional.
        """
        for node in list(self._variables[name].inputs):
            for index, tensor in enumerate(node.outputs):
                if tensor.name == name:
                    node.outputs[index] = self._variable(spare)
            if not any(t.outputs or t.name in needed for t in node.outputs):
                self.remove(node.name)

    def _real(self, node: gs.Node) -> int:
        """How many of the inputs are the node's own."""
        return len(node.inputs) - len(self._captured.get(node.name, ()))

    def _variable(self, name: str) -> gs.Variable:
        return self._variables.setdefault(name, gs.Variable(name)) if name else gs.Variable("")


def _names_of(proto: onnx.ModelProto, captured: Mapping[str, list[str]]) -> onnx.ModelProto:
    """The graph reduced to names: what graphsurgeon is given."""
    lean = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    lean.graph.input.extend(onnx.ValueInfoProto(name=i.name) for i in proto.graph.input)
    lean.graph.output.extend(onnx.ValueInfoProto(name=o.name) for o in proto.graph.output)
    for node in proto.graph.node:
        inputs = [*node.input, *captured.get(node.name, ())]
        lean.graph.node.add(name=node.name, op_type=node.op_type, domain=node.domain, input=inputs, output=node.output)
    return lean
