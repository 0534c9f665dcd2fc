"""Files that protobuf and the ONNX checker let pass, or that they do not survive, are refused with what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from contexts import context
from onnx import TensorProto, helper, numpy_helper
from oracle import assert_same_function, net, net_proto, run

from onnxprune.analyses.channels import MOST, ChannelGroups
from onnxprune.axes.rules import facts_of
from onnxprune.errors import ModelError
from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.node import Node, Tensor
from onnxprune.recipe import Recipe

DENSE = "(float[2,3] x) => (float[2,4] y) <float[3,4] w> { a = MatMul(x, w)  y = Relu(a) }"
LAYER = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]


def dense() -> onnx.ModelProto:
    return net_proto(DENSE)


def not_text() -> onnx.ModelProto:
    """The name of the second node's output is bytes that are no UTF-8."""
    data = dense().SerializeToString()
    return onnx.ModelProto.FromString(
        data.replace(b"\x12\x01a", b"\x12\x01\xe1").replace(b"\x0a\x01a", b"\x0a\x01\xe1")
    )


def with_weight(**fields: object) -> onnx.ModelProto:
    proto = dense()
    for name, value in fields.items():
        setattr(proto.graph.initializer[0], name, value)
    return proto


def claiming_more() -> onnx.ModelProto:
    proto = dense()
    proto.graph.initializer[0].dims[:] = [3, 2**40]
    return proto


def in_segments() -> onnx.ModelProto:
    proto = dense()
    proto.graph.initializer[0].segment.begin = 0
    return proto


def referring() -> onnx.ModelProto:
    proto = net_proto("(float[2,3] x) => (float[2,3] y) { y = LeakyRelu<alpha=0.1>(x) }")
    proto.graph.node[0].attribute[0].ref_attr_name = "slope"
    return proto


def twice_listed() -> onnx.ModelProto:
    proto = dense()
    proto.graph.input.append(proto.graph.input[0])
    return proto


def of_no_type() -> onnx.ModelProto:
    proto = dense()
    proto.graph.input[0].type.tensor_type.elem_type = -1
    return proto


def split_in_one() -> onnx.ModelProto:
    """Shape inference of onnx 1.23 aborts the process as soon as the size is known."""
    return net_proto("(float[N,M] x) => (float[N,A] a, float[N,B] b) { a, b = Split<axis=1, num_outputs=1>(x) }", 18)


def doubling_functions() -> onnx.ModelProto:
    """Forty functions, each of which calls the next one twice."""
    proto = net_proto("(float[2] x) => (float[2] y) { y = local.F0(x) }")
    proto.opset_import.append(LAYER[1])
    for k in range(40):
        inner, domain = (f"F{k + 1}", "local") if k < 39 else ("Relu", "")
        nodes = [helper.make_node(inner, [a], [b], domain=domain) for a, b in (("i", "m"), ("m", "o"))]
        proto.functions.append(helper.make_function("local", f"F{k}", ["i"], ["o"], nodes, LAYER))
    return proto


def saying_nothing() -> onnx.ModelProto:
    """A Constant whose value is not there."""
    proto = dense()
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    proto.graph.node.insert(0, node)
    return proto


def without_output(kind: str) -> Callable[[], onnx.ModelProto]:
    def make() -> onnx.ModelProto:
        proto = dense()
        node = helper.make_node(kind, ["w"] if kind == "Identity" else [], [])
        if kind == "Constant":
            node.attribute.append(helper.make_attribute("value_int", 1))
        proto.graph.node.append(node)
        return proto

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (not_text, "not UTF-8"),
        (lambda: with_weight(raw_data=b"\x00" * 47), "too small for its shape"),
        (claiming_more, "too small for its shape"),
        (lambda: with_weight(data_type=0), "which is none"),
        (lambda: with_weight(data_type=99), "which is none"),
        (in_segments, "segments"),
        (referring, "only the body of a function"),
        (of_no_type, r"no type that ONNX knows \(-1\)"),
        (twice_listed, "input 'x' twice"),
        (split_in_one, "correct num_outputs"),
        (doubling_functions, "when they are inlined"),
        (saying_nothing, "Constant"),
        (without_output("Constant"), "Constant"),
        (without_output("Identity"), "Identity"),
    ],
)
def test_what_is_not_sound_is_refused(make: Callable[[], onnx.ModelProto], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Model.load(make())


TYPES = [t for t in range(1, 27) if t != TensorProto.STRING]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_every_type_are_taken_as_onnx_writes_them(kind: int, raw: bool) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    value = np.array([1, 0, 1, 1, 0]).astype(dtype)
    tensor = numpy_helper.from_array(value, "t")
    if not raw:
        tensor = helper.make_tensor("t", kind, [5], [complex(v) if dtype.kind == "c" else float(v) for v in value])
    proto = dense()
    proto.graph.initializer.append(tensor)
    assert Model.load(proto).tensor("t").value().tobytes() == value.tobytes()


def test_functions_that_call_themselves_are_refused() -> None:
    proto = net_proto("(float[2] x) => (float[2] y) { y = local.F(x) }")
    proto.opset_import.append(LAYER[1])
    call = helper.make_node("F", ["i"], ["o"], domain="local")
    proto.functions.append(helper.make_function("local", "F", ["i"], ["o"], [call], LAYER))
    with pytest.raises(ModelError, match="recursive"):
        Model.load(proto)


def test_sparse_weights_are_read_and_computed_with(tmp_path: Path) -> None:
    text = "(float[2,4] x) => (float[2,4] y) <%s> { a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }"
    plain = net_proto(text % "float[4,4] w, float[4,4] v")
    sparse = onnx.ModelProto.FromString(plain.SerializeToString())
    del sparse.graph.initializer[0]
    value = numpy_helper.to_array(plain.graph.initializer[0])
    held = numpy_helper.from_array(value.ravel(), "w"), numpy_helper.from_array(np.arange(16))
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(*held, [4, 4]))
    model = Model.load(sparse)
    assert_same_function(model, Model.load(plain))
    model.save(tmp_path / "again.onnx")
    assert_same_function(Model.load(tmp_path / "again.onnx"), model)


