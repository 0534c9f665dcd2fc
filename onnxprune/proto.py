"""The two borders with protobuf: reading a file and inferring shapes, and writing atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx

from onnxprune.errors import ModelError, UsageError
from onnxprune.node import Shape
from onnxprune.subgraphs import inner_tensors
from onnxprune.weights import TWO_GB, inlined, is_external, localise

__all__ = ["infer", "read", "shape_of", "stripped", "write", "write_atomically"]

SMALL = 1024  # bytes: constants up to here may hold shapes and stay in the graph for shape inference


def read(path: Path) -> onnx.ModelProto:
    """The model in a file; external data stays where it is, checked to lie inside the model's folder.

    Raises ModelError when the file is missing, empty, not a model, or its external data is not to be trusted.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model '{path}': {error.strerror or error}") from error
    if not data:
        raise ModelError(f"'{path}' is empty: not an ONNX model")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise ModelError(f"'{path}' is not an ONNX model (not a protobuf, or cut short): {error}") from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"'{path}' is not an ONNX model: it has no graph or no opset")
    for tensor in filter(is_external, proto.graph.initializer):
        localise(tensor, path.parent)
    for tensor in filter(is_external, inner_tensors(proto.graph)):
        localise(tensor, path.parent)
        tensor.CopyFrom(inlined(tensor))
    return proto


def stripped(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large initializers turned into inputs: what shape inference and the checker need of it."""
    lean = onnx.ModelProto()
    graph = proto.graph
    for field in ("ir_version", "producer_name", "domain"):
        setattr(lean, field, getattr(proto, field))
    lean.opset_import.extend(proto.opset_import)
    lean.graph.name = graph.name
    for name in ("node", "input", "output", "sparse_initializer"):
        getattr(lean.graph, name).extend(getattr(graph, name))
    for tensor in graph.initializer:
        if not is_external(tensor) and tensor.ByteSize() <= SMALL:
            lean.graph.initializer.append(tensor)
        else:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            lean.graph.input.append(info)
    return lean


def infer(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Check the model fully and infer the type of every tensor from its inputs alone, old interior shapes ignored.

    Raises ModelError for a graph that the ONNX checker or strict shape inference refuses.
    """
    lean = stripped(proto)
    try:
        onnx.checker.check_model(lean)
        known = onnx.shape_inference.infer_shapes(lean, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as error:  # checker and inference raise several unrelated types
        text = " ".join(str(error).split())[:400]
        raise ModelError(f"the graph is invalid: {text}") from error
    return {v.name: v for v in (*known.input, *known.value_info, *known.output)}


def shape_of(info: onnx.ValueInfoProto) -> Shape | None:
    """The shape in a value info, None where the rank is unknown or the value is no tensor."""
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        return None
    dims = info.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims)


def write(proto: onnx.ModelProto, path: Path) -> None:
    """Save a model atomically, always as the same bytes; over 2 GB the weights go to ``<name>.data`` beside it."""
    if proto.ByteSize() < TWO_GB:
        return write_atomically(path, proto.SerializeToString(deterministic=True))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnxprune-") as folder:
        draft = Path(folder) / path.name
        data = f"{path.name}.data"
        onnx.save_model(proto, str(draft), save_as_external_data=True, location=data, size_threshold=SMALL)
        os.replace(draft.with_name(data), path.with_name(data))
        os.replace(draft, path)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or not there; raises UsageError when the folder does not allow it."""
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(draft, 0o666 & ~umask)
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror or error}") from error
