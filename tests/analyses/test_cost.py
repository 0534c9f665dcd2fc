"""What networks cost, against numbers worked out by hand and left as arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from contexts import context
from cuts import cut_at, random_cut
from generator import random_model
from nets import NETS, OPSETS
from onnx import helper, numpy_helper
from oracle import net, net_proto

from onnxprune.analyses.cost import Cost, NodeCost, NodeCosts, Stats, Totals
from onnxprune.analyses.peak import Instants
from onnxprune.costs import CostModel, Term
from onnxprune.model import Model
from onnxprune.node import Axis


def macs(model: Model, **shapes: tuple[int, ...]) -> float:
    ctx = context(model, shapes=shapes) if shapes else context(model)
    total = Cost("macs").compute(model, ctx).total()
    assert total == sum(n.macs for n in NodeCosts().compute(model, ctx))
    return total


def params(model: Model) -> float:
    return Cost("params").compute(model, context(model)).total()


def weights(model: Model) -> float:
    return Cost("bytes").compute(model, context(model)).total()


def stats(model: Model) -> Totals:
    return Stats().compute(model, context(model))


# -- MACs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(float[1,3,8,6] x) => (float[1,4,8,6] y) <float[4,3,1,1] w> { y = Conv(x, w) }", 4 * 3 * 8 * 6),
        ("(float[2,3,8,8] x) => (float[2,4,6,6] y) <float[4,3,3,3] w> { y = Conv(x, w) }", 2 * 4 * 3 * 3 * 3 * 6 * 6),
        (
            "(float[1,3,9,9] x) => (float[1,4,5,4] y) <float[4,3,3,3] w> "
            "{ y = Conv<strides=[2,2], pads=[1,0,1,0]>(x, w) }",
            4 * 3 * 3 * 3 * 5 * 4,
        ),
        ("(float[1,6,8,8] x) => (float[1,4,8,8] y) <float[4,3,1,1] w> { y = Conv<group=2>(x, w) }", 4 * 3 * 8 * 8),
        ("(float[1,6,8,8] x) => (float[1,6,6,6] y) <float[6,1,3,3] w> { y = Conv<group=6>(x, w) }", 6 * 3 * 3 * 6 * 6),
        ("(float[1,3,9] x) => (float[1,4,7] y) <float[4,3,3] w> { y = Conv(x, w) }", 4 * 3 * 3 * 7),
        (
            "(float[2,4,5,5] x) => (float[2,6,11,11] y) <float[4,6,3,3] w> { y = ConvTranspose<strides=[2,2]>(x, w) }",
            2 * 5 * 5 * 4 * 6 * 3 * 3,
        ),
        (
            "(float[1,4,5,5] x) => (float[1,6,7,7] y) <float[4,3,3,3] w> { y = ConvTranspose<group=2>(x, w) }",
            5 * 5 * 4 * 3 * 3 * 3,
        ),
        ("(float[5,3] x) => (float[5,4] y) <float[3,4] w, float[4] b> { y = Gemm(x, w, b) }", 5 * 3 * 4),
        ("(float[5,3] x) => (float[5,4] y) <float[4,3] w> { y = Gemm<transB=1>(x, w) }", 5 * 3 * 4),
        ("(float[3,5] x) => (float[5,4] y) <float[3,4] w> { y = Gemm<transA=1>(x, w) }", 5 * 3 * 4),
        ("(float[2,7,3] x) => (float[2,7,4] y) <float[3,4] w> { y = MatMul(x, w) }", 2 * 7 * 3 * 4),
        ("(float[2,7,3] x) => (float[2,7,4] y) <float[2,3,4] w> { y = MatMul(x, w) }", 2 * 7 * 3 * 4),
        ("(float[7,3] x) => (float[2,7,4] y) <float[2,3,4] w> { y = MatMul(x, w) }", 2 * 7 * 3 * 4),
        ("(float[3] x) => (float[4] y) <float[3,4] w> { y = MatMul(x, w) }", 3 * 4),
        ("(float[7,3] x) => (float[7] y) <float[3] w> { y = MatMul(x, w) }", 7 * 3),
        ("(float[3,5] x) => (float[7,5] y) <float[7,3] w> { y = MatMul(w, x) }", 7 * 3 * 5),
        ("(float[2,6,7,3] x, float[2,6,3,9] z) => (float[2,6,7,9] y) { y = MatMul(x, z) }", 2 * 6 * 7 * 3 * 9),
    ],
)
def test_multiply_accumulates_of_linear_operators(text: str, expected: int) -> None:
    assert macs(net(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "(float[5,2,3] x) => (float[5,1,2,4] y) <float[1,16,3] w, float[1,16,4] r> "
            "{ y = LSTM<hidden_size=4>(x, w, r) }",
            5 * 2 * 4 * 4 * (3 + 4),
        ),
        (
            "(float[5,2,3] x) => (float[5,2,2,4] y) <float[2,12,3] w, float[2,12,4] r> "
            '{ y = GRU<hidden_size=4, direction="bidirectional">(x, w, r) }',
            2 * 5 * 2 * 3 * 4 * (3 + 4),
        ),
        (
            "(float[2,5,3] x) => (float[2,5,1,4] y) <float[1,4,3] w, float[1,4,4] r> "
            "{ y = RNN<hidden_size=4, layout=1>(x, w, r) }",
            5 * 2 * 4 * (3 + 4),
        ),
        (
            '(float[2,5,3] x) => (float[2,5,4] y) <float[3,4] w> { y = Einsum<equation="bij, jk -> bik">(x, w) }',
            2 * 5 * 3 * 4,
        ),
        (
            '(float[2,6,5,3] x) => (float[2,6,5,4] y) <float[3,4] w> { y = Einsum<equation="...ij,jk->...ik">(x, w) }',
            2 * 6 * 5 * 3 * 4,
        ),
        (
            "(float[2,6,5,3] x) => (float[2,6,4,5] y) <float[4,6,3] w> "
            '{ y = Einsum<equation="b...ij,k...j->b...ki">(x, w) }',
            2 * 6 * 5 * 3 * 4,
        ),
        (
            '(float[2,5,3] x, float[2,7,3] z) => (float[2,5,7] y) { y = Einsum<equation="bid,bjd->bij">(x, z) }',
            2 * 5 * 7 * 3,
        ),
    ],
)
def test_multiply_accumulates_of_recurrent_operators_and_sums(text: str, expected: int) -> None:
    assert macs(net(text)) == expected


def test_attention_counts_scores_and_their_weighted_sum() -> None:
    text = """(float[2,6,7,8] q, float[2,6,9,8] k, float[2,6,9,5] v) => (float[2,6,7,5] y) { y = Attention(q, k, v) }"""
    assert macs(net(text, opset=23)) == 2 * 6 * (7 * 9 * 8 + 7 * 9 * 5)


def test_attention_of_joined_heads_counts_them_all() -> None:
    text = """(float[2,7,48] q, float[2,9,48] k, float[2,9,30] v) => (float[2,7,30] y)
        { y = Attention<q_num_heads=6, kv_num_heads=6>(q, k, v) }"""
    assert macs(net(text, opset=23)) == 2 * 6 * (7 * 9 * 8 + 7 * 9 * 5)


def test_heads_that_share_keys_and_values_are_counted_each() -> None:
    text = """(float[2,7,48] q, float[2,9,16] k, float[2,9,10] v) => (float[2,7,30] y)
        { y = Attention<q_num_heads=6, kv_num_heads=2>(q, k, v) }"""
    assert macs(net(text, opset=23)) == 2 * 6 * (7 * 9 * 8 + 7 * 9 * 5)


def test_keys_of_the_past_are_counted() -> None:
    text = """(float[2,6,1,8] q, float[2,6,1,8] k, float[2,6,1,8] v, float[2,6,9,8] pk, float[2,6,9,8] pv)
        => (float[2,6,1,8] y, float[2,6,10,8] ok, float[2,6,10,8] ov) { y, ok, ov = Attention(q, k, v, , pk, pv) }"""
    assert macs(net(text, opset=23)) == 2 * 6 * 10 * (8 + 8)


def test_a_weight_that_nodes_compute_counts_too() -> None:
    text = """(float[2,3,8,8] x) => (float[2,4,8,8] y) <float[3,4,1,1] s>
        { w = Transpose<perm=[1,0,2,3]>(s)  y = Conv(x, w) }"""
    assert macs(net(text)) == 2 * 4 * 3 * 8 * 8


def test_other_operators_count_nothing() -> None:
    assert macs(net("(float[2,3] x) => (float[2,3] y) <float[3] b> { a = Add(x, b)  y = Softmax(a) }")) == 0


DYNAMIC = "(float[N,3,H,8] x) => (float[N,4,H,8] y) <float[4,3,1,1] w> { y = Conv(x, w) }"


def test_a_dynamic_size_counts_as_one_unless_it_is_given() -> None:
    model = net(DYNAMIC)
    assert macs(model) == 4 * 3 * 1 * 8
    assert macs(model, x=(2, 3, 5, 8)) == 4 * 3 * 2 * 5 * 8
    assert params(model) == 4 * 3


# -- parameters and bytes --------------------------------------------------------------------------------------------


def test_indices_shapes_and_masks_are_no_parameters_but_have_bytes() -> None:
    model = net("""(float[2,6] x) => (float[3,4] y) <float[6] b, int64[2] t = {3,4}, bool[6] m = {1,0,1,1,0,1}>
        { a = Add(x, b)  c = Where(m, a, b)  y = Reshape(c, t) }""")
    assert params(model) == 6
    assert weights(model) == 6 * 4 + 2 * 8 + 6 * 1


def test_a_shared_constant_counts_once_in_all_and_for_every_reader() -> None:
    model = net("""(float[2,4] x) => (float[2,4] y) <float[4,4] w, float[4] b>
        { a = Gemm(x, w, b)  r = Relu(a)  y = Gemm(r, w, b) }""")
    assert params(model) == 4 * 4 + 4
    assert [n.params for n in NodeCosts().compute(model, context(model))] == [20, 0, 20]


def test_half_precision_takes_two_bytes() -> None:
    model = net("(float16[2,4] x) => (float16[2,5] y) <float16[4,5] w> { y = MatMul(x, w) }")
    assert (params(model), weights(model)) == (4 * 5, 4 * 5 * 2)
    assert stats(model).peak_activation_bytes == (2 * 4 + 2 * 5) * 2


def quantised(kind: int, count: int) -> Model:
    """A vector of that type, made into floats and added."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), helper.make_node("Add", ["x", "w"], ["y"])]
    infos = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [count]) for n in "xy"]
    values = [numpy_helper.from_array(np.ones(count).astype(dtype), "q"), helper.make_tensor("s", 1, [], [0.5])]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], values)
    return Model.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13))


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("INT8", 1),
        ("UINT8", 1),
        ("INT4", 0.5),
        ("UINT4", 0.5),
        ("FLOAT4E2M1", 0.5),
        ("FLOAT8E4M3FN", 1),
        ("INT2", 0.25),
    ],
)
def test_narrow_types_take_their_share_of_a_byte(kind: str, size: float) -> None:
    model = quantised(getattr(onnx.TensorProto, kind), 8)
    assert weights(model) == 8 * size + 4
    assert params(model) == 8 + 1
    assert [n.weight_bytes for n in NodeCosts().compute(model, context(model))] == [8 * size + 4, 0]


