"""The graph: what reading makes of a file, what edits do, and that writing loses nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from contexts import context
from nets import NETS, OPSETS
from onnx import TensorProto, helper, numpy_helper
from oracle import assert_same_function, distance, feeds, net, net_proto, run

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.counted import shape_of
from onnxprune.errors import ModelError, UsageError
from onnxprune.model import Model
from onnxprune.node import Axis, Tensor
from onnxprune.normal import OPSETS as SUPPORTED
from onnxprune.shapes import concrete

CHAIN = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[4,3,3,3] w, float[4] b, float[2,4,1,1] v>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  y = Conv(r, v) }"""
IF = """(float[1,4] x, bool c) => (float[1,4] y) <float[1,4] k>
    { a = Exp(x)
      y = If (c) <then_branch = t () => (float[1,4] p) { p = Add(a, k) },
                  else_branch = e () => (float[1,4] q) { q = Neg(a) }> }"""


def model_of(
    nodes: list[onnx.NodeProto], inputs: dict[str, list], outputs: dict[str, list], *constants: TensorProto,
    opset: int = 17, domains: tuple[str, ...] = (),
) -> onnx.ModelProto:  # fmt: skip
    infos = [[helper.make_tensor_value_info(n, 1, s) for n, s in side.items()] for side in (inputs, outputs)]
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(helper.make_graph(nodes, "g", *infos, list(constants)), opset_imports=opsets, ir_version=8)


def floats(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.float32).reshape(shape), name)


# -- reading ---------------------------------------------------------------------------------------------------------


def test_a_model_is_read_from_a_path_a_proto_and_a_model(tmp_path: Path) -> None:
    proto = net_proto(CHAIN)
    onnx.save(proto, tmp_path / "m.onnx")
    models = [Model.load(source) for source in (proto, tmp_path / "m.onnx", str(tmp_path / "m.onnx"))]
    models.append(Model.load(models[0]))
    assert len({m.fingerprint() for m in models}) == 1
    assert models[3] is not models[0]


def test_reading_leaves_the_proto_as_it_is() -> None:
    proto = net_proto(CHAIN)
    proto.graph.node[0].domain = "ai.onnx"
    before = proto.SerializeToString(deterministic=True)
    Model.load(proto).put("w", np.zeros((4, 3, 3, 3), np.float32))
    assert proto.SerializeToString(deterministic=True) == before


def test_nodes_and_tensors_are_seen_by_name() -> None:
    model = net(CHAIN)
    assert [n.name for n in model.nodes] == ["Conv_0", "Relu_1", "Conv_2"]
    conv = model.node("Conv_0")
    assert (conv.kind, conv.attrs["pads"], conv.opset) == ("Conv", (1, 1, 1, 1), 17)
    assert [t.name for t in conv.inputs if t] == ["x", "w", "b"]
    assert [t.name for t in model.inputs + model.outputs] == ["x", "y"]
    assert [t.name for t in model.constants] == ["w", "b", "v"]
    assert (model.tensor("a").shape, model.tensor("a").dtype) == ((1, 4, 8, 8), np.float32)
    assert model.tensor("w").constant
    assert not model.tensor("a").constant
    with pytest.raises(KeyError):
        model.node("nobody")


def test_producers_and_consumers_are_found() -> None:
    model = net("(float[2] x) => (float[2] y, float[2] z) { a = Exp(x)  y = Mul(a, a)  z = Neg(a) }")
    producer = model.producer("a")
    assert producer is not None
    assert producer.name == "Exp_0"
    assert model.producer("x") is None
    assert [n.name for n in model.consumers("a")] == ["Mul_1", "Neg_2"]
    assert model.consumers("y") == ()
    assert (model.is_output("y"), model.is_output("a")) == (True, False)


def test_a_tensor_that_is_not_there_is_unknown() -> None:
    assert net(CHAIN).tensor("nothing").shape is None


def test_values_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        net(CHAIN).tensor("w").value()[0] = 0


def test_a_computed_tensor_has_no_value() -> None:
    with pytest.raises(ValueError, match="'a' is computed at run time"):
        net(CHAIN).tensor("a").value()


def test_a_tensor_tells_sizes_and_counts() -> None:
    tensor = Tensor("t", (2, "N", None, 3), None)
    assert [tensor.size(d) for d in range(4)] == [2, None, None, 3]
    assert (tensor.elements(), tensor.elements(dynamic=5), tensor.rank) == (6, 150, 4)
    assert tensor.axes() == tuple(Axis("t", d) for d in range(4))
    assert Tensor("u", None, None).axes() == ()
    assert str(Axis("t", 1)) == "t[1]"


def test_a_node_tells_what_it_lacks() -> None:
    node = net("(float[2] x) => (float[2] y) <float hi = {1}> { y = Clip(x, , hi) }").nodes[0]
    assert node.input(1) is None
    assert node.input(9) is None
    assert [t.name for t in node.tensors()] == ["x", "hi", "y"]
    assert node.setting("max", 2) == 1
    assert node.setting("min", 1) is None
    with pytest.raises(ValueError, match="Clip 'Clip_0' lacks its input 1"):
        node.x(1)
    with pytest.raises(ValueError, match="Clip 'Clip_0' lacks its output 1"):
        node.y(1)


