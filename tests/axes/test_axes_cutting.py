"""A cut network computes what the original computes with the removed channels silenced, exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import pytest
from cuts import assert_cuts_are_exact, axis, cut_at, group, random_cut, shifted
from generator import random_model
from nets import NETS, OPSETS
from onnx import helper
from oracle import assert_different_function, assert_same_function, distance, net, net_proto, silenced

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.cutting import cut
from onnxprune.axes.silencing import removed
from onnxprune.errors import PassError
from onnxprune.model import Model


def as_it_is(proto: onnx.ModelProto) -> onnx.ModelProto:
    return proto


def listed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every constant is a graph input too, as before IR version 4."""
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return proto


def spoken(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every constant is the output of a Constant node."""
    for tensor in reversed(proto.graph.initializer):
        proto.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del proto.graph.initializer[:]
    return proto


def aliased(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every constant is read through two Identity nodes."""
    for tensor in proto.graph.initializer:
        name = tensor.name
        tensor.name = f"{name}_stored"
        proto.graph.node.insert(0, helper.make_node("Identity", [f"{name}_twin"], [name]))
        proto.graph.node.insert(0, helper.make_node("Identity", [tensor.name], [f"{name}_twin"]))
    return proto


FORMS: tuple[Callable[[onnx.ModelProto], onnx.ModelProto], ...] = (as_it_is, listed, spoken, aliased)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETS)
def test_a_cut_net_is_the_original_with_the_channels_silenced(
    name: str, form: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    model = Model.load(form(net_proto(NETS[name], OPSETS.get(name, 17))))
    for seed in range(3):
        after, spec = random_cut(model, seed)
        assert spec
        assert_same_function(after, silenced(model, spec))


@pytest.mark.parametrize("name", NETS)
def test_it_is_neither_the_original_nor_that_with_other_channels_silenced(name: str) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    after, spec = random_cut(model, seed=1)
    assert_different_function(after, model)
    assert_different_function(after, silenced(model, shifted(model, spec)))


@pytest.mark.parametrize("name", NETS)
def test_every_atom_can_go_alone(name: str) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    for found in ChannelGroups().compute(model):
        for atom in found.free:
            slots = found.slots(np.array([atom]))
            if all(len(s) < (model.tensor(a.tensor).size(a.dim) or 0) for a, s in slots.items()):
                after = model.copy()
                cut(after, slots)
                assert_same_function(after, silenced(model, removed(after)))


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23])
def test_every_opset_is_cut_alike(opset: int) -> None:
    axes = "ReduceMean<axes=[2,3]>(d)" if opset < 18 else "ReduceMean(d, axes)"
    squeeze = "Squeeze<axes=[2,3]>(e)" if opset < 13 else "Squeeze(e, axes)"
    split = "Split<axis=1, split=[2,4]>(b)" if opset < 13 else "Split<axis=1>(b, sizes)"
    text = f"""(float[2,3,6,6] x) => (float[2,2] y) <float[6,3,1,1] w, float[6] scale, float[6] o, float[6] mean,
        float[6] var, int64[2] sizes = {{2,4}}, int64[2] axes = {{2,3}}, float[6,1,1] slope, float[6,2] v, float[2] c>
        {{ a = Conv(x, w)  n = BatchNormalization(a, scale, o, mean, var)  b = PRelu(n, slope)  p, q = {split}
           d = Concat<axis=1>(q, p)  e = {axes}  f = {squeeze}  g = Dropout(f)  y = Gemm(g, v, c) }}"""
    model = net(text, opset)
    after, spec = random_cut(model, seed=opset)
    assert spec["w"].keys() == {0}
    assert_same_function(after, silenced(model, spec))
    assert_different_function(after, model)


@pytest.mark.parametrize("opset", [24, 25, 26])
def test_opsets_too_new_for_the_runtime_are_cut_too(opset: int) -> None:
    model = net(NETS["residual"], opset)
    after, spec = random_cut(model, seed=0)
    assert after.opset == opset
    assert spec.keys() == {"w", "u", "b", "v"}
    assert after.proto().graph.output == model.proto().graph.output


