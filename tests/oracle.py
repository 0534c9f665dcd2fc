"""The exact oracle: a pruned network equals the original in which the removed channels are read with weight zero."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from onnxprune.axes.silencing import silenced as silenced
from onnxprune.model import Model
from onnxprune.runtime import Session

RTOL = 1e-5
ZERO = 1e-9  # in float64, of networks whose numbers are about 1


def net(text: str, opset: int = 17, seed: int = 0) -> Model:
    """A model from ONNX text without its header; declared tensors that nothing produces become random weights."""
    return Model.load(net_proto(text, opset, seed))


def net_proto(text: str, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """The same as protobuf."""
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> net {text}')
    rng = np.random.default_rng(seed)
    graph = proto.graph
    made = {name for node in graph.node for name in node.output}
    declared = [v for v in graph.value_info if v.name not in made]
    for value in declared:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        weight = rng.normal(size=shape) / np.sqrt(max(np.prod(shape[1:], dtype=int), 1))
        if value.name.startswith(("scale", "var")):
            weight = np.abs(weight) + 0.5
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        graph.initializer.append(numpy_helper.from_array(np.asarray(weight, dtype), value.name))
        graph.value_info.remove(value)
    return proto


def feeds(model: Model, seed: int = 0, batch: int = 2) -> dict[str, np.ndarray]:
    """Normal inputs of the model's shapes; ``batch`` stands for every dynamic size."""
    rng = np.random.default_rng(seed)
    return {
        t.name: rng.normal(size=[d if isinstance(d, int) else batch for d in t.shape or ()]).astype(t.dtype)
        for t in model.inputs
    }


def run(model: Model, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs, the graph run exactly as written."""
    return Session(model.proto(), threads=1, optimise=False)(inputs)


def distance(after: Model, before: Model, seed: int = 0) -> float:
    """max|Δ| / max|y| of the worst output."""
    inputs = feeds(before, seed)
    return max(_relative(z, y) for z, y in zip(run(after, inputs), run(before, inputs), strict=True))


def _relative(z: np.ndarray, y: np.ndarray, zero: float = 0.0) -> float:
    """The largest difference as a share of the largest value; of values up to ``zero`` nothing but rounding is left."""
    assert z.shape == y.shape
    scale = max(float(np.abs(y).max(initial=0)), zero)
    return float(np.abs(z.astype(np.float64) - y).max(initial=0)) / (scale or 1.0)


def assert_same_function(after: Model, before: Model, rtol: float = RTOL) -> None:
    """Both compute the same; where float32 does not decide it, float64 does."""
    if (found := distance(after, before)) > rtol:
        inputs = {name: value.astype(np.float64) for name, value in feeds(before).items()}
        pairs = zip(_exact(after, inputs), _exact(before, inputs), strict=True)
        worst = max(_relative(z, y, ZERO) for z, y in pairs)
        assert worst <= rtol, f"outputs differ by {found:.2g} (float64: {worst:.2g})"


def assert_different_function(after: Model, before: Model, rtol: float = RTOL) -> None:
    """The control: an oracle that this passes can fail."""
    assert distance(after, before) > 100 * rtol


def _exact(model: Model, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs in float64."""
    from onnx.reference import ReferenceEvaluator

    proto = model.proto()
    single, double = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    for tensor in proto.graph.initializer:
        if tensor.data_type == single:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double
    for node in proto.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = double
    del proto.graph.value_info[:]
    return list(ReferenceEvaluator(proto).run(None, inputs))