def constant(**value: object) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **value)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (constant(value=floats("", 2)), np.array([1, 2], np.float32)),
        (constant(value_float=0.5), np.float32(0.5)),
        (constant(value_floats=[0.5, 1.5]), np.array([0.5, 1.5], np.float32)),
        (constant(value_int=7), np.int64(7)),
        (constant(value_ints=[7, 8]), np.array([7, 8], np.int64)),
        (constant(value_string="cat"), np.array("cat", object)),
        (constant(value_strings=["cat", "dog"]), np.array(["cat", "dog"], object)),
    ],
)
def test_a_constant_node_becomes_an_initializer(node: onnx.NodeProto, expected: np.ndarray) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.asarray(expected).dtype)
    proto = model_of([node, helper.make_node("Identity", ["c"], ["y"])], {}, {})
    proto.graph.output.append(helper.make_tensor_value_info("y", kind, np.shape(expected)))
    model = Model.load(proto)
    value = model.tensor("c").value()
    assert (value.dtype, value.shape) == (np.asarray(expected).dtype, np.shape(expected))
    assert np.array_equal(value, expected)
    assert "Constant" not in [n.op for n in model.nodes]


def test_a_sparse_constant_stays_a_node() -> None:
    sparse = helper.make_sparse_tensor(floats("c", 2), helper.make_tensor("i", TensorProto.INT64, [2], [0, 3]), [4])
    nodes = [constant(sparse_value=sparse), helper.make_node("Add", ["x", "c"], ["y"])]
    model = Model.load(model_of(nodes, {"x": [4]}, {"y": [4]}))
    assert [n.op for n in model.nodes] == ["Constant", "Add"]


def test_a_constant_node_without_a_value_is_refused() -> None:
    with pytest.raises(ModelError, match="Constant"):
        Model.load(model_of([constant(), helper.make_node("Relu", ["c"], ["y"])], {}, {"y": [1]}))


def test_constants_listed_as_inputs_are_constants() -> None:
    proto = model_of([helper.make_node("Add", ["x", "c"], ["y"])], {"x": [2], "c": [2]}, {"y": [2]}, floats("c", 2))
    proto.ir_version = 3
    model = Model.load(proto)
    assert [t.name for t in model.inputs] == ["x"]
    assert model.tensor("c").constant
    assert model.proto().ir_version >= 4


def test_a_constant_behind_identities_is_read_directly() -> None:
    model = net("""(float[2] x) => (float[2] y) <float[2] c>
        { d = Identity(c)  e = Identity(d)  a = Add(x, e)  y = Mul(a, c) }""")
    assert [n.op for n in model.nodes] == ["Add", "Mul"]
    assert [n.op for n in model.consumers("c")] == ["Add", "Mul"]
    assert [t.name for t in model.constants] == ["c"]


def test_an_identity_stays_where_its_name_is_needed() -> None:
    model = net("(float[2] x) => (float[2] y, float[2] d) <float[2] c> { d = Identity(c)  y = Add(x, d) }")
    assert [n.op for n in model.nodes] == ["Identity", "Add"]
    captured = net(IF.replace("a = Exp(x)", "a = Exp(x)  kk = Identity(k)").replace("Add(a, k)", "Add(a, kk)"))
    assert [n.op for n in captured.nodes] == ["Exp", "Identity", "If"]


def test_initializers_may_be_shared_between_nodes() -> None:
    model = net(NETS["shared by branches"])
    assert len(model.consumers("w")) == 2
    assert [t.name for t in model.constants].count("w") == 1


def test_nodes_without_a_name_or_with_the_same_get_their_own() -> None:
    ops = [("Exp", ""), ("Neg", "n"), ("Abs", "n"), ("Relu", "n_1"), ("Exp", "")]
    nodes = [helper.make_node(op, [f"t{i}"], [f"t{i + 1}"], name=name) for i, (op, name) in enumerate(ops)]
    model = Model.load(model_of(nodes, {"t0": [2]}, {"t5": [2]}))
    names = [n.name for n in model.nodes]
    assert len(set(names)) == 5
    assert "n_1" in names
    assert [model.node(name).op for name in names] == [op for op, _ in ops]
    assert [n.name for n in Model.load(model.proto()).nodes] == names


def test_local_functions_are_inlined() -> None:
    model = Model.load(
        onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[1,4] x) => (float[1,4] y) { a = local.twice(x)  y = local.twice(a) }
        <domain: "local", opset_import: ["": 17]> twice (p) => (q) { h = Neg(p)  q = Sub(p, h) }""")
    )
    assert [n.op for n in model.nodes] == ["Neg", "Sub", "Neg", "Sub"]
    assert not model.proto().functions
    values = feeds(model)
    np.testing.assert_allclose(run(model, values)[0], 4 * values["x"])


def test_a_function_that_calls_itself_is_refused() -> None:
    with pytest.raises(ModelError, match="the model's local functions are invalid"):
        Model.load(
            onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
            g (float[1,4] x) => (float[1,4] y) { y = local.f(x) }
            <domain: "local", opset_import: ["": 17, "local": 1]> f (a) => (b) { b = local.f(a) }""")
        )


def test_the_long_name_of_the_standard_domain_is_its_short_one() -> None:
    proto = net_proto(CHAIN)
    proto.opset_import[0].domain = "ai.onnx"
    for node in proto.graph.node:
        node.domain = "ai.onnx"
    model = Model.load(proto)
    assert {n.kind for n in model.nodes} == {"Conv", "Relu"}
    assert model.opset == 17


@pytest.mark.parametrize("opset", SUPPORTED)
def test_opsets_from_7_to_26_are_read(opset: int) -> None:
    assert (SUPPORTED[0], SUPPORTED[-1]) == (7, 26)
    model = net("(float[2,3] x) => (float[2,2] y) <float[3,2] w, float[2] b> { y = Gemm(x, w, b) }", opset)
    assert (model.opset, model.nodes[0].opset) == (opset, opset)


@pytest.mark.parametrize("opset", [0, 27])
def test_other_opsets_are_refused_by_name_with_a_way_out(opset: int) -> None:
    proto = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, opset=opset)
    with pytest.raises(ModelError, match=rf"opset {opset}; supported are opsets up to 26: convert it with"):
        Model.load(proto)


