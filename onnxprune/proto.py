"""The two borders with protobuf: reading a file and inferring shapes, and writing."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import onnx

from onnxprune.counted import counted
from onnxprune.errors import ModelError
from onnxprune.external import entries, is_external, localise, place
from onnxprune.output import staged, write_atomically
from onnxprune.pieces import parsed
from onnxprune.sizes import SMALL, TWO_GB, nbytes
from onnxprune.subgraphs import all_nodes, inner_tensors
from onnxprune.weights import array, raw
from onnxprune.wire import wire

__all__ = ["data_file", "infer", "invalid", "orphan", "outline", "propagated", "read", "spell_out", "stripped", "write"]

LONG = 2**22  # elements of a vector
COUNTS = tuple(getattr(onnx.TensorProto, kind) for kind in ("INT32", "INT64", "FLOAT", "DOUBLE"))  # of what may count
PAGE = 4096  # bytes: where data begins in a file, so that it can be mapped


def read(path: Path) -> tuple[onnx.ModelProto, str]:
    """The model in a file, and the file's SHA-256; external data stays where it is, checked to lie inside its folder.

    Raises ModelError when the file is missing, empty, not a model, or its external data is not to be trusted.
    """
    try:
        with path.open("rb") as stream:
            proto, digest = parsed(stream)  # in one go: while a run goes on, the file may become another
    except OSError as error:
        raise ModelError(f"cannot read model '{path}': {error.strerror or error}") from error
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise ModelError(f"'{path}' is not an ONNX model (not a protobuf, or cut short): {error}") from error
    if not proto.ListFields():  # ByteSize would write it all out
        raise ModelError(f"'{path}' is empty: not an ONNX model")
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"'{path}' is not an ONNX model: it has no graph or no opset")
    for part in (proto.graph, *proto.functions):
        for tensor in filter(is_external, inner_tensors(part)):
            localise(tensor, path.parent)
    for tensor in filter(is_external, proto.graph.initializer):
        localise(tensor, path.parent)
    return proto, digest


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
        if not is_external(tensor) and nbytes(tensor) <= SMALL:
            lean.graph.initializer.append(tensor)
        else:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            lean.graph.input.append(info)
    return lean


def outline(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The name, the type and the shape of a large tensor, which says that its data is elsewhere; small ones whole."""
    if is_external(tensor) or nbytes(tensor) <= SMALL:
        return tensor
    outside = onnx.TensorProto.EXTERNAL
    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, data_location=outside)


def infer(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Check the model fully and infer the type of every tensor from its inputs alone, old interior shapes ignored.

    Raises ModelError for a graph that the ONNX checker or strict shape inference refuses.
    """
    lean = stripped(proto)
    tensors = [o.type.tensor_type for o in lean.graph.output if o.type.HasField("tensor_type")]
    shapeless = [tensor for tensor in tensors if not tensor.HasField("shape")]
    try:
        for tensor in shapeless:
            tensor.shape.SetInParent()  # the checker asks for a shape; inference would believe it
        onnx.checker.check_model(lean)
        for tensor in shapeless:
            tensor.ClearField("shape")
        known = _known(lean)
    except Exception as error:  # checker and inference raise several unrelated types
        raise invalid(error) from error
    return {v.name: v for v in (*known.output, *known.value_info, *known.input)}


def invalid(error: Exception) -> ModelError:
    """What is raised for a graph that the ONNX checker, shape inference or converter refuses."""
    return ModelError(f"the graph is invalid: {' '.join(str(error).split())[:400]}")


def _known(lean: onnx.ModelProto) -> onnx.GraphProto:
    """Strict inference, as often as there are sizes that can be counted which it left open."""
    known, told = _strictly(lean), {o.name for o in lean.graph.output}
    while found := [info for info in counted(known) if info.name not in told]:
        lean.graph.value_info.extend(found)
        told.update(info.name for info in found)
        known = _strictly(lean)
    return known


def _strictly(lean: onnx.ModelProto) -> onnx.GraphProto:
    """Strict inference; where it fails, again with defaults written out, of which onnx forgets some in functions."""
    try:
        return propagated(lean, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError:
        spell_out(lean)
        return propagated(lean, check_type=True, strict_mode=True)


def spell_out(proto: onnx.ModelProto) -> None:
    """Write the defaults of attributes into the nodes."""
    opset = max((o.version for o in proto.opset_import if o.domain == ""), default=1)
    for node in (n for n in all_nodes(proto.graph) if not n.domain):
        schema, given = onnx.defs.get_schema(node.op_type, opset), {a.name for a in node.attribute}
        defaults = (a.default_value for a in schema.attributes.values())
        node.attribute.extend(a for a in defaults if a.type and a.name not in given)


def propagated(lean: onnx.ModelProto, **checks: bool) -> onnx.GraphProto:
    """The graph with the shapes that onnx infers, values of shape computations followed.

    For that onnx writes out every vector that it meets, element by element: not so where one is absurdly long.
    """
    follow = not _mentions(lean, LONG) or not _mentions(onnx.shape_inference.infer_shapes(lean), LONG, values=False)
    return onnx.shape_inference.infer_shapes(lean, data_prop=follow, **checks).graph


def _mentions(lean: onnx.ModelProto, size: int, values: bool = True) -> bool:
    """Whether there is a vector that long, or, among the values of constants, a number that may make one so."""
    graph = lean.graph
    infos = (v.type.tensor_type.shape.dim for v in (*graph.input, *graph.value_info, *graph.output))
    numbers = (array(t) for t in graph.initializer if t.data_type in COUNTS) if values else ()
    return any(len(d) == 1 and d[0].dim_value > size for d in infos) or any((abs(n) > size).any() for n in numbers)


def data_file(path: Path) -> Path:
    """Where the weights of a model over 2 GB stand."""
    return path.with_name(f"{path.name}.data")


def orphan(path: Path) -> Path | None:
    """The data file that nobody reads any more once the model at ``path`` is replaced by one without; None if none."""
    data = data_file(path)
    try:
        if not data.is_file() or path.stat().st_size >= TWO_GB:
            return None
        held = onnx.load(path, load_external_data=False).graph.initializer
    except Exception:  # whatever is there, it is no model of ours
        return None
    return data if any(entries(t).get("location") == data.name for t in held) else None


def write(proto: onnx.ModelProto, path: Path) -> None:
    """Save a model atomically, always as the same bytes; over 2 GB the weights go to ``<name>.data`` beside it.

    Every tensor there begins at a multiple of 4096, with zeros before it; there is nothing else in the file.
    """
    whole, left = wire(proto), orphan(path)
    if whole.size < TWO_GB and left is None:
        return write_atomically(path, whole)
    with staged(path.parent, [] if left is None else [left.name]) as stage:
        model = stage / path.name
        if whole.size < TWO_GB:
            return write_atomically(model, whole)
        with data_file(model).open("wb") as data:
            lean = _beside(proto, data, data_file(path).name)
        model.write_bytes(lean.SerializeToString(deterministic=True))


def _beside(proto: onnx.ModelProto, data: BinaryIO, location: str) -> onnx.ModelProto:
    """The model without its larger weights, which are written to ``data``."""
    lean = onnx.ModelProto()
    lean.CopyFrom(proto)
    for tensor in lean.graph.initializer:
        if (size := nbytes(tensor)) > SMALL and tensor.data_type != onnx.TensorProto.STRING:
            data.write(bytes(-data.tell() % PAGE))
            offset = data.tell()
            data.writelines(raw(tensor))
            place(tensor, location=location, offset=offset, length=size)
    return lean