# -- random networks -------------------------------------------------------------------------------------------------

CHUNK, CHUNKS = 50, 9


@dataclass(frozen=True)
class Outcome:
    """What became of one random network: whether something was cut, and whether the controls saw it."""

    cut: bool
    seen: bool = False
    placed: bool = False


@cache
def outcome(seed: int) -> Outcome:
    model = Model.load(random_model(seed))
    after, spec = random_cut(model, seed)
    if not spec:
        return Outcome(cut=False)
    assert_same_function(after, silenced(model, spec))
    misplaced = silenced(model, shifted(model, spec))
    return Outcome(True, distance(after, model) > 1e-3, distance(after, misplaced) > 1e-3)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_nets_are_cut_exactly(chunk: int) -> None:
    outcomes = [outcome(seed) for seed in range(CHUNK * chunk, CHUNK * (chunk + 1))]
    assert sum(found.cut for found in outcomes) >= CHUNK / 2


def test_the_oracle_would_see_a_wrong_cut_of_nearly_every_random_net() -> None:
    outcomes = [found for seed in range(CHUNK * CHUNKS) if (found := outcome(seed)).cut]
    assert len(outcomes) >= 300
    assert sum(found.seen for found in outcomes) >= 0.95 * len(outcomes)
    assert sum(found.placed for found in outcomes) >= 0.95 * len(outcomes)


def test_a_second_cut_is_as_exact_as_the_first() -> None:
    """Silenced is the original: provenance names slots of the input file through both cuts."""
    twice = 0
    for seed in range(40):
        model = Model.load(random_model(seed))
        once, first = random_cut(model, seed, share=0.5)
        after, _ = random_cut(once, seed + 1, share=0.5)
        spec = removed(after)
        assert_same_function(after, silenced(model, spec))
        twice += spec != first
    assert twice >= 15


# -- wrong cuts ------------------------------------------------------------------------------------------------------


def doomed(**slots: int) -> dict:
    return {axis(f"{name[:-1]}[{name[-1]}]"): np.array([slot]) for name, slot in slots.items()}


def test_a_consumer_that_loses_another_channel_than_the_producer_is_caught() -> None:
    model = net(NETS["chain"])
    right, wrong = model.copy(), model.copy()
    cut(right, doomed(w0=2, b0=2, v1=2, a1=2, r1=2))
    cut(wrong, doomed(w0=2, b0=2, v1=3, a1=2, r1=2))
    assert_same_function(right, silenced(model, removed(right)))
    assert_different_function(wrong, silenced(model, removed(right)))
    assert_different_function(wrong, silenced(model, removed(wrong)))


def test_a_bias_that_loses_another_channel_is_caught() -> None:
    model = net(NETS["chain"])
    wrong = model.copy()
    cut(wrong, doomed(w0=2, b0=3, v1=2, a1=2, r1=2))
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(wrong, silenced(model, removed(wrong)))


def test_a_branch_that_loses_another_channel_is_caught() -> None:
    model = net(NETS["residual"])
    wrong = model.copy()
    cut(wrong, doomed(w0=1, u0=2, b0=2, v1=1, a1=1, c1=1, s1=1, r1=1))
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(wrong, silenced(model, removed(wrong)))


def test_parts_of_a_split_that_are_swapped_are_caught() -> None:
    model = net(NETS["split and crossed"])
    after, spec = cut_at(model, "w[0]", 1)
    node = next(n for n in after.nodes if n.op == "Split")
    after.set_output(node, 0, "c")
    after.set_output(node, 1, "b")
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(after, silenced(model, spec))


# -- what a cut does to a model --------------------------------------------------------------------------------------


def test_a_cut_that_would_leave_nothing_is_refused_and_changes_nothing() -> None:
    model = net(NETS["chain"])
    found, before = group(model, "w[0]"), model.fingerprint()
    with pytest.raises(PassError, match=r"would leave nothing of .*: keep at least one slot"):
        cut(model, found.slots(found.free))
    assert model.fingerprint() == before