@pytest.mark.parametrize("opset", range(1, 7))
def test_older_opsets_are_lifted_to_the_first_that_rules_know(opset: int) -> None:
    proto = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, opset=opset)
    model = Model.load(proto)
    assert model.opset == 7
    assert run(model, {"x": np.float32([-1, 2])})[0].tolist() == [0, 2]


def test_standard_operators_without_their_opset_are_refused() -> None:
    proto = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, domains=("my",))
    del proto.opset_import[0]
    with pytest.raises(ModelError, match=r"imports no standard opset .* add it"):
        Model.load(proto)


def test_a_model_without_standard_operators_needs_no_opset_for_them() -> None:
    node = helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml", threshold=1.0)
    proto = model_of([node], {"x": [2]}, {"y": [2]}, domains=("ai.onnx.ml",))
    del proto.opset_import[0]
    model = Model.load(proto)
    assert model.opset == 7
    assert run(model, {"x": np.float32([0.5, 2])})[0].tolist() == [0, 1]


@pytest.mark.parametrize("opset", [9, 13, 26])
def test_an_attribute_that_is_left_out_of_a_function_has_its_default(opset: int) -> None:
    text = "(float[2,3,4,4] x) => (float[2,3,4,4] y) { y = MeanVarianceNormalization(x) }"
    model = net(text, opset)
    assert model.tensor("y").shape == (2, 3, 4, 4)
    assert [dict(node.attrs) for node in model.nodes] == [{}]
    assert "axes" not in text_of(model.proto())


def test_an_output_without_a_shape_gets_the_one_that_is_inferred(tmp_path: Path) -> None:
    proto = net_proto(CHAIN)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = Model.load(proto)
    assert model.outputs[0].shape == (1, 2, 8, 8)
    model.save(tmp_path / "m.onnx")
    assert_same_function(Model.load(tmp_path / "m.onnx"), net(CHAIN))


def text_of(proto: onnx.ModelProto) -> str:
    return onnx.printer.to_text(proto)


def test_a_domain_that_is_empty_or_left_out_is_the_same() -> None:
    left_out, empty = net_proto(CHAIN), net_proto(CHAIN)
    for node, other in zip(left_out.graph.node, empty.graph.node, strict=True):
        node.ClearField("domain")
        other.domain = ""
    assert Model.load(left_out).fingerprint() == Model.load(empty).fingerprint()


def test_a_sequence_among_the_inputs_leaves_shapes_open() -> None:
    model = net(
        "(seq(float[N]) s, float[M] x) => (float[K] y) { a = ConcatFromSequence<axis=0>(s)  y = Concat<axis=0>(a, x) }"
    )
    assert concrete(model, {"x": (3,)})["x"] == (3,)


def test_a_model_with_two_standard_opsets_is_refused() -> None:
    proto = net_proto(CHAIN)
    proto.opset_import.append(helper.make_opsetid("ai.onnx", 11))
    with pytest.raises(ModelError, match="imports the standard opset twice, as 11 and as 17"):
        Model.load(proto)


def test_subgraphs_are_kept_and_what_they_capture_is_seen() -> None:
    model = net(IF)
    branch = model.nodes[-1]
    assert [t.name for t in branch.captures] == ["a", "k"]
    assert [t.name for t in branch.inputs if t] == ["c"]
    assert (model.captured("a"), model.captured("k"), model.captured("x")) == (True, True, False)
    assert [n.op for n in model.consumers("k")] == ["If"]
    assert model.sweep() == 0
    (y,) = run(model, {"x": np.zeros((1, 4), np.float32), "c": np.array(True)})
    np.testing.assert_allclose(y, 1 + model.tensor("k").value())


def test_a_subgraph_reads_through_another() -> None:
    model = net("""(float[1,4] x, bool c) => (float[1,4] y) { a = Exp(x)
        y = If (c) <then_branch = t () => (float[1,4] p) { p = Identity(a) }, else_branch = e () => (float[1,4] q) {
            own = Neg(x)
            q = If (c) <then_branch = tt () => (float[1,4] r) { r = Add(a, own) },
                        else_branch = ee () => (float[1,4] s) { s = Abs(own) }> }> }""")
    assert [t.name for t in model.nodes[-1].captures] == ["a", "x", "c"]


# -- what cannot be read ---------------------------------------------------------------------------------------------