def test_text_has_no_bytes_that_count() -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [2])],
        [helper.make_tensor_value_info("y", 1, [2]), helper.make_tensor_value_info("label", 8, [2])],
        [numpy_helper.from_array(np.array(["cat", "dog"], object), "label")],
    )
    model = Model.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert (params(model), weights(model)) == (0, 0)


# -- all of it -------------------------------------------------------------------------------------------------------

CHAIN = """(float[1,3,8,8] x) => (float[1,2,8,8] y) <float[6,3,1,1] w, float[6] b, float[2,6,1,1] v>
    { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v) }"""
PIXELS = 8 * 8
FLOAT = 4


def test_the_cost_of_every_node_in_the_order_of_execution() -> None:
    model = net(CHAIN)
    assert NodeCosts().compute(model, context(model)) == (
        NodeCost("Conv_0", "Conv", 6 * 3 * PIXELS, 6 * 3 + 6, (6 * 3 + 6) * FLOAT, 6 * PIXELS * FLOAT),
        NodeCost("Relu_1", "Relu", 0, 0, 0, 6 * PIXELS * FLOAT),
        NodeCost("Conv_2", "Conv", 2 * 6 * PIXELS, 2 * 6, 2 * 6 * FLOAT, 2 * PIXELS * FLOAT),
    )


