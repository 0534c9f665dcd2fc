"""Lifting a model to a newer opset: every operator that changed on the way is converted apart from its graph.

onnx's converter does the work, one version at a time; where it is wrong, the tables at the end put it right. All that
did not change (weights, names, metadata, operators of other domains) never passes through it and stays as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx
import onnx.version_converter
from onnx import helper, numpy_helper

from onnxprune.counted import shape_of
from onnxprune.errors import ModelError, first_line
from onnxprune.node import Array
from onnxprune.proto import invalid, propagated, stripped
from onnxprune.subgraphs import all_graphs, all_nodes, graphs_of
from onnxprune.weights import array

__all__ = ["lifted"]

BODIES = 9  # since this opset, operators with subgraphs mean what they mean now


def lifted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A copy in ``opset``, or in its own where that is newer; raises ModelError naming a node that cannot be lifted."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    (standard,) = (entry for entry in result.opset_import if entry.domain == "")
    for version in range(standard.version + 1, opset + 1):
        if any(_changes(node, version) for node in all_nodes(result.graph)):
            _Hop(version, _types(result), _constants(result), {*_names(result)}).through(result.graph)
        standard.version = version
    result.ir_version = max(result.ir_version, helper.find_min_ir_version_for(list(result.opset_import), True))
    return result


def _changes(node: onnx.NodeProto, version: int) -> bool:
    """Whether that version of the standard operators defines the node's anew; a Constant always says what it said."""
    if node.op_type == "Constant":
        return False
    try:
        return not node.domain and bool(onnx.defs.get_schema(node.op_type, version).since_version == version)
    except onnx.defs.SchemaError:  # an unknown operator, or one that comes later
        return False


def _names(proto: onnx.ModelProto) -> Iterator[str]:
    for graph in all_graphs(proto.graph):
        yield from (value.name for value in (*graph.input, *graph.initializer))
        yield from (name for node in graph.node for name in node.output)


