"""The one form in which rules and passes see a model.

Normalisation is done once, so that no rule repeats it: a model older than opset 7 is lifted to it, local functions are
inlined, the domain ``ai.onnx`` is written ``""``, ``Constant`` nodes become initializers (sparse ones the reverse),
initializers leave the graph inputs, an ``Identity`` of an initializer is that initializer, and every node has a unique
name.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx
import onnx.helper
import onnx.inliner
from onnx import numpy_helper

from onnxprune.errors import ModelError
from onnxprune.external import check_located, is_external
from onnxprune.lift import lifted
from onnxprune.sizes import SMALL, check_sound, check_sparse, nbytes
from onnxprune.soundness import check_functions, check_readable
from onnxprune.subgraphs import all_graphs, all_nodes, captures, inner_tensors, sparse_tensors
from onnxprune.weights import inlined

__all__ = ["OPSETS", "normalise"]

OPSETS = range(7, 27)  # of the graph that rules and passes see

log = logging.getLogger(__name__)


def normalise(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model in the one form that rules and passes see; it is changed in place, unless another is returned.

    Raises ModelError for what cannot be read, for an opset that is too new, for tensors that do not hold what they
    claim, and for external data whose folder is not known.
    """
    proto = _without_functions(proto)
    check_readable(proto)
    for entry in proto.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    opset = _opset(proto)
    overridable = proto.ir_version >= 4
    proto.ir_version = max(proto.ir_version, 4)  # below 4, initializers must be graph inputs too
    graph = proto.graph
    graph.name = graph.name or "graph"
    _check_tensors(graph)
    _open_negative_sizes(graph)
    for inner in all_graphs(graph):
        _sparse_to_constants(inner)
    for node in all_nodes(graph):
        if node.domain in ("", "ai.onnx"):
            node.ClearField("domain")  # not there and empty mean the same, but are not the same bytes
    defaults = [i.name for i in graph.input if i.name in {t.name for t in graph.initializer}]
    if overridable and defaults:
        log.info("inputs with a default value become constants: %s", ", ".join(defaults))
    _keep(graph.input, set(defaults))
    if opset < OPSETS[0]:
        log.info("the model uses opset %d and is lifted to %d", opset, OPSETS[0])
        proto = lifted(proto, OPSETS[0])
    _constants_to_initializers(proto.graph)
    small = (t for t in proto.graph.initializer if is_external(t) and nbytes(t) <= SMALL)
    for tensor in (*small, *filter(is_external, inner_tensors(proto.graph))):
        tensor.CopyFrom(inlined(tensor))
    _resolve_aliases(proto.graph)
    _name_nodes(proto.graph)
    return proto


def _without_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with local functions inlined; one written for another opset stays, as an unknown operator."""
    if not proto.functions:
        return proto
    check_functions(proto)
    try:
        return onnx.inliner.inline_local_functions(proto)
    except Exception as error:  # the inliner raises several unrelated types
        raise ModelError(f"the model's local functions are invalid: {error}") from error


def _check_tensors(graph: onnx.GraphProto) -> None:
    for tensor in (*graph.initializer, *inner_tensors(graph)):
        (check_located if is_external(tensor) else check_sound)(tensor)
    for sparse in sparse_tensors(graph):
        check_sparse(sparse)


def _open_negative_sizes(graph: onnx.GraphProto) -> None:
    """Some exporters write −1 for a size that is not fixed."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.ClearField("dim_value")


def _opset(proto: onnx.ModelProto) -> int:
    """The version of the standard operators; a model that uses none of them gets the oldest that rules know."""
    versions = sorted({int(o.version) for o in proto.opset_import if o.domain == ""})
    if not versions:
        if any(node.domain in ("", "ai.onnx") for node in all_nodes(proto.graph)):
            raise ModelError(
                "the model imports no standard opset (domain ''), so that nothing tells what its operators mean: add it"
            )
        versions = [OPSETS[0]]
        proto.opset_import.append(onnx.helper.make_opsetid("", OPSETS[0]))
    if len(versions) > 1:
        raise ModelError(
            f"the model imports the standard opset twice, as {versions[0]} and as {versions[-1]}: keep one"
        )
    if not 1 <= versions[0] <= OPSETS[-1]:
        raise ModelError(
            f"the model uses opset {versions[0]}; supported are opsets up to {OPSETS[-1]}: "
            "convert it with onnx.version_converter.convert_version"
        )
    return versions[0]


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        speaks = node.op_type == "Constant" and not node.domain and len(node.output) == 1
        tensor = _constant(node) if speaks else None
        if tensor is None:
            kept.append(node)
        else:
            graph.initializer.append(tensor)
    _replace(graph.node, kept)


def _sparse_to_constants(graph: onnx.GraphProto) -> None:
    """Let a node speak for each sparse initializer: shape inference gives that a dense type, and it stays as small."""
    for index, sparse in enumerate(graph.sparse_initializer):
        node = onnx.helper.make_node("Constant", [], [sparse.values.name], sparse_value=sparse)
        graph.node.insert(index, node)
    graph.ClearField("sparse_initializer")


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The value of a Constant node under its output's name; None for a sparse one, which stays a node."""
    attribute = node.attribute[0] if node.attribute else onnx.AttributeProto()
    if attribute.name == "value" and attribute.HasField("t"):
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
        alone = node.op_type == "Identity" and not node.domain and len(node.output) == 1
        if alone and source in constants and node.output[0] not in fixed:
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


def _replace(field: object, items: Iterable[onnx.NodeProto]) -> None:
    kept = list(items)
    del field[:]  # type: ignore[attr-defined]
    field.extend(kept)  # type: ignore[attr-defined]


def _keep(field: object, without: set[str]) -> None:
    _replace(field, [v for v in field if v.name not in without])  # type: ignore[attr-defined]