def test_the_totals_of_a_network() -> None:
    count = 6 * 3 + 6 + 2 * 6
    found = stats(net(CHAIN))
    assert found == Totals(
        params=count,
        macs=(6 * 3 + 2 * 6) * PIXELS,
        bytes=count * FLOAT,
        nodes=3,
        peak_activation_bytes=(6 + 6) * PIXELS * FLOAT,
    )
    assert found.to_dict()["peak_activation_bytes"] == 12 * 64 * 4


def peak(text: str) -> float:
    """In channels of 8×8 floats."""
    return stats(net(text)).peak_activation_bytes / (PIXELS * FLOAT)


def test_a_shortcut_stays_alive_until_it_is_added() -> None:
    residual = """(float[1,4,8,8] x) => (float[1,4,8,8] y) <float[4,4,1,1] w, float[4,4,1,1] v>
        { a = Conv(x, w)  b = Conv(a, v)  c = %s  y = Relu(c) }"""
    assert peak(residual % "Add(b, x)") == 4 + 4 + 4
    assert peak(residual % "Add(b, b)") == 4 + 4


def test_an_output_stays_alive_to_the_end() -> None:
    text = """(float[1,1,8,8] x) => (float[1,5,8,8] a, float[1,1,8,8] y) 
        <float[5,1,1,1] w, float[3,5,1,1] u, float[1,3,1,1] v>
        { a = Conv(x, w)  b = Conv(a, u)  y = Conv(b, v) }"""
    assert peak(text) == 5 + 3 + 1