def refusal(source: Path | onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        Model.load(source)
    text = str(caught.value)
    assert "\n" not in text.strip()
    assert len(text) < 500
    return text


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "is empty"), (b"hello, world\n" * 9, "is not an ONNX model"), (b"\x08\x08", "it has no graph or no opset")],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert expected in refusal(path)
    assert "m.onnx" in refusal(path)


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    data = net_proto(CHAIN).SerializeToString()
    path.write_bytes(data[: len(data) // 2])
    assert "cut short" in refusal(path)


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "m.onnx")
    assert "cannot read model" in refusal(tmp_path)


def broken(**change: object) -> onnx.ModelProto:
    proto = net_proto(CHAIN)
    for path, value in change.items():
        setattr(proto.graph.node[0], path, value)
    return proto


def test_an_unknown_operator_of_the_standard_domain_is_refused() -> None:
    assert "NoSuchOp" in refusal(broken(op_type="NoSuchOp"))


def test_a_graph_that_reads_what_is_not_there_is_refused() -> None:
    proto = net_proto(CHAIN)
    proto.graph.node[1].input[0] = "nowhere"
    assert "nowhere" in refusal(proto)


def test_a_graph_out_of_order_is_refused() -> None:
    proto = net_proto(CHAIN)
    first = onnx.NodeProto()
    first.CopyFrom(proto.graph.node[0])
    del proto.graph.node[0]
    proto.graph.node.append(first)
    assert "sorted" in refusal(proto)


def test_shapes_that_do_not_fit_are_refused() -> None:
    text = "(float[2,3] x) => (float[2,4] y) <float[5,4] w> { y = MatMul(x, w) }"
    assert "Incompatible dimensions" in refusal(net_proto(text))


def test_an_output_shape_that_is_wrong_is_refused() -> None:
    assert "the graph is invalid" in refusal(net_proto(CHAIN.replace("float[1,2,8,8] y", "float[1,3,8,8] y")))


def test_a_name_made_twice_is_refused() -> None:
    proto = net_proto(CHAIN)
    proto.graph.node[1].output[0] = "a"
    assert "the graph is invalid" in refusal(proto)
    proto = net_proto(CHAIN)
    proto.graph.initializer.append(proto.graph.initializer[0])
    assert "not unique" in refusal(proto)


@pytest.mark.parametrize("kind", [0, 99])
def test_a_weight_of_no_type_is_refused(kind: int) -> None:
    proto = net_proto(CHAIN)
    proto.graph.initializer[0].data_type = kind
    assert "type" in refusal(proto)


def test_a_weight_with_too_few_bytes_is_refused() -> None:
    proto = net_proto(CHAIN)
    proto.graph.initializer[0].raw_data = b"1234"
    assert "too small" in refusal(proto)


# -- external data ---------------------------------------------------------------------------------------------------


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """``CHAIN`` with its weights in a file beside it."""
    path = tmp_path / "m.onnx"
    onnx.save_model(net_proto(CHAIN), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def edited(path: Path, **entries: str) -> Path:
    """The model with other entries for the external data of its first weight."""
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_is_memory_mapped_and_equal(external: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxprune.normal.SMALL", 16)
    model, inside = Model.load(external), net(CHAIN)
    assert isinstance(model.tensor("w").value(), np.memmap)
    assert all(np.array_equal(model.tensor(n).value(), inside.tensor(n).value()) for n in "wbv")
    assert model.fingerprint() == inside.fingerprint()
    with pytest.raises(ValueError, match="read-only"):
        model.tensor("w").value()[0] = 0


def test_a_model_with_external_data_is_written_whole(external: Path, tmp_path: Path) -> None:
    Model.load(external).save(tmp_path / "whole.onnx")
    (tmp_path / "weights.bin").unlink()
    assert Model.load(tmp_path / "whole.onnx").fingerprint() == net(CHAIN).fingerprint()


def test_external_data_runs_and_is_cut_like_any_other(external: Path) -> None:
    model = Model.load(external)
    assert distance(model, net(CHAIN)) == 0
    assert [len(g.free) for g in ChannelGroups().compute(model)] == [
        len(g.free) for g in ChannelGroups().compute(net(CHAIN))
    ]


def test_a_constant_node_with_external_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    tensor = TensorProto(name="c", dims=[4], data_type=1, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", "16"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    nodes = [constant(value=tensor), helper.make_node("Add", ["x", "c"], ["y"])]
    (tmp_path / "m.onnx").write_bytes(model_of(nodes, {"x": [4]}, {"y": [4]}).SerializeToString())
    assert Model.load(tmp_path / "m.onnx").tensor("c").value().tolist() == [4, 5, 6, 7]


def test_external_data_inside_a_subgraph_is_written_whole(tmp_path: Path) -> None:
    proto = net_proto(IF)
    (tmp_path / "weights.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    body = next(a for a in proto.graph.node[1].attribute if a.name == "then_branch").g
    body.initializer.append(TensorProto(name="own", dims=[1, 4], data_type=1, data_location=TensorProto.EXTERNAL))
    body.initializer[0].external_data.add(key="location", value="weights.bin")
    body.node[0].input[1] = "own"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    Model.load(tmp_path / "m.onnx").save(tmp_path / "whole.onnx")
    (tmp_path / "weights.bin").unlink()
    (y,) = run(Model.load(tmp_path / "whole.onnx"), {"x": np.zeros((1, 4), np.float32), "c": np.array(True)})
    assert y.tolist() == [[8, 8, 8, 8]]


def test_external_data_that_is_missing_is_refused(external: Path) -> None:
    (external.parent / "weights.bin").unlink()
    assert refusal(external) == "external data of 'w' ('weights.bin') is missing: copy it beside the model"


def test_external_data_that_is_too_short_is_refused(external: Path) -> None:
    (external.parent / "weights.bin").write_bytes(b"1234")
    assert "is shorter than declared: 432 bytes wanted at 0" in refusal(external)


@pytest.mark.parametrize(("offset", "expected"), [("-8", "shorter"), ("9999999", "shorter"), ("soon", "no sound")])
def test_external_data_at_an_impossible_place_is_refused(external: Path, offset: str, expected: str) -> None:
    assert expected in refusal(edited(external, offset=offset))


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "sub/../../weights.bin", "link.bin"])
def test_external_data_outside_the_folder_is_refused(external: Path, location: str, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "weights.bin"
    outside.write_bytes(b"0" * 9999)
    (external.parent / "link.bin").symlink_to(outside)
    assert "lies outside the model's folder" in refusal(edited(external, location=location))


def test_external_data_of_no_type_is_refused(external: Path) -> None:
    proto = onnx.load(external, load_external_data=False)
    proto.graph.initializer[0].data_type = 0
    external.write_bytes(proto.SerializeToString())
    assert "no sound type" in refusal(external)


def test_external_data_of_a_proto_whose_folder_is_not_known_is_refused(external: Path) -> None:
    assert "load the model by its path" in refusal(onnx.load(external, load_external_data=False))


EXOTIC = "BFLOAT16 FLOAT16 DOUBLE INT8 UINT16 BOOL INT4 UINT4 INT2 UINT2 FLOAT4E2M1 FLOAT8E4M3FN FLOAT8E5M2".split()


def exotic(kind: str, count: int = 5) -> onnx.ModelProto:
    """A model with an unread constant of that type (read by an Identity to an output)."""
    code = getattr(TensorProto, kind)
    dtype = helper.tensor_dtype_to_np_dtype(code)
    proto = model_of([helper.make_node("Identity", ["c"], ["y"])], {}, {}, opset=25)
    proto.ir_version = 13
    proto.graph.output.append(helper.make_tensor_value_info("y", code, [count]))
    proto.graph.initializer.append(numpy_helper.from_array((np.arange(count) % 2).astype(dtype), "c"))
    return proto


@pytest.mark.parametrize("kind", EXOTIC)
def test_weights_of_every_type_are_kept_byte_for_byte(kind: str, tmp_path: Path) -> None:
    proto = exotic(kind)
    model = Model.load(proto)
    model.copy().save(tmp_path / "m.onnx")
    kept = onnx.load(tmp_path / "m.onnx").graph.initializer[0]
    assert kept.SerializeToString() == proto.graph.initializer[0].SerializeToString()
    assert model.tensor("c").value().astype(np.float32).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("kind", EXOTIC)
def test_external_weights_of_every_type_are_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(exotic(kind), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert onnx.load(path, load_external_data=False).graph.initializer[0].data_location == TensorProto.EXTERNAL
    model = Model.load(path)
    assert model.tensor("c").value().astype(np.float32).tolist() == [0, 1, 0, 1, 0]
    assert model.fingerprint() == Model.load(exotic(kind)).fingerprint()


def test_text_is_kept_byte_for_byte(tmp_path: Path) -> None:
    labels = numpy_helper.from_array(np.array(["cat", "dög"], object), "labels")
    proto = model_of([helper.make_node("Identity", ["labels"], ["y"])], {}, {}, labels)
    proto.graph.output.append(helper.make_tensor_value_info("y", TensorProto.STRING, [2]))
    model = Model.load(proto)
    model.save(tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx").graph.initializer[0] == labels
    assert model.tensor("labels").value().tolist() == ["cat", "dög"]
    assert len(model.fingerprint()) == 64


def test_an_empty_and_a_scalar_constant_are_kept(tmp_path: Path) -> None:
    model = net("(float[2] x) => (float[2] y) <float s = {2}, float[0] none> { a = Mul(x, s)  y = Resize(a, none, s1) }"
                .replace("float[0] none", "float[0] none, float[1] s1 = {1}"))  # fmt: skip
    assert (model.tensor("s").shape, model.tensor("none").shape) == ((), (0,))
    model.save(tmp_path / "m.onnx")
    assert Model.load(tmp_path / "m.onnx").fingerprint() == model.fingerprint()


# -- writing ---------------------------------------------------------------------------------------------------------


def described() -> onnx.ModelProto:
    proto = net_proto(CHAIN)
    for holder in (proto, proto.graph, proto.graph.node[0], proto.graph.initializer[0], proto.graph.input[0]):
        holder.doc_string = f"about {type(holder).__name__}"
        holder.metadata_props.add(key="k", value=type(holder).__name__)
    proto.producer_name, proto.producer_version, proto.domain, proto.model_version = "me", "1.2", "org.me", 3
    annotation = proto.graph.quantization_annotation.add(tensor_name="w")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="b")
    return proto


def test_descriptions_and_metadata_are_kept() -> None:
    before = described()
    after = Model.load(before).copy().proto()
    for field in ("doc_string", "metadata_props", "producer_name", "producer_version", "domain", "model_version"):
        assert getattr(after, field) == getattr(before, field)
    assert (after.graph.doc_string, after.graph.name) == ("about GraphProto", "net")
    assert after.graph.metadata_props == before.graph.metadata_props
    assert after.graph.node[0].doc_string == "about NodeProto"
    assert after.graph.node[0].metadata_props == before.graph.node[0].metadata_props
    assert after.graph.initializer[0] == before.graph.initializer[0]
    assert after.graph.input[0] == before.graph.input[0]
    assert after.graph.quantization_annotation == before.graph.quantization_annotation


@pytest.mark.parametrize("name", NETS)
def test_a_model_read_again_is_equal_and_is_written_as_the_same_bytes(name: str, tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{i}.onnx" for i in range(3))
    model = net(NETS[name], OPSETS.get(name, 17))
    model.save(one)
    model.save(two)
    again = Model.load(one)
    again.save(three)
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()
    assert again.fingerprint() == model.fingerprint()
    onnx.checker.check_model(onnx.load(one), full_check=True)


def test_a_copy_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    model = Model.load(described())
    model.save(tmp_path / "a.onnx")
    model.copy().copy().save(tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"cannot write to '.*m\.onnx': No space left on device"):
        net(CHAIN).save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_an_invalid_graph_is_not_written(tmp_path: Path) -> None:
    model = net(CHAIN)
    model.put("v", np.zeros((9, 4, 1, 1), np.float32))
    with pytest.raises(ModelError, match="the graph is invalid"):
        model.save(tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        net(CHAIN).save(tmp_path / "no" / "m.onnx")


def test_a_file_is_written_with_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    net(CHAIN).save(tmp_path / "m.onnx")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "m.onnx")]
    assert modes[0] == modes[1]


def test_a_large_model_has_its_weights_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxprune.proto.TWO_GB", 100)
    monkeypatch.setattr("onnxprune.proto.SMALL", 16)
    monkeypatch.setattr("onnxprune.normal.SMALL", 16)
    model = net(CHAIN)
    for _ in range(2):  # over an old one too
        model.save(tmp_path / "m.onnx")
        assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data"]
    assert Model.load(tmp_path / "m.onnx").fingerprint() == model.fingerprint()
    assert isinstance(Model.load(tmp_path / "m.onnx").tensor("w").value(), np.memmap)


def test_shapes_of_the_file_are_replaced_by_inferred_ones() -> None:
    proto = net_proto(CHAIN)
    proto.graph.value_info.append(helper.make_tensor_value_info("a", 1, [1, 99, 8, 8]))
    proto.graph.value_info.append(helper.make_tensor_value_info("ghost", 1, [1]))
    model = Model.load(proto)
    assert model.tensor("a").shape == (1, 4, 8, 8)
    assert {v.name: shape_of(v) for v in model.proto().graph.value_info} == {
        "a": (1, 4, 8, 8),
        "r": (1, 4, 8, 8),
    }


def test_shapes_follow_an_edit() -> None:
    model = net(CHAIN)
    model.put("w", np.zeros((5, 3, 3, 3), np.float32))
    model.put("b", np.zeros(5, np.float32))
    model.put("v", np.zeros((2, 5, 1, 1), np.float32))
    assert model.tensor("r").shape == (1, 5, 8, 8)
    assert {shape_of(v) for v in model.proto().graph.value_info} == {(1, 5, 8, 8)}


def test_an_edit_that_breaks_the_graph_is_found_when_it_is_asked_for() -> None:
    model = net(CHAIN)
    model.put("v", np.zeros((2, 4, 1), np.float32))
    with pytest.raises(ModelError, match="the graph is invalid"):
        model.proto()


# -- fingerprints ----------------------------------------------------------------------------------------------------


def test_equal_models_have_equal_fingerprints_however_their_weights_are_stored() -> None:
    raw, typed = net_proto(CHAIN), net_proto(CHAIN)
    for tensor in typed.graph.initializer:
        value = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, 1, value.shape, value.ravel().tolist()))
    assert typed.graph.initializer[0] != raw.graph.initializer[0]
    assert Model.load(typed).fingerprint() == Model.load(raw).fingerprint()


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.put("w", m.tensor("w").value() * np.float32(1.0001)),
        lambda m: m.put("extra", np.zeros(1, np.float32)),
        lambda m: m.set_attribute(m.node("Conv_2"), "dilations", [2, 2]),
        lambda m: m.set_input(m.node("Conv_2"), 1, "w"),
        lambda m: m.drop(m.node("Relu_1")),
    ],
)
def test_every_edit_changes_the_fingerprint(edit) -> None:
    model = net(CHAIN)
    before = model.fingerprint()
    edit(model)
    assert model.fingerprint() != before


def test_a_value_put_back_gives_the_old_fingerprint() -> None:
    model = net(CHAIN)
    before, value = model.fingerprint(), model.tensor("w").value()
    model.put("w", value * 2)
    model.put("w", value)
    assert model.fingerprint() == before


# -- edits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [np.float32(3), np.ones((2, 3), np.float32)[:, ::2], np.array([1, 2]), np.zeros((0, 2))]
)
def test_a_constant_is_put_as_it_is(value: np.ndarray) -> None:
    model = net(CHAIN)
    model.put("new", value)
    held = model.tensor("new")
    assert (held.shape, held.dtype) == (np.shape(value), value.dtype)
    assert np.array_equal(held.value(), value)


