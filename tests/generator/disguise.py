"""The same graph written in another way: functions, sparse weights, strange names, other storage; for the fuzzer."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .builder import Builder

DOMAIN = "local"


def disguised(proto: onnx.ModelProto, b: Builder) -> onnx.ModelProto:
    """The model, changed in some of the ways below."""
    for change, share in ((sparse, 0.1), (spelled, 0.15), (renamed, 0.2), (outlined, 0.1), (unread, 0.15), (said, 0.2)):
        if b.chance(share):
            change(proto, b)
    return proto


def sparse(proto: onnx.ModelProto, b: Builder) -> None:
    """A weight as its numbers that are not zero."""
    held = proto.graph.initializer
    plain = [i for i, t in enumerate(held) if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2]
    if proto.opset_import[0].version < 11 or not plain:
        return
    index = b.choose(plain)
    if held[index].name in {value.name for value in proto.graph.input}:
        return
    array = numpy_helper.to_array(held[index])
    where = np.arange(array.size, dtype=np.int64)
    values = numpy_helper.from_array(array.ravel(), held[index].name)
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(where, ""), array.shape)
    )
    del held[index]


def spelled(proto: onnx.ModelProto, b: Builder) -> None:
    """Numbers in typed fields instead of raw bytes."""
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype in (np.float32, np.int64) and b.chance(0.5):
            tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.ravel().tolist()))


def renamed(proto: onnx.ModelProto, b: Builder) -> None:
    """Node names that are empty, or look like those that passes make up; a domain spelled out."""
    if proto.opset_import[0].version == 11:
        return
    names = ["node", "ünï/cödé", "Conv_1_bias", "t1", "node_1", "a b", "weight2_masked"]
    for node in proto.graph.node:
        if b.chance(0.4):
            node.name = names.pop() if names and b.chance(0.3) else ""
    proto.producer_name, proto.doc_string = "generator ✓", "a\nb"
    proto.metadata_props.add(key="k", value="v")


def outlined(proto: onnx.ModelProto, b: Builder) -> None:
    """A node becomes the call of a local function."""
    opset = proto.opset_import[0]
    nodes = [n for n in proto.graph.node if n.op_type in ("Conv", "Relu", "Add", "Gemm", "Concat", "MatMul")]
    if proto.ir_version < 8 or not nodes:
        return
    node = b.choose(nodes)
    inside = onnx.NodeProto()
    inside.CopyFrom(node)
    names = [f"i{k}" if name else "" for k, name in enumerate(node.input)]
    inside.input[:], inside.output[:] = names, ["o"]
    imports = [helper.make_opsetid("", opset.version)]
    proto.functions.append(helper.make_function(DOMAIN, "Layer", [n for n in names if n], ["o"], [inside], imports))
    given = [name for name in node.input if name]
    node.CopyFrom(helper.make_node("Layer", given, node.output, name=node.name, domain=DOMAIN))
    proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def unread(proto: onnx.ModelProto, b: Builder) -> None:
    """A constant that nobody reads, and an input."""
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((3, 4), np.float32), "nobody"))
    proto.graph.node.append(helper.make_node("Relu", [proto.graph.input[0].name], ["nobody_either"], name="dead"))
    if proto.ir_version < 4:
        proto.graph.input.append(helper.make_tensor_value_info("nobody", onnx.TensorProto.FLOAT, [3, 4]))
    elif b.chance(0.5):
        proto.graph.input.append(helper.make_tensor_value_info("never", onnx.TensorProto.FLOAT, [2, 3]))


def said(proto: onnx.ModelProto, b: Builder) -> None:
    """A constant is a graph output too, or an input is."""
    if b.chance(0.5):
        source = proto.graph.input[0]
        proto.graph.node.append(helper.make_node("Identity", [source.name], ["echo"], name="echo"))
        value = proto.graph.output.add()
        value.CopyFrom(source)
        value.name = "echo"
        return
    held = [t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    if held:
        tensor = b.choose(held)
        proto.graph.output.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