def test_a_gemm_that_fold_made_is_stored_as_if_it_had_been_read() -> None:
    model = net("(float[2,3] x) => (float[2,4] y) <float[3,4] w, float[4] b> { a = MatMul(x, w)  y = Add(a, b) }")
    PassManager(Recipe.from_passes("fold").passes).run(model, context(model))
    data = model.proto().SerializeToString(deterministic=True)
    again = Model.load(onnx.ModelProto.FromString(data))
    assert again.proto().SerializeToString(deterministic=True) == data
    assert [node.op for node in again.nodes] == ["Gemm"]


def test_a_range_without_end_is_not_walked_through() -> None:
    model = net(
        """(float[2] x) => (float[2] y, float[N] z) <int64 a = {0}, int64 b = {100000000000}, int64 c = {1}>
        { r = Range(a, b, c)  z = Cast<to=1>(r)  y = Relu(x) }"""
    )
    PassManager(Recipe.from_passes("fold").passes).run(model, context(model))
    assert [node.op for node in model.nodes if node.op in ("Range", "Cast")] == ["Range", "Cast"]


def test_a_size_that_no_memory_holds_is_left_alone() -> None:
    proto = net_proto(f"(float[2,{2**40}] x) => (float[2,{2**40}] y) {{ a = com.microsoft.Gelu(x)  y = Relu(a) }}")
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model = Model.load(proto)
    assert not ChannelGroups().compute(model)
    assert MOST < 2**40
    PassManager(Recipe.from_passes("fold,prune:ratio=50%:heal=none").passes).run(model, context(model))


def test_an_axis_that_is_not_there_is_a_reason_to_leave_a_node_alone() -> None:
    x, w, y = (Tensor(name, shape, np.dtype("f4")) for name, shape in (("x", (1, 4, 5)), ("w", (8,)), ("y", (1, 8, 5))))
    facts = facts_of(Node("c", "Conv", "", 17, (x, w), (y,), {}))
    assert {fact.why for fact in facts} == {"Conv 'c': 'w' has no axis 1"}


def test_kernels_that_groups_cannot_share_are_left_alone() -> None:
    model = net("(float[1,4,5,5] x) => (float[1,2,3,3] y) <float[2,1,3,3] w> { y = Conv<group=4>(x, w) }")
    (group,) = (g for g in ChannelGroups().compute(model) if any(a.tensor == "w" and a.dim == 0 for a in g.atoms))
    assert "cannot be shared out among 4 groups" in str(group.pinned)


def test_weights_that_are_no_numbers_are_measured_without_a_warning() -> None:
    proto = net_proto(
        "(float[2,3] x) => (float[2,4] y) <float[3,8] w, float[8,4] v> { a = MatMul(x, w)  y = MatMul(a, v) }"
    )
    signalling = np.frombuffer(b"\x01\x00\x80\x7f" * 24, np.float32).reshape(3, 8)
    proto.graph.initializer[0].raw_data = signalling.tobytes()
    model = Model.load(proto)
    PassManager(Recipe.from_passes("prune:ratio=50%:heal=none:align=1").passes).run(model, context(model))
    assert len(run(model, {"x": np.ones((2, 3), np.float32)})) == 1


def test_an_input_that_is_an_output_has_the_shape_of_the_input() -> None:
    model = net("(float[N,4] x, float[N,4] z) => (float[N,4] y, float[N] x) <float[4,4] w> { y = MatMul(z, w) }")
    assert model.tensor("x").shape == ("N", 4)
    PassManager(Recipe.from_passes("prune:ratio=50%:heal=none").passes).run(model, context(model))