def test_putting_a_shared_constant_changes_it_for_every_reader() -> None:
    model = net("(float[2] x) => (float[2] y) <float[2] c> { a = Add(x, c)  y = Mul(a, c) }")
    model.put("c", np.array([2, 3], np.float32))
    (y,) = run(model, {"x": np.ones(2, np.float32)})
    assert y.tolist() == [6, 12]


def test_a_constant_that_was_put_does_not_follow_its_source() -> None:
    model, value = net(CHAIN), np.ones(4, np.float32)
    model.put("b", value)
    value[:] = 5
    assert model.tensor("b").value().tolist() == [1, 1, 1, 1]


def test_a_frozen_tensor_keeps_its_name_and_loses_its_producer() -> None:
    model = net("(float[2] x) => (float[2] y) <float[2] c> { d = Neg(c)  a = Add(x, d)  y = Mul(a, d) }")
    expected = run(model, feeds(model))
    model.freeze("d", -model.tensor("c").value())
    assert [n.op for n in model.nodes] == ["Add", "Mul"]
    assert model.tensor("d").constant
    assert np.array_equal(run(model, feeds(model))[0], expected[0])
    assert model.sweep() == 1
    assert [t.name for t in model.constants] == ["d"]


def test_a_producer_with_another_output_stays_when_one_is_frozen() -> None:
    model = net("""(float[4] x) => (float[2] y) <float[4] c, int64[2] s = {2,2}>
        { p, q = Split(c, s)  a = Add(x, c)  r, t = Split(a, s)  u = Add(r, p)  y = Add(u, q) }""")
    expected = run(model, feeds(model))[0]
    model.freeze("q", model.tensor("c").value()[2:])
    assert [n.op for n in model.nodes].count("Split") == 2
    assert [len(model.consumers(t.name)) for t in model.node("Split_0").outputs if t] == [1, 0]
    np.testing.assert_allclose(run(model, feeds(model))[0], expected)
    model.freeze("p", model.tensor("c").value()[:2])
    assert [n.op for n in model.nodes].count("Split") == 1
    np.testing.assert_allclose(run(model, feeds(model))[0], expected)


