"""Vectors that are stored once because they are equal do not tie their readers; weights that are shared do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from contexts import context
from cuts import shifted
from generator import random_model
from nets import NETS, OPSETS
from onnx import numpy_helper
from oracle import assert_different_function, assert_same_function, net, net_proto, silenced
from prunes import channels, prune

from onnxprune.axes.silencing import removed
from onnxprune.model import Model
from onnxprune.sharing import LARGE, merge, part

FREE = {"align": "1", "min": "1"}
CHAIN = """(float[2,3,6,6] x) => (float[2,8,6,6] y)
    <float[8,3,1,1] w, float[8,8,1,1] v, float[8,8,1,1] u, float[8] b, float[8] scale, float[8] var>
    { a = Conv(x, w, b)  n = BatchNormalization(a, scale, b, b, var)  p = Relu(n)
      d = Conv(p, v, b)  m = BatchNormalization(d, scale, b, b, var)  q = Relu(m)  y = Conv(q, u, b) }"""


def deduplicated(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all float vectors of one shape made equal, and stored once: some through Identity nodes."""
    first: dict[tuple[int, ...], str] = {}
    for tensor in list(proto.graph.initializer):
        shape = tuple(tensor.dims)
        if tensor.data_type == onnx.TensorProto.FLOAT and sum(size > 1 for size in shape) == 1:
            held = first.setdefault(shape, tensor.name)
            if held != tensor.name:
                proto.graph.initializer.remove(tensor)
                proto.graph.node.insert(0, onnx.helper.make_node("Identity", [held], [tensor.name]))
    return proto


def bytes_of(model: Model) -> int:
    return sum(t.value().nbytes for t in model.constants)


@pytest.mark.parametrize("ratio", ["40%", "50%"])
def test_layers_that_read_one_vector_are_cut_apart_and_exactly(ratio: str) -> None:
    model = net(CHAIN)
    after, record = prune(model, ratio=ratio, **FREE)
    spec = removed(after)
    assert spec["w"][0] != spec["v"][0]
    assert_same_function(after, silenced(model, spec))
    assert_different_function(after, model)
    assert_different_function(after, silenced(model, shifted(model, spec)))
    assert record.changed


def test_what_reads_an_output_is_not_in_the_way_of_the_others() -> None:
    """The last layer has the same bias, and its channels are those of an output."""
    after, _ = prune(net(CHAIN), ratio="50%", **FREE)
    assert channels(after) == {"w": 4, "v": 4, "u": 8}


def test_what_the_copies_take_is_told() -> None:
    model = net(CHAIN)
    after, record = prune(model, ratio="50%", **FREE)
    new = [t for t in after.constants if t.name not in {t.name for t in model.constants}]
    assert new
    assert f"constants that were shared take {sum(t.value().nbytes for t in new)} bytes more" in record.note


def test_copies_that_are_still_equal_are_one_again() -> None:
    text = """(float[2,3,6,6] x) => (float[2,2,6,6] y)
        <float[6,3,1,1] w, float[6,3,1,1] u, float[6] b, float[2,6,1,1] v>
        { a = Conv(x, w, b)  c = Conv(x, u, b)  s = Add(a, c)  r = Relu(s)  y = Conv(r, v) }"""
    model = net(text)
    after, record = prune(model, ratio="50%", **FREE)
    assert {t.name for t in after.constants} == {"w", "u", "b", "v"}
    assert "bytes more" not in record.note
    assert removed(after)["b"] == {0: removed(after)["w"][0]}
    assert_same_function(after, silenced(model, removed(after)))


def test_copies_that_are_equal_by_their_values_are_one_although_they_lost_other_slots() -> None:
    model = net(CHAIN)
    model.put("b", np.zeros(8, np.float32))
    after, _ = prune(model, ratio="50%", **FREE)
    spec = removed(after)
    assert len([t for t in after.constants if t.shape == (4,) and not t.value().any()]) == 1
    assert spec["w"][0] != spec["v"][0]
    assert "b" not in spec
    assert_same_function(after, silenced(model, spec))


def test_the_spec_is_silent_on_a_vector_whose_readers_lost_other_slots() -> None:
    after, _ = prune(net(CHAIN), ratio="50%", **FREE)
    assert removed(after).keys() == {"w", "v", "u"}


@pytest.mark.parametrize("name", NETS)
def test_nothing_is_left_of_it_where_nothing_is_cut(name: str) -> None:
    model = Model.load(deduplicated(net_proto(NETS[name], OPSETS.get(name, 17))))
    before = model.fingerprint()
    copies = part(model)
    assert merge(model, copies) == 0
    assert model.fingerprint() == before
    after, record = prune(model, ratio="50%", keep=".*", **FREE)
    assert not record.changed
    assert after.fingerprint() == before


def test_the_networks_above_are_taken_apart() -> None:
    """The control."""
    models = [Model.load(deduplicated(net_proto(NETS[name], OPSETS.get(name, 17)))) for name in NETS]
    assert sum(bool(part(model).of) for model in models) >= 3


