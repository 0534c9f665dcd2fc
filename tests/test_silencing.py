"""The silenced original is what is left when channels are taken out by hand, whatever dress the weights wear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from contexts import context
from cuts import cut_at, shifted, why
from onnx import numpy_helper
from oracle import assert_different_function, assert_same_function, feeds, net, run

import onnxprune
from onnxprune.errors import UsageError
from onnxprune.model import Model
from passes.fold import Fold

Slots = Mapping[str, Mapping[int, Sequence[int]]]
GONE = [1, 4]  # of six channels
HEAD = """(float[2,3,5,5] x) => (float[2,A,B,C] y) <float[6,3,1,1] w, float[6] b, {}>
    {{ a = Conv(x, w, b)  r = Elu(a)  {} }}"""
DENSE = "(float[2,3] x) => (float[2,4] y) <float[3,6] w, float[6] b, {}> {{ a = Gemm(x, w, b)  r = Elu(a)  {} }}"


def without(model: Model, gone: Slots) -> Model:
    """The model with slots taken out of constants, and nothing else."""
    proto = model.proto()
    del proto.graph.value_info[:]
    for tensor in proto.graph.initializer:
        value = numpy_helper.to_array(tensor)
        for dim, slots in gone.get(tensor.name, {}).items():
            value = np.delete(value, slots, dim)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
    return Model.load(proto)


# What stands behind the layer of six channels; the axes of its constants that read them; what a spec says of it.
DRESSES: dict[str, tuple[str, str, Slots, Slots]] = {
    "a constant": (HEAD, "float[4,6,1,1] v | y = Conv(r, v)", {"v": {1: GONE}}, {"v": {1: GONE}}),
    "grouped": (HEAD, "float[4,3,1,1] v | y = Conv<group=2>(r, v)", {"v": {1: [1]}}, {"v": {1: [1]}}),
    "transposed": (
        HEAD,
        "float[6,4,1,1] v | t = Transpose<perm=[1,0,2,3]>(v)  y = Conv(r, t)",
        {"v": {0: GONE}},
        {"r": {1: GONE}},
    ),
    "transposed and named": (
        HEAD,
        "float[6,4,1,1] v | t = Transpose<perm=[1,0,2,3]>(v)  y = Conv(r, t)",
        {"v": {0: GONE}},
        {"t": {1: GONE}},
    ),
    "quantised": (
        HEAD,
        "int8[4,6,1,1] v, float[6] scale, int8[6] zero | q = DequantizeLinear<axis=1>(v, scale, zero)  y = Conv(r, q)",
        {"v": {1: GONE}, "scale": {0: GONE}, "zero": {0: GONE}},
        {"r": {1: GONE}},
    ),
    "a deconvolution": (
        HEAD,
        "float[6,4,2,2] v | s = Identity(v)  y = ConvTranspose(r, s)",
        {"v": {0: GONE}},
        {"r": {1: GONE}},
    ),
    "a Gemm": (DENSE, "float[4,6] v | y = Gemm<transB=1>(r, v)", {"v": {1: GONE}}, {"v": {1: GONE}}),
    "a transposed left-hand input": (
        DENSE,
        "float[6,4] v | t = Transpose(r)  y = Gemm<transA=1>(t, v)",
        {"v": {0: GONE}},
        {"t": {0: GONE}},
    ),
    "a left-hand weight": (
        DENSE.replace("float[2,4] y", "float[4,2] y"),
        "float[4,6] v | t = Transpose(r)  y = MatMul(v, t)",
        {"v": {1: GONE}},
        {"t": {0: GONE}},
    ),
    "an Einsum": (DENSE, 'float[6,4] v | y = Einsum<equation="bk,kn->bn">(r, v)', {"v": {0: GONE}}, {"r": {1: GONE}}),
    "half of it": (
        DENSE,
        "float16[6,4] v | h = Cast<to=1>(v)  y = MatMul(r, h)",
        {"v": {0: GONE}},
        {"h": {0: GONE}},
    ),
    "read both ways": (
        DENSE,
        "float[6,6] v, float[6,4] u | h = MatMul(r, v)  s = Tanh(h)  k = Gemm<transB=1>(s, v)  y = MatMul(k, u)",
        {"v": {0: GONE, 1: [0, 3]}, "u": {0: GONE}},
        {"v": {0: GONE, 1: [0, 3]}, "u": {0: GONE}},
    ),
}
every_dress = pytest.mark.parametrize("dress", DRESSES)


def dressed(dress: str) -> tuple[Model, Model, Slots]:
    """The network, the same without the channels, and the spec."""
    frame, text, gone, spec = DRESSES[dress]
    declared, _, nodes = text.partition("|")
    model = net(frame.format(declared, nodes))
    made = {"w": {0 if frame is HEAD else 1: GONE}, "b": {0: GONE}}
    return model, without(model, {**made, **gone}), {**made, **spec}


@every_dress
def test_it_computes_what_the_network_without_the_channels_computes(dress: str) -> None:
    model, smaller, spec = dressed(dress)
    assert_same_function(smaller, onnxprune.silenced(model, spec))
    assert_different_function(smaller, model)


@every_dress
def test_it_is_another_function_with_other_channels_or_without_what_is_said_of_the_reader(dress: str) -> None:
    """The control."""
    model, smaller, spec = dressed(dress)
    readers = spec.keys() - {"w", "b"}
    other = {name: {dim: [slot + 1 for slot in slots] for dim, slots in spec[name].items()} for name in readers}
    assert_different_function(smaller, onnxprune.silenced(model, {**spec, **other}))
    assert_different_function(smaller, onnxprune.silenced(model, {name: spec[name] for name in ("w", "b")}))


@every_dress
def test_what_a_cut_network_says_it_lacks_is_enough(dress: str) -> None:
    model = dressed(dress)[0]
    if reason := why(model, "r[1]"):  # until it has a rule
        assert "no rule for DequantizeLinear" in reason
        return
    after, spec = cut_at(model, "r[1]", *GONE)
    assert_same_function(after, onnxprune.silenced(model, json.loads(json.dumps(spec))))
    assert_different_function(after, model)
    assert_different_function(after, onnxprune.silenced(model, shifted(model, spec)))


def test_what_overflows_in_a_silenced_channel_is_not_seen() -> None:
    frame, (_, text, gone, _) = DENSE.replace("Elu", "Exp"), DRESSES["half of it"]
    declared, _, nodes = text.partition("|")
    model = net(frame.format(declared, nodes))
    bias = np.array(model.tensor("b").value())
    bias[GONE] = 1e9
    model.put("b", bias)
    assert not np.isfinite(run(model, feeds(model))[0]).any()
    smaller = without(model, {"w": {1: GONE}, "b": {0: GONE}, **gone})
    assert_same_function(smaller, onnxprune.silenced(model, {"r": {1: GONE}}))
    assert np.isfinite(run(smaller, feeds(model))[0]).all()


def test_a_reader_of_a_copy_is_told_from_the_name_of_what_is_copied_and_the_other_way_round() -> None:
    """A pass may have removed the copying."""
    copies = "d = Dropout(r)  i = Identity(d)  c = Cast<to=1>(i)"
    text = f"float[4,6] v | {copies}  t = Transpose(v)  y = MatMul(c, t)"
    declared, _, nodes = text.partition("|")
    model = net(DENSE.format(declared, nodes))
    quiet = [onnxprune.silenced(model, {name: {1: GONE}}) for name in ("r", "d", "i", "c")]
    assert_different_function(quiet[0], model)
    for each in quiet[1:]:
        assert_same_function(each, quiet[0])


def test_before_there_was_where_it_is_done_by_multiplication() -> None:
    _, text, gone, spec = DRESSES["half of it"]
    declared, _, nodes = text.partition("|")
    model = net(DENSE.format(declared, nodes), opset=8)
    smaller = without(model, {"w": {1: GONE}, "b": {0: GONE}, **gone})
    assert_same_function(smaller, onnxprune.silenced(model, spec))


def test_it_takes_paths_and_protobuf_and_leaves_them_as_they_are(tmp_path: Path) -> None:
    model, smaller, spec = dressed("quantised")
    model.save(tmp_path / "net.onnx")
    (tmp_path / "prune.json").write_text(json.dumps(spec))
    before = (tmp_path / "net.onnx").read_bytes()
    proto = onnx.load(tmp_path / "net.onnx")
    for source in (tmp_path / "net.onnx", str(tmp_path / "net.onnx"), proto, model):
        for given in (tmp_path / "prune.json", str(tmp_path / "prune.json"), spec):
            assert_same_function(smaller, onnxprune.silenced(source, given))
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert proto == onnx.load(tmp_path / "net.onnx")


def test_a_spec_of_another_network_is_refused(tmp_path: Path) -> None:
    model, _, spec = dressed("quantised")
    (tmp_path / "prune.json").write_text(json.dumps({**spec, "rr": {"1": [0]}}))
    with pytest.raises(UsageError, match=r"prune.json: no tensor 'rr'; did you mean 'r'\?"):
        onnxprune.silenced(model, tmp_path / "prune.json")


def test_what_is_read_under_another_name_after_a_reshape_was_dropped_is_told_too() -> None:
    """The weight is computed, so the spec says what is read of its input, whose Reshape changes nothing and is gone."""
    model = net("""(float[1,3] x) => (float[1,64] y) <float[8,3] w, float[1,8] v, float[64,1] s, int64[2] shape = {1,8},
        int64[2] wide = {64,8}>
        { a = Gemm<transB=1>(x, w)  r = Tanh(a)  q = Reshape(r, shape)  e = Expand(v, wide)  m = Mul(e, s)
          y = Gemm<transB=1>(q, m) }""")
    folded = model.copy()
    Fold().run(folded, context(model))
    assert "Reshape" not in [node.op for node in folded.nodes]
    after, spec = cut_at(folded, "w[0]", 2, 5)
    assert spec["q"] == spec["r"] == {1: [2, 5]}
    assert_same_function(after, onnxprune.silenced(model, spec))