def test_an_attribute_is_set_replaced_and_removed() -> None:
    model = net(CHAIN)
    model.set_attribute(model.node("Conv_0"), "pads", [0, 0, 2, 2])
    assert model.node("Conv_0").attrs["pads"] == (0, 0, 2, 2)
    model.set_attribute(model.node("Conv_0"), "auto_pad", "SAME_LOWER")
    model.set_attribute(model.node("Conv_0"), "pads", None)
    assert dict(model.node("Conv_0").attrs) == {"auto_pad": "SAME_LOWER"}
    model.set_attribute(model.node("Conv_0"), "pads", None)
    model.proto()


def test_an_input_is_replaced_or_added_with_gaps_left_out() -> None:
    model = net("(float[2] x) => (float[2] y) <float hi = {1}> { y = Clip(x) }")
    model.set_input(model.nodes[0], 2, "hi")
    assert [t and t.name for t in model.nodes[0].inputs] == ["x", None, "hi"]
    (y,) = run(model, {"x": np.array([-5, 5], np.float32)})
    assert y.tolist() == [-5, 1]


def test_an_input_set_on_a_node_with_a_subgraph_leaves_its_captures() -> None:
    model = net(IF)
    model.put("yes", np.array(True))
    model.set_input(model.nodes[-1], 0, "yes")
    assert [t and t.name for t in model.nodes[-1].inputs] == ["yes"]
    assert [t.name for t in model.nodes[-1].captures] == ["a", "k"]
    model.proto()