@pytest.mark.parametrize("chunk", range(3))
def test_random_nets_whose_vectors_are_stored_once_are_pruned_exactly(chunk: int) -> None:
    apart = 0
    for seed in range(20 * chunk, 20 * (chunk + 1)):
        model = Model.load(deduplicated(random_model(seed)))
        after, record = prune(model, ratio="50%", **FREE)
        assert_same_function(after, silenced(model, removed(after)))
        apart += "bytes more" in record.note
    assert apart >= 3


def test_a_vector_that_a_subgraph_or_an_output_needs_keeps_its_name_and_value() -> None:
    text = """(float[2,3] x, bool k) => (float[2,8] y, float[8] z, float[8] b)
        <float[3,8] w, float[8,8] v, float[8,8] u, float[8] b>
        { a = Gemm(x, w, b)  p = Tanh(a)  d = Gemm(p, v, b)  q = Tanh(d)  y = MatMul(q, u)
          z = If(k) <then_branch = t () => (float[8] r) { r = Relu(b) },
                     else_branch = e () => (float[8] s) { s = Neg(b) }> }
        """
    model = net(text)
    before = np.array(model.tensor("b").value())
    after, record = prune(model, ratio="50%", **FREE)
    assert record.changed
    assert channels(after) == {"w": 4, "v": 4, "u": 8}
    assert np.array_equal(after.tensor("b").value(), before)
    assert "b" not in removed(after)


PYRAMID = """(float[2,3,6,6] x) => (float[2,2,A,B] y, float[2,8,C,D] z)
    <float[8,3,1,1] w, float[8,8,1,1] v, float[8] b, float[2,8,1,1] u>
    { a = Conv(x, w, b)  p = Relu(a)  c = Conv(p, v, b)  d = Relu(c)  y = Conv(d, u)
      q = MaxPool<kernel_shape=[2,2]>(p)  z = Conv(q, v, b) }"""


def test_a_weight_that_layers_share_stays_one_and_the_report_says_with_whom() -> None:
    model = net(PYRAMID)
    after, record = prune(model, ratio="50%", **FREE)
    assert channels(after) == {"w": 4, "v": 8, "u": 2}
    assert_same_function(after, silenced(model, removed(after)))
    why = {skip.where: skip.why for skip in record.skipped}
    assert "its weight 'v' is also that of Conv_6" in why["Conv_2"]
    assert "its weight 'v' is also that of Conv_2" in why["Conv_6"]
    assert not any("also" in each for where, each in why.items() if where not in ("Conv_2", "Conv_6"))


def test_a_weight_that_is_computed_from_a_shared_one_names_who_else_reads_that() -> None:
    text = """(int64[2,3] i) => (float[2,3,9] y) <float[9,8] w, float[8,8] v>
        { e = Gather(w, i)  a = MatMul(e, v)  r = Tanh(a)  t = Transpose<perm=[1,0]>(w)  y = MatMul(r, t) }"""
    _, record = prune(net(text), ratio="50%", **FREE)
    why = {skip.where: skip.why for skip in record.skipped}
    assert "its weight 'w' is also that of Gather_0" in why["MatMul_4"]


def test_a_large_constant_that_is_no_weight_stays_shared_and_the_report_says_so() -> None:
    wide = LARGE // 4 // 64 + 1
    text = f"""(float[1,3,8,{wide}] x) => (float[1,8,8,{wide}] y)
        <float[8,3,1,1] w, float[8,8,1,1] v, float[8,8,{wide}] m>
        {{ a = Conv(x, w)  b = Add(a, m)  r = Relu(b)  c = Conv(r, v)  y = Add(c, m) }}"""
    after, record = prune(net(text), ratio="50%", **FREE)
    assert not record.changed
    (why,) = {skip.why for skip in record.skipped if skip.where == "m"}
    assert why.startswith("one constant for Add_1, Add_4, as it is large: they are pruned alike; ")
    smaller = text.replace(str(wide), "8")
    after, record = prune(net(smaller), ratio="50%", **FREE)
    assert channels(after)["w"] == 4
    assert not [skip for skip in record.skipped if skip.where == "m"]


def test_a_budget_is_met_by_what_is_left_copies_included() -> None:
    model = net(CHAIN)
    for share in (0.6, 0.7, 0.8):
        after, record = prune(model, context(model), bytes=f"{share:.0%}", **FREE)
        assert not record.missed
        assert bytes_of(after) <= share * bytes_of(model)


def test_stored_types_that_are_rare_are_copied_as_they_are() -> None:
    """int4 is packed, two to a byte."""
    proto = net(CHAIN).proto()
    proto.opset_import[0].version = 21
    value = numpy_helper.from_array(np.arange(8, dtype=np.float32), "o")
    packed = onnx.helper.make_tensor("o4", onnx.TensorProto.INT4, [8], [1, -2, 3, -4, 5, -6, 7, -8])
    proto.graph.initializer.extend([value, packed])
    for k in range(2):
        proto.graph.node.append(onnx.helper.make_node("Cast", ["o4"], [f"f{k}"], to=1, name=f"cast{k}"))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(f"f{k}", 1, [8]))
    model = Model.load(proto)
    before = model.fingerprint()
    copies = part(model)
    assert len(copies.of["o4"]) == 1
    assert merge(model, copies) == 0
    assert model.fingerprint() == before
