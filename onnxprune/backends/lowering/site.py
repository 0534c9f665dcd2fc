"""The place of one node, where a rule writes others instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxprune.counted import shape_of
from onnxprune.node import Array
from onnxprune.proto import propagated, stripped
from onnxprune.subgraphs import all_graphs
from onnxprune.weights import array

__all__ = ["Known", "Site", "known"]


@dataclass(frozen=True)
class Known:
    """What is known of the tensors of a graph: types, values of constants, and the names that are not free."""

    opset: int
    types: Mapping[str, onnx.ValueInfoProto] = field(repr=False)
    constants: Mapping[str, onnx.TensorProto] = field(repr=False)
    taken: set[str] = field(repr=False)

    def fresh(self, stem: str) -> str:
        """A name that nothing has, and from now on something."""
        count = 0
        while (name := f"{stem}_{count}") in self.taken:
            count += 1
        self.taken.add(name)
        return name


@dataclass(frozen=True)
class Site:
    """A node, and what is written in its place; tensors are their names, and one that is omitted is ``""``."""

    node: onnx.NodeProto
    known: Known = field(repr=False)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def input(self, index: int) -> str:
        """The name of an input, ``""`` where it is omitted."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def output(self, index: int) -> str:
        """The name of an output, ``""`` where it is omitted."""
        return self.node.output[index] if index < len(self.node.output) else ""

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, texts decoded."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else _decoded(helper.get_attribute_value(found))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor; raises ValueError where it is not known."""
        shape = shape_of(self.known.types.get(name, onnx.ValueInfoProto()))
        if shape is None or not all(isinstance(size, int) for size in shape):
            raise ValueError(f"the shape of '{name}' is not known")
        return tuple(size for size in shape if isinstance(size, int))

    def dtype(self, name: str) -> np.dtype[Any]:
        """The type of a tensor's elements; raises ValueError where it is not known."""
        if name not in self.known.types:
            raise ValueError(f"the type of '{name}' is not known")
        return helper.tensor_dtype_to_np_dtype(self.known.types[name].type.tensor_type.elem_type)

    def value(self, name: str) -> Array | None:
        """The value of a constant, None for what is computed at run time."""
        return array(self.known.constants[name]) if name in self.known.constants else None

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """A new constant."""
        name = self.known.fresh(f"{self._stem}_constant")
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def emit(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A new node of one output, whose name is returned."""
        name = self.known.fresh(f"{self._stem}_{op}")
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def again(self, inputs: Iterable[str] | None = None, **attributes: Any) -> str:
        """The node once more, of other inputs or with other attributes: None takes one away."""
        held = {a.name: helper.get_attribute_value(a) for a in self.node.attribute} | attributes
        kept = {name: value for name, value in held.items() if value is not None}
        return self.emit(self.node.op_type, *(self.node.input if inputs is None else inputs), **kept)

    def slice(self, x: str, start: int, stop: int, axis: int) -> str:
        """A range of an axis."""
        return self.emit("Slice", x, *(self.constant([number]) for number in (start, stop, axis)))

    def reshape(self, x: str, shape: Iterable[int]) -> str:
        """The same elements in another shape."""
        return self.emit("Reshape", x, self.constant(list(shape)))

    def write(self, index: int, name: str) -> None:
        """Let an output of the node be what ``name`` is; of one that is omitted nothing happens."""
        if output := self.output(index):
            self.nodes.append(helper.make_node("Identity", [name], [output], self.known.fresh(f"{self._stem}_out")))

    @property
    def _stem(self) -> str:
        return self.node.name or next(filter(None, self.node.output))


def known(proto: onnx.ModelProto) -> Known:
    """What inference finds out about a model."""
    inferred = propagated(stripped(proto))
    types = {t.name: helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in proto.graph.initializer}
    types |= {value.name: value for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    constants = {t.name: t for t in proto.graph.initializer}
    opset = max((entry.version for entry in proto.opset_import if not entry.domain), default=0)
    taken = {name for graph in all_graphs(proto.graph) for node in graph.node for name in (node.name, *node.output)}
    return Known(opset, types, constants, {*taken, *types})


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
