"""One layer as a network of its own, in any number of channels: what a table of layer times is measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxprune.axes.linear import Linear
from onnxprune.model import Model
from onnxprune.node import Array, Node
from onnxprune.timing.clock import Run

__all__ = ["Layer", "layer_of"]

FUSED = ("Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh")  # computed along with the layer before
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
IR = 9


@dataclass(frozen=True)
class Layer:
    """An operator with a weight, and the activation behind it, whatever the number of channels.

    ``x`` and ``weight`` are shapes as they are; channels stand in dimension ``x_channel`` of x, in ``rows`` and
    ``columns`` of the weight. With ``groups`` > 1 the size of a group stays.
    """

    op: str
    opset: int
    attrs: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    dtype: str
    x_channel: int
    rows: int
    columns: int
    groups: int
    biased: bool
    activation: str | None
    activation_attrs: str
    limits: tuple[float, ...]

    def signature(self) -> str:
        """Equal for layers that take the same time at the same sizes."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def blocked(self) -> bool:
        """Whether channels are computed in blocks: those of a convolution are."""
        return self.op == "Conv"

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows and columns as they are."""
        return self.weight[self.rows], self.weight[self.columns]

    def run(self, rows: int, columns: int) -> Run:
        """The layer with so many rows and columns of its weight, and what to feed it."""
        rng = np.random.default_rng(0)
        weight, x = list(self.weight), list(self.x)
        groups = max(1, round(self.groups * rows / self.weight[self.rows]))
        rows = groups * (self.weight[self.rows] // self.groups) if self.groups > 1 else rows
        weight[self.rows], weight[self.columns] = rows, columns
        x[self.x_channel] = groups * columns
        attrs = json.loads(self.attrs) | ({"group": groups} if self.groups > 1 else {})
        made = {"w": _random(rng, weight, self.dtype) / np.asarray(np.sqrt(columns), self.dtype)}
        made |= {"b": np.zeros(rows, self.dtype)} if self.biased else {}
        nodes = [helper.make_node(self.op, ["x", *made], ["y"], **attrs)]
        if self.activation is not None:
            limits = {f"limit{k}": np.array(value, self.dtype) for k, value in enumerate(self.limits)}
            attrs = json.loads(self.activation_attrs)
            nodes.append(helper.make_node(self.activation, ["y", *limits], ["z"], **attrs))
            made |= limits
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(
            nodes,
            "layer",
            [helper.make_tensor_value_info("x", kind, x)],
            [onnx.ValueInfoProto(name=nodes[-1].output[0])],
            [numpy_helper.from_array(value, name) for name, value in made.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR)
        return proto, {"x": _random(rng, x, self.dtype)}


def layer_of(model: Model, view: Linear, shapes: Mapping[str, tuple[int, ...]]) -> Layer | None:
    """The layer of a linear operator; None for those that no table is made of."""
    node, x, weight = view.node, shapes.get(view.x.name, ()), view.weight
    plain = node.op in LAYERS and weight.constant and weight.dtype is not None and weight.dtype.kind == "f"
    if not plain or not x or (node.op == "MatMul" and weight.rank != 2) or node.x(0).name != view.x.name:
        return None
    after = _activation(model, node)
    limits = [t for t in after.inputs[1:] if t is not None] if after is not None else []
    return Layer(
        op=node.op,
        opset=node.opset,
        attrs=_written(node.attrs),
        x=x,
        weight=tuple(weight.size(d) or 1 for d in range(weight.rank or 0)),
        dtype=str(weight.dtype),
        x_channel=view.x_channel % len(x),
        rows=view.rows,
        columns=view.columns,
        groups=view.groups,
        biased=view.bias is not None,
        activation=after.op if after is not None else None,
        activation_attrs=_written(after.attrs) if after is not None else "{}",
        limits=tuple(float(t.value()) for t in limits),
    )


def _activation(model: Model, node: Node) -> Node | None:
    """The activation that onnxruntime computes along with the layer: the only reader of what it makes."""
    readers = model.consumers(node.y().name)
    if len(readers) != 1 or readers[0].domain or readers[0].op not in FUSED or model.is_output(node.y().name):
        return None
    others = readers[0].inputs[1:]
    return readers[0] if all(t is not None and t.constant and t.elements() == 1 for t in others) else None


def _written(attrs: Mapping[str, Any]) -> str:
    """Attributes as text; groups are told apart."""
    return json.dumps({k: _plain(v) for k, v in sorted(attrs.items()) if k != "group"})


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _random(rng: np.random.Generator, shape: list[int], dtype: str) -> Array:
    return rng.standard_normal(shape).astype(dtype)
