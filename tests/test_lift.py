"""Lifting to a newer opset keeps the function, and all that need not change; what cannot be lifted is named."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from oracle import net_proto

from onnxprune.errors import ModelError
from onnxprune.lift import lifted
from onnxprune.model import Model
from onnxprune.runtime import Session

POOLED = """(float[2,4,6,6] x) => (float[2,4] y) <float[4,4,1,1] w>
    { a = Conv(x, w)  b = ReduceMean<axes=[2,3]>(a)  y = Squeeze<axes=[2,3]>(b) }"""
BRANCH = """(float[2,4] x, bool q) => (float[2] y)
    { y = If(q) <then_branch = t () => (float[2] p) { p = ReduceMean<axes=[1], keepdims=0>(x) },
                 else_branch = e () => (float[2] r) { r = ReduceSum<axes=[1], keepdims=0>(x) }> }"""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(proto: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    return Session(proto, optimise=False)(inputs)


def opset(proto: onnx.ModelProto) -> int:
    return int(next(o.version for o in proto.opset_import if not o.domain))


def test_the_model_given_stays_as_it_is() -> None:
    proto = net_proto(POOLED, 9)
    before = proto.SerializeToString(deterministic=True)
    assert (opset(lifted(proto, 18)), opset(proto)) == (18, 9)
    assert proto.SerializeToString(deterministic=True) == before


def test_a_model_that_is_newer_stays_in_its_opset() -> None:
    proto = net_proto(POOLED, 9)
    assert lifted(proto, 7) == proto


def test_what_did_not_change_is_kept_to_the_byte() -> None:
    proto = net_proto(POOLED, 9)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    proto.metadata_props.add(key="author", value="me")
    thing = proto.graph.node.add(
        op_type="Gelu", domain="com.microsoft", input=["y"], output=["z"], doc_string="as it was"
    )
    thing.metadata_props.add(key="k", value="v")
    conv = proto.graph.node[0]
    conv.name, conv.doc_string = "/stem/conv", "the first"
    conv.metadata_props.add(key="scope", value="stem")
    result = lifted(proto, 18)
    assert result.graph.node[-1] == thing
    assert list(result.metadata_props) == list(proto.metadata_props)
    assert list(result.graph.initializer) == list(proto.graph.initializer)
    (lift,) = (node for node in result.graph.node if node.op_type == "Conv")
    assert (lift.name, lift.doc_string, lift.metadata_props[0].value) == ("/stem/conv", "the first", "stem")


def test_new_names_are_free() -> None:
    proto = net_proto(POOLED, 9)
    proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = "y_lifted_1"
    result, x = lifted(proto, 18), noise(2, 4, 6, 6)
    names = [name for node in result.graph.node for name in node.output]
    assert len(names) == len(set(names)) > 3
    assert np.array_equal(run(result, x=x)[0], run(proto, x=x)[0])


@pytest.mark.parametrize("branch", [True, False])
def test_subgraphs_are_lifted_too(branch: bool) -> None:
    proto, x = net_proto(BRANCH, 9), noise(2, 4)
    result = lifted(proto, 18)
    assert np.array_equal(run(result, x=x, q=np.array(branch))[0], run(proto, x=x, q=np.array(branch))[0])
    onnx.checker.check_model(result, full_check=True)


# -- before opset 7, which onnxruntime does not run --------------------------------------------------------------------


def old(op: str, shapes: dict[str, list[int]], opset: int = 6, **attributes: object) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(op, list(shapes), ["y"], name="old", **attributes)], "g", values, [y])
    return helper.make_model(graph, ir_version=3, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "aligned"),
    [
        ("Add", [3], {"broadcast": 1, "axis": 1}, (3, 1)),
        ("Sub", [3], {"broadcast": 1, "axis": -2}, (3, 1)),
        ("Mul", [2, 3], {"broadcast": 1, "axis": 0}, (2, 3, 1)),
        ("Div", [4], {"broadcast": 1}, (4,)),
        ("Pow", [1], {"broadcast": 1}, (1,)),
        ("Add", [2, 3, 4], {}, (2, 3, 4)),
        ("PRelu", [3], {}, (3, 1)),
        ("PRelu", [1], {}, (1,)),
    ],
)
def test_the_second_operand_is_aligned_as_it_was(
    op: str, shape: list[int], attributes: dict[str, int], aligned: tuple[int, ...]
) -> None:
    x, b = np.abs(noise(2, 3, 4)) - (op == "PRelu"), np.abs(noise(*shape, seed=1))
    model = Model.load(old(op, {"x": [2, 3, 4], "b": shape}, **attributes))
    how = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Pow": np.power,
        "PRelu": lambda x, b: np.where(x < 0, b * x, x),
    }
    np.testing.assert_allclose(run(model.proto(), x=x, b=b)[0], how[op](x, b.reshape(aligned)), rtol=1e-6)


def test_weights_among_the_inputs_are_lifted_with_their_readers() -> None:
    proto = old("Add", {"x": [2, 3, 4], "b": [3]}, broadcast=1, axis=1)
    proto.graph.initializer.append(numpy_helper.from_array(np.float32([1, 2, 3]), "b"))
    x = noise(2, 3, 4)
    model = Model.load(proto)
    assert [t.name for t in model.inputs] == ["x"]
    np.testing.assert_allclose(run(model.proto(), x=x)[0], x + np.float32([[1], [2], [3]]), rtol=1e-6)


# -- what cannot be ----------------------------------------------------------------------------------------------------

SCALES = "(float[1,1,4,4] x) => (float[A,B,C,D] y) <float[4] s = {1,1,2,0.5}> { y = Resize(x, s) }"
COMPUTED = "(float[1,1,4,4] x, float[4] s) => (float[A,B,C,D] y) { y = Resize(x, s) }"
NORM = """(float[1,2,2] x) => (float[1,2,2] y) <float[2,2] scale, float[2,2] b, float[2,2] m, float[2,2] var>
    { r = Relu(x)  y = BatchNormalization<spatial=0>(r, scale, b, m, var) }"""


@pytest.mark.parametrize(
    ("text", "start", "where", "why"),
    [
        (SCALES, 10, "Resize 'y' cannot be lifted from opset 10 to 11", "shrinks one axis and enlarges another"),
        (COMPUTED, 10, "Resize 'y' cannot be lifted from opset 10 to 11", "'s' is computed at run time"),
        (NORM, 7, "BatchNormalization 'y' cannot be lifted from opset 8 to 9", "spatial must have value 1"),
    ],
)
def test_a_node_that_cannot_be_lifted_is_named(text: str, start: int, where: str, why: str) -> None:
    with pytest.raises(
        ModelError, match=rf"^{where} \(.*{why}.*\): export the model in that opset, or in a newer one$"
    ):
        lifted(net_proto(text, start), 13)


def test_a_model_too_old_to_be_lifted_is_refused() -> None:
    shapes = {"x": [1, 2, 3], "s": [2], "b": [2], "m": [2], "v": [2]}
    with pytest.raises(ModelError, match="BatchNormalization 'old' cannot be lifted from opset 6 to 7"):
        Model.load(old("BatchNormalization", shapes, is_test=0))


def test_an_old_model_with_an_operator_of_a_domain_it_does_not_import_is_refused() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"], domain="nowhere"), helper.make_node("Add", ["r", "r"], ["y"])]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    with pytest.raises(ModelError, match=r"the graph is invalid: .*nowhere"):
        Model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3))