def _constants(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    stored = {t.name: t for graph in all_graphs(proto.graph) for t in graph.initializer}
    spoken = [node for node in all_nodes(proto.graph) if node.op_type == "Constant" and not node.domain]
    return stored | {node.output[0]: a.t for node in spoken for a in node.attribute if a.name == "value"}


def _types(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """What is known of every tensor, those inside subgraphs included: no two have the same name."""
    try:
        known = propagated(stripped(proto))
    except Exception as error:  # inference raises several unrelated types
        raise invalid(error) from error
    found: dict[str, onnx.ValueInfoProto] = {}
    for graph in all_graphs(known):
        found |= {t.name: helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in graph.initializer}
        found |= {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    return found


@dataclass(frozen=True)
class _Hop:
    """From the opset before to ``version``; ``taken`` are the names that are not free."""

    version: int
    types: Mapping[str, onnx.ValueInfoProto] = field(repr=False)
    constants: Mapping[str, onnx.TensorProto] = field(repr=False)
    taken: set[str] = field(repr=False)

    def through(self, graph: onnx.GraphProto) -> None:
        """Convert the nodes that change, in the graph and in those inside it."""
        for node in graph.node:
            for body in (body for attribute in node.attribute for body in graphs_of(attribute)):
                self.through(body)
        nodes = list(onnx.GraphProto(node=graph.node).node)
        asked = [n for n in nodes if self._changes(n) and (n.op_type, self.version) not in INSTEAD]
        made = iter(self._converted(asked))
        del graph.node[:]
        for node in nodes:
            graph.node.extend(self._mended(node, made) if self._changes(node) else [node])

    def _changes(self, node: onnx.NodeProto) -> bool:
        has_body = any(graphs_of(attribute) for attribute in node.attribute)
        return _changes(node, self.version) and not (has_body and self.version > BODIES)

    def _converted(self, nodes: list[onnx.NodeProto]) -> list[list[onnx.NodeProto]]:
        """What onnx's converter makes of each node; one call for all, since every call costs it milliseconds."""
        try:
            return self._apart(nodes) if nodes else []
        except Exception:  # of all nodes: it does not say which one it cannot convert
            return [self._alone(node) for node in nodes]

    def _alone(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        try:
            return self._apart([node])[0]
        except Exception as error:  # the converter raises several unrelated types
            raise self._refusal(node, error) from error

    def _mended(self, node: onnx.NodeProto, converted: Iterator[list[onnx.NodeProto]]) -> list[onnx.NodeProto]:
        where = node.op_type, self.version
        try:
            if where in INSTEAD:
                return INSTEAD[where](self, node)
            made = next(converted)
            return AFTER[where](self, node, made) if where in AFTER else made
        except ValueError as error:
            raise self._refusal(node, error) from error

    def _refusal(self, node: onnx.NodeProto, error: Exception) -> ModelError:
        return ModelError(
            f"{node.op_type} '{node.name or node.output[0]}' cannot be lifted from opset {self.version - 1} to "
            f"{self.version} ({first_line(error)}): export the model in that opset, or in a newer one"
        )

    def _apart(self, nodes: list[onnx.NodeProto]) -> list[list[onnx.NodeProto]]:
        """Convert nodes side by side: none reads what another writes, for names are given their node's number."""
        apart = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", self.version - 1)])
        apart.graph.name = "apart"
        for k, node in enumerate(nodes):
            twin = apart.graph.node.add()
            twin.CopyFrom(node)
            twin.op_type = ALIKE.get((node.op_type, self.version), node.op_type)
            twin.input[:] = [f"{k}:{name}" if name else "" for name in node.input]
            twin.output[:] = [f"{k}:{name}" if name else "" for name in node.output]
            apart.graph.input.extend(self._typed(node.input, k))
            apart.graph.output.extend(self._typed(node.output, k))
        graph = onnx.version_converter.convert_version(apart, self.version).graph
        made = [*(helper.make_node("Constant", [], [t.name], value=t) for t in graph.initializer), *graph.node]
        parts = _parts(made, len(nodes))
        return [self._renamed(part, k, node) for k, (part, node) in enumerate(zip(parts, nodes, strict=True))]

    def _renamed(self, made: list[onnx.NodeProto], k: int, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Under the old names, with fresh ones for what is new."""
        names = {f"{k}:{name}": name for name in (*node.input, *node.output)} | {"": ""}
        for each in made:
            each.input[:] = [names[name] for name in each.input]
            names |= {name: self.fresh(node.output[0]) for name in each.output if name not in names}
            each.output[:] = [names[name] for name in each.output]
            if each.op_type == ALIKE.get((node.op_type, self.version), node.op_type):
                each.op_type = node.op_type
                each.metadata_props.extend(node.metadata_props)
        return made

    def fresh(self, stem: str) -> str:
        """A name that is free, from now on taken."""
        name = next(name for k in itertools.count(1) if (name := f"{stem}_lifted_{k}") not in self.taken)
        self.taken.add(name)
        return name

    def rank(self, name: str) -> int:
        """The number of dimensions of a tensor; raises ValueError when it is not known."""
        shape = shape_of(self.types.get(name, onnx.ValueInfoProto()))
        if shape is None:
            raise ValueError(f"the rank of '{name}' is not known")
        return len(shape)

    def kind(self, name: str) -> int:
        """The type of a tensor's elements; raises ValueError when it is not known."""
        if (info := self.types.get(name)) is None:
            raise ValueError(f"the type of '{name}' is not known")
        return info.type.tensor_type.elem_type

    def value(self, name: str) -> Array:
        """The value of a constant; raises ValueError for any other tensor."""
        if name not in self.constants:
            raise ValueError(f"'{name}' is computed at run time")
        return array(self.constants[name])

    def _typed(self, names: Iterable[str], k: int) -> Iterator[onnx.ValueInfoProto]:
        for name in filter(None, dict.fromkeys(names)):
            known = self.types.get(name, onnx.ValueInfoProto())
            yield onnx.ValueInfoProto(name=f"{k}:{name}", type=known.type if known.HasField("type") else None)


def _parts(made: list[onnx.NodeProto], count: int) -> list[list[onnx.NodeProto]]:
    """The nodes by the number of the node that they come from: that of what they write, or of who reads it."""
    parts: list[list[onnx.NodeProto]] = [[] for _ in range(count)]
    owner: dict[str, int] = {}
    for node in reversed(made):
        heads = ((name.partition(":")[0], name) for name in node.output if name)
        k = next((int(head) if head.isdigit() else owner.get(name) for head, name in heads), None)
        if k is not None:  # else nobody reads it
            owner |= dict.fromkeys(node.input, k)
            parts[k].insert(0, node)
    return parts


def _broadcast(hop: _Hop, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Before opset 7 the second input is aligned at ``axis``, that of a PRelu at the channels, now at the right."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    x, y = node.input
    right = hop.rank(x) - hop.rank(y)
    axis = min(1, right) if node.op_type == "PRelu" else attrs.get("axis", right)
    made = helper.make_node(node.op_type, [x, y], node.output, node.name, node.doc_string)
    if (ones := right - axis % max(hop.rank(x), 1)) <= 0:
        return [made]
    made.input[1] = hop.fresh(y)
    axes = range(hop.rank(y), hop.rank(y) + ones)
    return [helper.make_node("Unsqueeze", [y], [made.input[1]], axes=axes), made]


def _resize(hop: _Hop, node: onnx.NodeProto, made: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Opset 10 leaves no choice of where a pixel comes from; the converter sets no choice either (onnx issue 8480)."""
    made[-1].attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
    if all(helper.get_attribute_value(a) != b"linear" for a in node.attribute if a.name == "mode"):
        made[-1].attribute.append(helper.make_attribute("nearest_mode", _nearest(hop.value(node.input[1]))))
    return made


def _nearest(scales: Array) -> str:
    """As onnxruntime has it, which rounds up where an axis shrinks."""
    if (scales < 1).any() and (scales > 1).any():
        raise ValueError("it shrinks one axis and enlarges another")
    return "ceil" if (scales < 1).any() else "floor"


def _typed_constants(hop: _Hop, node: onnx.NodeProto, made: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The attributes that become inputs are float32 to the converter, whatever the operator works on."""
    kind = hop.kind(node.input[0])
    for each in made:
        for attribute in each.attribute:
            if attribute.t.data_type == onnx.TensorProto.FLOAT:
                value = numpy_helper.to_array(attribute.t).astype(helper.tensor_dtype_to_np_dtype(kind))
                attribute.t.CopyFrom(numpy_helper.from_array(value))
    return made


def _mask(hop: _Hop, node: onnx.NodeProto, made: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The mask of a Dropout becomes boolean; who reads it expects numbers."""
    kind = hop.kind(node.input[0])
    if len(node.output) < 2 or not node.output[1]:
        return made
    mask, made[-1].output[1] = node.output[1], hop.fresh(node.output[1])
    return [*made, helper.make_node("Cast", [made[-1].output[1]], [mask], to=kind)]


BINARY = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "PRelu", "Pow", "Sub", "Xor")
INSTEAD: dict[tuple[str, int], Callable[[_Hop, onnx.NodeProto], list[onnx.NodeProto]]]
INSTEAD = {(op, 7): _broadcast for op in BINARY}
AFTER: dict[tuple[str, int], Callable[[_Hop, onnx.NodeProto, list[onnx.NodeProto]], list[onnx.NodeProto]]]
AFTER = {("Dropout", 10): _mask, ("Clip", 11): _typed_constants, ("Pad", 11): _typed_constants, ("Resize", 11): _resize}
ALIKE = {("Hardmax", 13): "Softmax"}  # changed in the same way, and the converter does not know