def test_an_input_computed_further_down_is_brought_forward() -> None:
    model = net("(float[2] x) => (float[2] y, float[2] z) { a = Exp(x)  y = Neg(a)  b = Abs(x)  z = Neg(b) }")
    model.set_input(model.node("Neg_1"), 0, "b")
    order = [n.name for n in model.nodes]
    assert order.index("Abs_2") < order.index("Neg_1")
    model.proto()


def test_an_output_is_renamed() -> None:
    model = net(CHAIN)
    relu, conv = model.node("Relu_1"), model.node("Conv_2")
    model.set_output(relu, 0, "positive")
    model.set_input(conv, 0, "positive")
    assert model.producer("positive") is not None
    assert_same_function(model, net(CHAIN))


def test_readers_are_rewired_all_at_once() -> None:
    model = net("(float[2] x) => (float[2] y) { a = Relu(x)  b = Abs(x)  c = Add(a, a)  d = Mul(c, a)  y = Sub(d, b) }")
    model.rewire("a", "b")
    assert model.consumers("a") == ()
    (y,) = run(model, {"x": np.array([-2, 3], np.float32)})
    assert y.tolist() == [2 * 4 - 2, 2 * 9 - 3]
    assert model.sweep() == 1


@pytest.mark.parametrize("name", ["y", "a", "k"])
def test_a_tensor_whose_name_is_needed_is_not_rewired(name: str) -> None:
    model = net(IF)
    with pytest.raises(ModelError, match="its name must stay"):
        model.rewire(name, "x")


def test_a_node_is_inserted_in_order() -> None:
    model = net(CHAIN)
    model.insert("Abs", ["a"], ["positive"], name="abs")
    model.set_input(model.node("Relu_1"), 0, "positive")
    assert [n.name for n in model.nodes] == ["Conv_0", "abs", "Relu_1", "Conv_2"]
    model.put("top", np.float32(6))
    model.insert("Clip", ["x", "", "top"], ["clipped"], name="abs")
    assert model.node("abs_1").op == "Clip"
    assert model.node("abs_1").input(1) is None


def test_a_dropped_node_may_be_bridged() -> None:
    model = net(CHAIN)
    relu = model.node("Relu_1")
    model.rewire("r", "a")
    model.drop(relu)
    assert [n.name for n in model.nodes] == ["Conv_0", "Conv_2"]
    model.proto()


def test_of_two_nodes_that_look_alike_the_right_one_is_dropped() -> None:
    proto = model_of(
        [helper.make_node("Relu", ["x"], [out], name=name) for out, name in (("a", "one"), ("y", "two"))],
        {"x": [2]},
        {"y": [2]},
    )
    model = Model.load(proto)
    model.drop(model.node("one"))
    assert [n.name for n in model.nodes] == ["two"]
    model.proto()


def test_sweeping_removes_what_nobody_reads() -> None:
    model = net("""(float[2] x, float[2] spare) => (float[2] y) <float[2] c, float[2] d, float[2] unread>
        { a = Add(x, c)  b = Mul(a, d)  e = Exp(b)  y = Neg(a) }""")
    assert model.sweep() == 4
    assert [n.op for n in model.nodes] == ["Add", "Neg"]
    assert [t.name for t in model.constants] == ["c"]
    assert [t.name for t in model.inputs] == ["x", "spare"]
    assert model.sweep() == 0
    model.proto()


def test_sweeping_keeps_constants_that_are_outputs_or_captured() -> None:
    model = net("(float[2] x) => (float[2] y, float[2] c) <float[2] c, float[2] d> { y = Relu(x) }")
    assert model.sweep() == 1
    assert [t.name for t in model.constants] == ["c"]
    assert net(IF).sweep() == 0


def test_fresh_names_are_free_everywhere() -> None:
    model = net(IF)
    assert model.fresh_name("new") == "new"
    taken = ["x", "c", "a", "k", "y", "If_1", "Exp_0", "p", "q"]
    assert [model.fresh_name(name) for name in taken] == [f"{name}_1" for name in taken]
    spare = net("(float[2] x, float[2] spare) => (float[2] y) { y = Relu(x) }")
    assert spare.fresh_name("spare") == "spare_1"


def test_a_fresh_name_counts_on() -> None:
    model = net(CHAIN)
    model.put("n", np.zeros(1))
    model.put("n_1", np.zeros(1))
    assert model.fresh_name("n") == "n_2"


def test_what_is_skipped_is_told_once_in_order() -> None:
    model = net(CHAIN)
    for where, why in (("b", "two"), ("a", "one"), ("b", "two")):
        model.skip(where, why)
    assert list(model.skipped) == [("b", "two"), ("a", "one")]
    twin = model.copy()
    twin.skip("c", "three")
    assert len(model.skipped) == 2


# -- copies and memory -----------------------------------------------------------------------------------------------


