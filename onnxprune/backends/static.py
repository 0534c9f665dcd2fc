"""A model whose inputs have fixed shapes, with all that follows from the shapes alone computed."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnxruntime as ort

from onnxprune.errors import BackendError, ModelError, unknown
from onnxprune.lift import lifted
from onnxprune.output import scratch

__all__ = ["fix_shapes", "folded", "graph_inputs", "open_sizes"]

FLOOR = 13  # since this opset, axes and sizes are inputs


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs a caller feeds, in order: old models list their weights among them."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def fix_shapes(proto: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """A copy of the model whose input shapes are static, with shape computations folded by onnxruntime.

    Exporters write ``Shape -> Gather -> Concat -> Reshape`` for what is a constant once the input is known, and an
    ``If`` on a rank; compilers want the constant and the branch.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    fixed.ir_version = max(proto.ir_version, 4)  # since 4, weights need not be inputs, and then they are constants
    inputs = graph_inputs(fixed.graph)
    _check_names(shapes, inputs)
    for value in inputs:
        _fix(value, shapes.get(value.name))
    del fixed.graph.input[:]
    fixed.graph.input.extend(inputs)
    return _modern(folded(fixed))


def open_sizes(proto: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The inputs that the model leaves sizes of open, in ``shapes``, as options that say so; "" when there are none."""
    inputs = [value for value in graph_inputs(proto.graph) if value.name in shapes]
    free = [value for value in inputs if not all(dim.dim_value for dim in value.type.tensor_type.shape.dim)]
    return " ".join(f"--shape {value.name}={','.join(map(str, shapes[value.name]))}" for value in free)


def _check_names(shapes: Mapping[str, tuple[int, ...]], inputs: list[onnx.ValueInfoProto]) -> None:
    names = [value.name for value in inputs]
    for name in shapes:
        if name not in names:
            raise BackendError(unknown("input", name, names))


def _fix(value: onnx.ValueInfoProto, wanted: tuple[int, ...] | None) -> None:
    tensor = value.type.tensor_type
    known = [dim.dim_value or None for dim in tensor.shape.dim]
    shape = tuple(known) if wanted is None else wanted
    if None in shape or not (tensor.HasField("shape") or wanted is not None):
        raise BackendError(f"input '{value.name}' leaves sizes open: {_written(tensor)}; {_option(value)}")
    if 0 in shape:
        raise BackendError(f"input '{value.name}' is to be {list(shape)}, which holds nothing; give it sizes above 0")
    if tensor.HasField("shape") and not _agrees(known, shape):
        raise BackendError(f"input '{value.name}' is {_written(tensor)} in the model and cannot be {list(shape)}")
    tensor.shape.CopyFrom(onnx.TensorShapeProto(dim=[onnx.TensorShapeProto.Dimension(dim_value=d) for d in shape]))


def _agrees(known: list[int | None], shape: tuple[int | None, ...]) -> bool:
    return len(known) == len(shape) and all(a in (None, b) for a, b in zip(known, shape, strict=True))


def _written(tensor: onnx.TypeProto.Tensor) -> str:
    return f"[{', '.join(str(dim.dim_value or dim.dim_param or '?') for dim in tensor.shape.dim)}]"


def _option(value: onnx.ValueInfoProto) -> str:
    """The option that binds its open sizes."""
    sizes = [str(dim.dim_value or 1) for dim in value.type.tensor_type.shape.dim]
    return f"give them, e.g. --shape {value.name}={','.join(sizes) or '1,3,224,224'}"


def _modern(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The compiler reads a node of an old opset as if it were of a newer one, and may take one setting for another."""
    if all(entry.domain or entry.version >= FLOOR for entry in proto.opset_import):
        return proto
    try:
        return folded(lifted(proto, FLOOR))
    except ModelError as error:
        raise BackendError(str(error)) from error


def folded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model after onnxruntime's basic optimisations; raises BackendError when it refuses the model."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # standard operators only
    with scratch() as folder:
        options.optimized_model_filepath = str(folder / "model.onnx")
        try:
            ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen classes with no common base
            raise BackendError(f"onnxruntime refuses the model with fixed shapes: {error}") from error
        return onnx.load(options.optimized_model_filepath)
