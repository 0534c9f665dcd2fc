"""The bench on which a random graph is built: its nodes, its constants and its live tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.shape_inference import infer_node_outputs

T = TypeVar("T")

CHANNELS = (3, 4, 5, 6, 8, 12)
MOST_CHANNELS = 24
IR_VERSION = {7: 3, 8: 3, 9: 4, 11: 6, 13: 7, 17: 8, 18: 8, 21: 10}  # by opset, as released together
RARE_IR_VERSION = IR_VERSION | {10: 5, 12: 7, 14: 7, 15: 8, 16: 8, 19: 9, 20: 9, 22: 10, 23: 11, 24: 12, 25: 13, 26: 13}
CONSTANTS_ARE_INPUTS = 3  # up to this IR version every initializer is a graph input too


@dataclass(frozen=True)
class Value:
    """A tensor of the graph."""

    name: str
    shape: tuple[int | str, ...]
    dtype: int = TensorProto.FLOAT

    @property
    def channels(self) -> int:
        return int(self.shape[1])

    @property
    def spatial(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.shape[2:])

    def info(self) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(self.name, self.dtype, self.shape)


class Builder:
    """Emits nodes that are valid at its opset and remembers which tensors still want a reader."""

    def __init__(self, seed: int, rare: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.rare = rare
        self.opset = self.choose(tuple(RARE_IR_VERSION if rare else IR_VERSION))
        batches: tuple[int | str, ...] = (1, 2, "N", "N")
        self.batch = self.choose(batches)
        self.live: list[Value] = []
        self._inputs: list[Value] = []
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[Value] = []
        self._initializers: dict[str, TensorProto] = {}
        self._known: dict[str, TensorProto] = {}  # constants in any form, for shape inference
        self._made: defaultdict[Hashable, list[Value]] = defaultdict(list)
        self._read: set[str] = set()
        self._names = 0
        self._in_body = False
        self._sharing = self.choose((0.0, 0.0, 0.6))
        self._constant_nodes = self.choose((0.0, 0.0, 0.3))
        self._wrapping = self.choose((0.0, 0.0, 0.12))
        self._listing = self.choose((0.0, 0.0, 0.0, 0.5))

    # Draws

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def choose(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def permutation(self, size: int) -> list[int]:
        return [int(i) for i in self.rng.permutation(size)]

    def axis(self, axis: int, rank: int = 4) -> int:
        """The axis, counted from the end at times, where the opset lets it."""
        return axis - rank if self.opset >= 11 and self.chance(0.3) else axis

    # Tensors

    @property
    def size(self) -> int:
        """How many tensors have been computed so far."""
        return len(self._tensors)

    def inputs(self) -> tuple[Value, ...]:
        return tuple(self._inputs)

    def input(self, *shape: int | str) -> Value:
        value = Value(f"x{len(self._inputs)}", shape)
        self._inputs.append(value)
        self.live.append(value)
        return value

    def loose(self) -> list[Value]:
        """The live tensors that nothing reads yet."""
        return [value for value in self.live if value.name not in self._read]

    def pick(self) -> Value:
        """A live tensor, mostly one that nothing reads yet."""
        loose = self.loose()
        return self.choose(loose if loose and self.chance(0.7) else self.live)

    def op(self, kind: str, *inputs: Value | None, **attributes: Any) -> Value:
        """The output of a new node; ``None`` leaves an optional input out."""
        return self.fan(kind, 1, *inputs, **attributes)[0]

    def fan(self, kind: str, outputs: int, *inputs: Value | None, **attributes: Any) -> list[Value]:
        """All outputs of a new node."""
        node = self._node(kind, outputs, inputs, attributes)
        values = self._infer(node, [value for value in inputs if value is not None])
        self._tensors += values
        return values

    def shaped(self, shape: Sequence[int | str], kind: str, *inputs: Value | None, **attributes: Any) -> Value:
        """The output of a new node whose shape inference cannot tell."""
        value = Value(self._node(kind, 1, inputs, attributes).output[0], tuple(shape))
        self._tensors.append(value)
        return value

    def choice(self, condition: Value, then: Callable[[], Value], otherwise: Callable[[], Value]) -> Value:
        """The output of an ``If`` whose bodies capture whatever they like; both give the same shape."""
        (one, shape), (other, _) = self._body("then", then), self._body("else", otherwise)
        node = self._node("If", 1, [condition], {"then_branch": one, "else_branch": other})
        return Value(node.output[0], shape)

    def loop(self, x: Value, rounds: int, body: Callable[[Value], Value]) -> Value:
        """What comes of ``x`` after so many rounds of a ``Loop`` whose body captures whatever it likes."""
        inner = Value(self._fresh("t"), x.shape)
        go, count = (Value(self._fresh("t"), (), kind) for kind in (TensorProto.BOOL, TensorProto.INT64))
        graph, shape = self._body("body", lambda: body(inner))
        graph.input.extend(value.info() for value in (count, go, inner))
        still = Value(self._fresh("t"), (), TensorProto.BOOL)
        graph.node.append(helper.make_node("Identity", [go.name], [still.name]))
        graph.output.insert(0, still.info())
        trips = self._stored("trips", np.array(rounds, np.int64))
        node = self._node("Loop", 1, [trips, None, x], {"body": graph})
        return Value(node.output[0], shape)

    # Constants

    def weight(self, *shape: int, reads: int) -> Value:
        """He-scaled weights for an operator each of whose outputs reads that many numbers."""
        return self.constant("weight", shape, lambda: self.rng.normal(0, (2 / reads) ** 0.5, shape))

    def shift(self, *shape: int) -> Value:
        """Numbers around zero, none of them near it."""
        return self.constant("shift", shape, lambda: self._signs(shape) * self.rng.uniform(0.1, 0.5, shape))

    def scale(self, *shape: int) -> Value:
        """Numbers around one."""
        return self.constant("scale", shape, lambda: self.rng.uniform(0.6, 1.5, shape))

    def number(self, value: float) -> Value:
        return self.constant("number", value, lambda: np.array(value, np.float64))

    def integers(self, *values: int) -> Value:
        """Sizes, axes or pads; equal ones may be one tensor."""
        return self.constant("integers", values, lambda: np.array(values, np.int64))

    def exact(self, role: str, array: np.ndarray) -> Value:
        """A constant of the array's own type."""
        return self._stored(role, array)

    def constant(self, role: str, key: Hashable, make: Callable[[], np.ndarray]) -> Value:
        """A constant: an earlier one of the same role and key at times, else a new one."""
        made = self._made[role, key]
        if made and self.chance(self._sharing):
            return self._wrapped(self.choose(made))
        array = make()
        integral = array.dtype == np.int64
        if not integral and self._in_graph_chance(self._wrapping / 3):
            return self.op("Cast", self._stored(role, array.astype(np.float16)), to=TensorProto.FLOAT)
        value = self._stored(role, array if integral else array.astype(np.float32))
        made.append(value)
        return value if integral else self._wrapped(value)

    # The whole

    def model(self, outputs: Sequence[Value]) -> onnx.ModelProto:
        """The graph from its inputs to these outputs."""
        ir_version = RARE_IR_VERSION[self.opset]
        listed = [t for t in self._initializers.values() if ir_version <= CONSTANTS_ARE_INPUTS or self._lists(t)]
        names = {value.name for value in outputs}
        graph = helper.make_graph(
            self._nodes,
            "random",
            [value.info() for value in self._inputs]
            + [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in listed],
            [value.info() for value in outputs],
            list(self._initializers.values()),
            value_info=[v.info() for v in self._tensors if v.name not in names] if self.chance(0.3) else [],
        )
        return helper.make_model(
            graph, ir_version=ir_version, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="generator"
        )

    # Below: how

    def _node(self, kind: str, outputs: int, inputs: Sequence[Value | None], attributes: dict[str, Any]) -> Any:
        names = [value.name if value is not None else "" for value in inputs]
        name = self._fresh(kind) if self.opset != 11 else ""  # nodes need no name
        node = helper.make_node(kind, names, [self._fresh("t") for _ in range(outputs)], name=name, **attributes)
        self._nodes.append(node)
        self._read.update(names)
        return node

    def _fresh(self, stem: str) -> str:
        self._names += 1
        return f"{stem}{self._names}"

    def _signs(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.choice([-1.0, 1.0], shape)

    def _in_graph_chance(self, share: float) -> bool:
        """Never inside a body, where a new node would be out of reach for later readers."""
        return not self._in_body and self.chance(share)

    def _lists(self, tensor: TensorProto) -> bool:
        """Whether a constant is an overridable input; sizes are not, or no shape would be known."""
        return tensor.data_type != TensorProto.INT64 and self.chance(self._listing)

    def _wrapped(self, constant: Value) -> Value:
        integral = constant.dtype == TensorProto.INT64
        return self.op("Identity", constant) if not integral and self.chance(self._wrapping) else constant

    def _stored(self, role: str, array: np.ndarray) -> Value:
        """The array as an initializer or as the output of a ``Constant`` node."""
        tensor = numpy_helper.from_array(array, self._fresh(role))
        self._known[tensor.name] = tensor
        speaks = array.dtype.kind == "f" or self.opset >= 9  # older Constant nodes hold floats alone
        if speaks and self._in_graph_chance(self._constant_nodes):
            self._nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
        else:
            self._initializers[tensor.name] = tensor
        return Value(tensor.name, array.shape, tensor.data_type)

    def _body(self, name: str, make: Callable[[], Value]) -> tuple[onnx.GraphProto, tuple[int | str, ...]]:
        outer = self._nodes, self._tensors
        self._nodes, self._tensors, self._in_body = [], [], True
        value = make()
        graph = helper.make_graph(self._nodes, name, [], [value.info()])
        (self._nodes, self._tensors), self._in_body = outer, False
        return graph, value.shape

    def _infer(self, node: onnx.NodeProto, inputs: list[Value]) -> list[Value]:
        types = infer_node_outputs(
            onnx.defs.get_schema(node.op_type, self.opset),
            node,
            {value.name: value.info().type for value in inputs},
            {value.name: self._known[value.name] for value in inputs if value.name in self._known},
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=RARE_IR_VERSION[self.opset],
        )
        return [self._value(name, types[name].tensor_type) for name in node.output]

    def _value(self, name: str, found: onnx.TypeProto.Tensor) -> Value:
        """The tensor as inferred; what a Reshape to (-1, …) leaves open in front is the batch."""
        sizes = [dim.dim_value or dim.dim_param for dim in found.shape.dim]
        shape = tuple(size or (self.batch if i == 0 else "?") for i, size in enumerate(sizes))
        if "?" in shape:
            raise ValueError(f"{name}: shape inference leaves {shape}; use an operator form that says its sizes")
        return Value(name, shape, found.elem_type)