def test_a_copy_and_its_original_are_edited_apart() -> None:
    model = net(CHAIN)
    before, twin = model.fingerprint(), model.copy()
    twin.put("b", np.full(4, 9, np.float32))
    twin.set_attribute(twin.node("Conv_0"), "pads", [0, 0, 2, 2])
    twin.rewire("r", "a")
    twin.drop(twin.node("Relu_1"))
    twin.insert("Neg", ["a"], ["n"], name="neg")
    twin.provenance.keep(Axis("w", 0), 4, np.array([0]))
    assert model.fingerprint() == before
    assert [n.op for n in model.nodes] == ["Conv", "Relu", "Conv"]
    assert len(model.provenance.slots(Axis("w", 0), 4)) == 4
    edited = twin.fingerprint()
    model.drop(model.node("Relu_1"))
    model.put("b", np.zeros(4, np.float32))
    assert twin.fingerprint() == edited


def test_a_copy_of_a_graph_with_subgraphs_runs() -> None:
    model = net(IF)
    twin = model.copy()
    assert twin.fingerprint() == model.fingerprint()
    assert [t.name for t in twin.nodes[-1].captures] == ["a", "k"]
    inputs = {"x": np.ones((1, 4), np.float32), "c": np.array(False)}
    assert np.array_equal(run(twin, inputs)[0], run(model, inputs)[0])


def test_answers_are_remembered_until_an_edit() -> None:
    model = net(CHAIN)
    ctx, question = context(model), ChannelGroups()
    first = model.get(question, ctx)
    assert model.get(ChannelGroups(), ctx) is first
    assert model.copy().get(question, ctx) is first
    assert (question, ()) in model.memo()
    model.put("b", np.zeros(4, np.float32))
    assert not model.memo()
    assert model.get(question, ctx) is not first


# -- unusual graphs --------------------------------------------------------------------------------------------------


def assert_round_trip(model: Model) -> None:
    again = Model.load(model.proto())
    assert again.fingerprint() == model.fingerprint()
    assert [t.name for t in again.outputs] == [t.name for t in model.outputs]
    values = feeds(model)
    for one, two in zip(run(again, values), run(model, values), strict=True):
        assert np.array_equal(one, two)
    ChannelGroups().compute(model)


@pytest.mark.parametrize(
    "text",
    [
        "(float[1,3] x) => (float[1,3] x) { }",
        "(float[1,3] x) => (float[1,3] x, float[1,3] y) { y = Relu(x) }",
        "(float[1,3] x, float[1,3] spare) => (float[1,3] y) { y = Relu(x) }",
        "(float[2] x) => (float[2] y, float[2] c) <float[2] c> { y = Add(x, c) }",
        "() => (float[2] c) <float[2] c> { }",
        "() => (float[2] y) <float[2] c> { y = Neg(c) }",
        "(float x) => (float y) { y = Exp(x) }",
        "(float[0,3] x) => (float[0,3] y) { y = Exp(x) }",
        "(float[2,4] x) => (float[2,2] y) <int64[2] s = {2,2}> { y, unread = Split<axis=1>(x, s) }",
        "(float[3] x, float[3] z) => (float[3] y) { a = Add(x, x)  b = Mul(a, z)  y = Sub(b, b) }",
    ],
)
def test_unusual_graphs_come_back_as_they_were(text: str) -> None:
    assert_round_trip(net(text))


def test_an_omitted_input_between_others_is_kept() -> None:
    model = net("(float[2] x) => (float[2] y) <float hi = {1}> { y = Clip(x, , hi) }")
    assert list(model.copy().proto().graph.node[0].input) == ["x", "", "hi"]
    assert_round_trip(model)


def test_an_omitted_output_before_others_is_kept() -> None:
    model = net(
        "(float[5,2,3] x) => (float[1,2,4] h) <float[1,16,3] w, float[1,16,4] r> { , h = LSTM<hidden_size=4>(x, w, r) }"
    )
    assert list(model.copy().proto().graph.node[0].output) == ["", "h"]
    assert_round_trip(model)


def test_a_deep_graph_is_read_and_edited() -> None:
    count = 3000
    chain = "  ".join(f"t{i + 1} = Relu(t{i})" for i in range(count))
    model = net(f"(float[2] t0) => (float[2] t{count}) {{ {chain} }}")
    model.insert("Neg", ["t5"], ["n"], name="neg")
    model.set_input(model.node("Relu_9"), 0, "n")
    assert len(model.nodes) == count + 1
    model.proto()


def test_a_graph_without_a_name_gets_one() -> None:
    proto = net_proto(CHAIN)
    proto.graph.ClearField("name")
    onnx.checker.check_model(Model.load(proto).proto(), full_check=True)


def test_sequences_are_kept() -> None:
    model = net("""(float[2] x) => (float[2] y) <int64 i = {1}>
        { n = Neg(x)  s = SequenceConstruct(x, n)  y = SequenceAt(s, i) }""")
    assert (model.tensor("s").shape, model.tensor("s").dtype, model.tensor("y").shape) == (None, None, (2,))
    assert_round_trip(model)


def test_a_loop_is_kept() -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
        g (float[2] x, int64 n) => (float[2] y) <float[2] step>
        { yes = Constant<value = bool {1}>()
          y = Loop (n, yes, x) <body = b (int64 i, bool go, float[2] s) => (bool on, float[2] t)
              { on = Identity(go)  t = Add(s, step) }> }""")
    proto.graph.initializer.append(floats("step", 2))
    del proto.graph.value_info[:]
    model = Model.load(proto)
    assert [t.name for t in model.nodes[-1].captures] == ["step"]
    (y,) = run(model.copy(), {"x": np.zeros(2, np.float32), "n": np.array(3)})
    assert y.tolist() == [3, 6]


def test_a_size_of_minus_one_is_an_open_one() -> None:
    proto = net_proto("(float[N,3] x) => (float[A,2] y) <float[3,2] w> { y = Gemm(x, w) }")
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    model = Model.load(proto)
    assert model.tensor("x").shape == (None, 3)
    assert run(model, {"x": np.ones((4, 3), np.float32)})[0].shape == (4, 2)