def test_what_a_subgraph_reads_is_alive_until_then() -> None:
    text = """(float[1,1,8,8] x, bool c) => (float[1,1,8,8] y) <float[5,1,1,1] w>
        { a = Exp(x)  b = Neg(x)  d = Abs(b)
          y = If (c) <then_branch = t () => (float[1,1,8,8] p) { p = Add(a, d) },
                      else_branch = e () => (float[1,1,8,8] q) { q = Abs(d) }> }"""
    flag = 1 / (PIXELS * FLOAT)
    assert peak(text) == 3 + flag


def test_an_input_that_nobody_reads_is_freed_at_once() -> None:
    text = (
        "(float[1,9,8,8] x, float[1,1,8,8] z) => (float[1,8,8,8] y) <float[8,1,1,1] w> { a = Abs(z)  y = Conv(a, w) }"
    )
    assert peak(text) == 1 + 8


def test_a_network_of_no_nodes_costs_nothing() -> None:
    found = stats(net("(float[1,3] x) => (float[1,3] x) { }"))
    assert (found.params, found.macs, found.bytes, found.nodes) == (0, 0, 0, 0)


# -- cost models -----------------------------------------------------------------------------------------------------


def test_a_cost_model_is_a_sum_of_products_of_sizes() -> None:
    cost = CostModel((Term("a", 2, ("n", "m")), Term("b", 5, ("n",)), Term("c", 7)), {"n": 3, "m": 4})
    assert cost.total() == 2 * 3 * 4 + 5 * 3 + 7


def test_parts_name_nodes_and_constants_and_their_axes() -> None:
    model = net(CHAIN)
    rows, columns = Axis("w", 0), Axis("w", 1)
    work = Cost("macs").compute(model, context(model))
    assert work.parts[0] == Term("Conv_0", PIXELS, (Axis("a", 0), rows, columns))
    assert (work.sizes[rows], work.sizes[columns]) == (6, 3)
    held = Cost("bytes").compute(model, context(model))
    assert {t.where: t.coefficient for t in held.parts} == {"w": FLOAT, "b": FLOAT, "v": FLOAT}


