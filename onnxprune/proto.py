"""The two borders with protobuf: reading and normalising a file, inferring shapes, writing atomically.

Normalisation is done once, so that no rule repeats it: local functions are inlined, the domain ``ai.onnx`` is
written ``""``, ``Constant`` nodes become initializers, initializers leave the graph inputs, an ``Identity`` of an
initializer is that initializer, every node has a unique name.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import numpy_helper

from onnxprune.errors import ModelError, UsageError
from onnxprune.node import Array, Shape

__all__ = [
    "OPSETS",
    "array",
    "captures",
    "infer",
    "inlined",
    "inner_names",
    "normalise",
    "read",
    "shape_of",
    "stored_bits",
    "stripped",
    "write",
    "write_atomically",
]

OPSETS = range(7, 27)
SMALL = 1024  # bytes: constants up to here may hold shapes and stay in the graph for shape inference
TWO_GB = 2**31 - 2**20


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
    for tensor in filter(_is_external, proto.graph.initializer):
        _localise(tensor, path.parent)
    for tensor in filter(_is_external, _nested(proto.graph)):
        _localise(tensor, path.parent)
        tensor.CopyFrom(inlined(tensor))
    return proto


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _nested(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The tensors inside nodes: their attributes, and the initializers of their subgraphs."""
    for node in _all_nodes(graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in _graphs_of(attribute):
                yield from inner.initializer


def _localise(tensor: onnx.TensorProto, folder: Path) -> None:
    """Make the location of external data absolute, after checking that it is where it says it is."""
    entries = {e.key: e.value for e in tensor.external_data}
    path = (folder / entries.get("location", "")).resolve()
    where = f"external data of '{tensor.name}' ({entries.get('location')!r})"
    if not path.is_relative_to(folder.resolve()):
        raise ModelError(f"{where} lies outside the model's folder: refused; move the file beside the model")
    if not path.is_file():
        raise ModelError(f"{where} is missing: copy it beside the model")
    try:
        offset, size = int(entries.get("offset", 0)), _nbytes(tensor)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{where} has no sound type or offset: {error}") from error
    if min(offset, size) < 0 or path.stat().st_size < offset + size:
        raise ModelError(f"{where} is shorter than declared: {size} bytes wanted at {offset}")
    del tensor.external_data[:]
    for key, value in (("location", str(path)), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def _nbytes(tensor: onnx.TensorProto) -> int:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return -int(-math.prod(tensor.dims) * stored_bits(dtype) // 8)


def stored_bits(dtype: np.dtype[Any]) -> int:
    """The bits that one element takes in a file: types narrower than a byte are packed there."""
    narrow = re.fullmatch(r"u?int([24])|float([46])_.*", dtype.name)
    return int(narrow[1] or narrow[2]) if narrow else 8 * dtype.itemsize


def array(tensor: onnx.TensorProto) -> Array:
    """The value of a tensor, read-only, of numpy's or ml_dtypes' type; external data is memory-mapped."""
    if _is_external(tensor):
        entries = {e.key: e.value for e in tensor.external_data}
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        size, packed = math.prod(shape), _nbytes(tensor)
        if size and packed == size * dtype.itemsize:
            return np.memmap(entries["location"], dtype, mode="r", offset=int(entries["offset"]), shape=shape)
        tensor = inlined(tensor)
    try:
        value = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(f"tensor '{tensor.name}' does not hold what its shape and type say: {error}") from error
    value.flags.writeable = False
    return value


def inlined(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The tensor with its external data read into it; itself when it has none."""
    if not _is_external(tensor):
        return tensor
    entries = {e.key: e.value for e in tensor.external_data}
    with open(entries["location"], "rb") as stream:
        stream.seek(int(entries["offset"]))
        data = stream.read(int(entries["length"]))
    return onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=data)


def normalise(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in the one form that rules and passes see.

    Raises ModelError for an opset out of range, and for external data whose folder is not known.
    """
    proto = _without_functions(proto)
    for entry in proto.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    _check_opset(proto)
    proto.ir_version = max(proto.ir_version, 4)  # below 4, initializers must be graph inputs too
    graph = proto.graph
    graph.name = graph.name or "graph"
    for tensor in filter(_is_external, (*graph.initializer, *_nested(graph))):
        _check_located(tensor)
    for node in _all_nodes(graph):
        node.domain = "" if node.domain == "ai.onnx" else node.domain
    _constants_to_initializers(graph)
    _keep(graph.input, {t.name for t in graph.initializer})
    _resolve_aliases(graph)
    _name_nodes(graph)
    return proto


def _without_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which local functions are inlined; one written for another opset stays, as an unknown operator."""
    if proto.functions:
        try:
            return onnx.inliner.inline_local_functions(proto)
        except Exception as error:  # the inliner raises several unrelated types
            raise ModelError(f"the model's local functions are invalid: {error}") from error
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def _check_located(tensor: onnx.TensorProto) -> None:
    location = {e.key: e.value for e in tensor.external_data}.get("location", "")
    if not os.path.isabs(location):
        raise ModelError(
            f"external data of '{tensor.name}' ('{location}'): its folder is not known; load the model by its path"
        )


def _check_opset(proto: onnx.ModelProto) -> None:
    versions = sorted({o.version for o in proto.opset_import if o.domain == ""})
    if not versions:
        raise ModelError("the model imports no standard opset (domain ''): cannot tell what its operators mean")
    if len(versions) > 1:
        raise ModelError(
            f"the model imports the standard opset twice, as {versions[0]} and as {versions[-1]}: keep one"
        )
    opset = versions[0]
    if opset not in OPSETS:
        raise ModelError(
            f"the model uses opset {opset}; supported are {OPSETS[0]} to {OPSETS[-1]}: "
            "convert it with onnx.version_converter.convert_version"
        )


def _graphs_of(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    single = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []
    return single + list(attribute.graphs)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in _graphs_of(attribute):
                yield from _all_nodes(inner)


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        tensor = _constant(node) if node.op_type == "Constant" and not node.domain else None
        if tensor is None:
            kept.append(node)
        else:
            graph.initializer.append(tensor)
    _replace(graph.node, kept)


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The value of a Constant node under its output's name; None for a sparse one."""
    attribute = node.attribute[0] if node.attribute else onnx.AttributeProto()
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return tensor
    dtypes = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if attribute.name in dtypes:
        value = np.asarray(onnx.helper.get_attribute_value(attribute), dtypes[attribute.name])
        return numpy_helper.from_array(value, node.output[0])
    if attribute.name in ("value_string", "value_strings"):
        value = np.asarray(onnx.helper.get_attribute_value(attribute), dtype=object)
        return numpy_helper.from_array(value, node.output[0])
    return None


def _resolve_aliases(graph: onnx.GraphProto) -> None:
    """Read an initializer directly where the exporter put an Identity before it (de-duplicated equal weights)."""
    constants = {t.name for t in graph.initializer}
    fixed = {o.name for o in graph.output} | {name for node in graph.node for name in captures(node)}
    alias: dict[str, str] = {}
    kept = []
    for node in graph.node:
        source = alias.get(node.input[0], node.input[0]) if node.input else ""
        if node.op_type == "Identity" and not node.domain and source in constants and node.output[0] not in fixed:
            alias[node.output[0]] = source
        else:
            kept.append(node)
    if not alias:
        return
    for node in kept:
        for i, name in enumerate(node.input):
            node.input[i] = alias.get(name, name)
    _replace(graph.node, kept)


def _name_nodes(graph: onnx.GraphProto) -> None:
    count = Counter(n.name for n in graph.node)
    taken = set(count)
    for index, node in enumerate(graph.node):
        if node.name and count[node.name] == 1:
            continue
        stem = node.name or f"{node.op_type}_{index}"
        name = next(n for n in itertools.chain([stem], (f"{stem}_{k}" for k in itertools.count(1))) if n not in taken)
        taken.add(name)
        node.name = name


def captures(node: onnx.NodeProto) -> list[str]:
    """The outer tensors that a node's subgraphs read, each once, in order."""
    found: dict[str, None] = {}
    for attribute in node.attribute:
        for graph in _graphs_of(attribute):
            own = {t.name for t in graph.initializer} | {i.name for i in graph.input}
            own |= {name for inner in graph.node for name in inner.output}
            reads = itertools.chain.from_iterable((*inner.input, *captures(inner)) for inner in graph.node)
            found.update((n, None) for n in (*reads, *(o.name for o in graph.output)) if n and n not in own)
    return list(found)


def inner_names(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node's subgraphs give to tensors of their own."""
    for graph in (inner for attribute in node.attribute for inner in _graphs_of(attribute)):
        yield from (value.name for value in (*graph.input, *graph.initializer))
        for inner in graph.node:
            yield from inner.output
            yield from inner_names(inner)


def _replace(field: object, items: Iterable[onnx.NodeProto]) -> None:
    kept = list(items)
    del field[:]  # type: ignore[attr-defined]
    field.extend(kept)  # type: ignore[attr-defined]


def _keep(field: object, without: set[str]) -> None:
    _replace(field, [v for v in field if v.name not in without])  # type: ignore[attr-defined]


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
        if not _is_external(tensor) and tensor.ByteSize() <= SMALL:
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