def test_a_cut_of_nothing_changes_nothing() -> None:
    model = net(NETS["chain"])
    before = model.fingerprint()
    cut(model, {})
    assert model.fingerprint() == before
    assert removed(model) == {}


def test_silencing_leaves_the_original_as_it_is() -> None:
    model = net(NETS["chain"])
    before = model.fingerprint()
    quiet = silenced(model, {"v": {1: [0, 5]}})
    assert model.fingerprint() == before
    assert not quiet.tensor("v").value()[:, [0, 5]].any()
    assert np.array_equal(quiet.tensor("v").value()[:, 1:5], model.tensor("v").value()[:, 1:5])


def test_silencing_takes_the_axes_of_a_spec_read_from_json() -> None:
    """JSON has no whole numbers as keys."""
    model = net(NETS["chain"])
    assert_same_function(silenced(model, {"v": {"1": [2]}}), silenced(model, {"v": {1: [2]}}))


def test_only_what_reads_channels_is_silenced() -> None:
    model = net(NETS["grouped"])
    quiet = silenced(model, {"w": {0: [1, 4]}, "g": {1: [1], 0: [2, 6]}, "b": {0: [2, 6]}, "v": {1: [2, 6]}})
    assert np.array_equal(quiet.tensor("w").value(), model.tensor("w").value())
    assert np.array_equal(quiet.tensor("b").value(), model.tensor("b").value())
    assert np.flatnonzero(~quiet.tensor("g").value().any((0, 2, 3))).tolist() == [1]
    assert np.flatnonzero(~quiet.tensor("v").value().any((0, 2, 3))).tolist() == [2, 6]


@pytest.mark.parametrize(
    "made",
    [
        "w = Transpose<perm=[1,0,2,3]>(s)",
        "f = Reshape(s, flat)  w = Reshape(f, back)",
        "w = Mul(s, two)",
        "h = Cast<to=10>(s)  w = Cast<to=1>(h)",
        "w = Concat<axis=0>(half, half)",
    ],
)
def test_a_weight_that_nodes_compute_is_cut_where_they_compute_it_from(made: str) -> None:
    model = net(f"""(float[1,4,6,6] x) => (float[1,2,6,6] y) <float[4,4,1,1] s, float[2,4,1,1] half, float two = {{2}},
        int64[1] flat = {{-1}}, int64[4] back = {{4,4,1,1}}, float[2,4,1,1] v>
        {{ {made}  a = Conv(x, w)  y = Conv(a, v) }}""")
    assert_cuts_are_exact(model)


def test_a_weight_that_was_computed_and_then_frozen_is_silenced_where_it_is_read() -> None:
    model = net("""(float[1,4,6,6] x) => (float[1,2,6,6] y) <float[4,5,1,1] s, float[5,2,1,1] t>
        { w = Transpose<perm=[1,0,2,3]>(s)  v = Transpose<perm=[1,0,2,3]>(t)  a = Conv(x, w)  r = Relu(a)
          y = Conv(r, v) }""")
    frozen = model.copy()
    for name, source in (("w", "s"), ("v", "t")):
        frozen.freeze(name, model.tensor(source).value().swapaxes(0, 1))
    frozen.sweep()
    after, spec = cut_at(frozen, "w[0]", 1, 3)
    assert spec == {"w": {0: [1, 3]}, "v": {1: [1, 3]}}
    assert_same_function(after, silenced(model, spec))
    assert_different_function(after, model)
    assert_different_function(after, silenced(model, shifted(frozen, spec)))


def test_half_precision_is_cut_as_it_is() -> None:
    model = net(NETS["chain"].replace("float[", "float16["))
    after, spec = random_cut(model, seed=0)
    assert after.tensor("w").dtype == np.float16
    assert_same_function(after, silenced(model, spec), rtol=1e-2)
    assert_different_function(after, model, rtol=1e-3)