@pytest.mark.parametrize("kind", ["macs", "params", "bytes"])
def test_a_cost_model_foretells_the_cost_of_a_cut_model(kind: str) -> None:
    told = 0
    models = [net(text, OPSETS.get(name, 17)) for name, text in NETS.items()]
    models += [Model.load(random_model(seed)) for seed in range(60)]
    for seed, model in enumerate(models):
        after, _ = random_cut(model, seed)
        before = Cost(kind).compute(model, context(model))
        left = {where: after.tensor(where.tensor).size(where.dim) or 1 for where in before.sizes}
        foretold = CostModel(before.parts, left).total()
        now = Cost(kind).compute(after, context(after))
        written = [t for t in now.parts if t.where.endswith("_sizes")]  # of a Split or Reshape, for itself
        assert now.total() - CostModel(tuple(written), now.sizes).total() == foretold
        told += foretold < before.total()
    assert told >= 60


def test_the_peak_of_a_cut_model_is_the_largest_of_the_instants_that_were_foretold() -> None:
    told = 0
    for seed in range(60):
        model = Model.load(random_model(seed))
        after, _ = random_cut(model, seed)
        instants = Instants().compute(model, context(model))
        assert max(cost.total() for cost in instants) == stats(model).peak_activation_bytes
        left = {axis: after.tensor(axis.tensor).size(axis.dim) or 1 for cost in instants for axis in cost.sizes}
        foretold = max(CostModel(cost.parts, left).total() for cost in instants)
        assert stats(after).peak_activation_bytes == foretold
        told += foretold < stats(model).peak_activation_bytes
    assert told >= 20


def test_the_total_is_the_sum_over_the_nodes_of_random_networks() -> None:
    for seed in range(60):
        model = Model.load(random_model(seed))
        ctx = context(model)
        total = Cost("macs").compute(model, ctx).total()
        assert total == sum(n.macs for n in NodeCosts().compute(model, ctx)) == Stats().compute(model, ctx).macs


def test_equal_questions_have_one_answer_until_the_model_changes() -> None:
    model = net(CHAIN)
    ctx = context(model)
    assert model.get(Cost("macs"), ctx) is model.get(Cost("macs"), ctx)
    after, _ = cut_at(model, "w[0]", 0)
    assert after.get(Cost("macs"), ctx).total() == 5 * (3 + 2) * PIXELS
    assert model.get(Cost("macs"), ctx).total() == 6 * (3 + 2) * PIXELS


def test_a_question_under_other_shapes_is_another() -> None:
    model = net(DYNAMIC)
    one, two = context(model), context(model, shapes={"x": (2, 3, 5, 8)})
    assert model.get(Cost("macs"), two).total() == 10 * model.get(Cost("macs"), one).total()


def test_operators_between_tensors_of_unknown_rank_count_nothing() -> None:
    proto = net_proto(
        "(float[2,3,5,5] x) => (float[A,B,C,D] y) <float[6,3,1,1] w>"
        "{ a = Conv(x, w)  b = my.dom.Foo(a)  c = my.dom.Foo(a)  y = MatMul(b, c) }"
    )
    proto.opset_import.add(domain="my.dom", version=1)
    model = Model.load(proto)
    assert model.get(Stats(), context(model)).macs == 2 * 6 * 3 * 25


def test_an_operator_whose_rank_only_a_run_tells_counts_as_any_other() -> None:
    """The two branches of an If make tensors of different rank."""
    text = """(float[2,4,3] x, float[R] like) => (float[] y) <float[3,8] w, bool yes = {1}>
        { t = If (yes) <then_branch = a () => (float[] p) { p = Identity(x) },
                        else_branch = b () => (float[] q) { q = Identity(like) }>
          y = MatMul(t, w) }"""
    model = net(text)
    assert model.node("MatMul_1").y().rank is None
    assert model.get(Stats(), context(model)).macs == 2 * 4 * 3 * 8
