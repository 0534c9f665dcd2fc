"""Weights in few bits: what the file holds and stands for, and what onnxruntime and the other passes make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contexts import context
from kernels import optimised
from oracle import feeds, net, run
from prunes import calibrated, samples

from onnxprune.axes.linear import linear
from onnxprune.errors import UsageError
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.passes import Changed, Context, Outcome, Unchanged
from onnxprune.quantization.inserting import Codes
from onnxprune.quantization.storing import FORMATS, Storage, stored
from passes.fold import Fold
from passes.store import Store

NET = """
    (float[N,3,8,8] x) => (float[N,5] y)
    <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,6,2,2] u, float[6,96] v, float[96,5] t>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  k = Conv<pads=[1,1,1,1], group=8>(r, d, e)  m = Relu(k)
      q = ConvTranspose<strides=[2,2]>(m, u)  s = Relu(q)  p = GlobalAveragePool(s)  f = Flatten(p)
      g = Gemm(f, v)  h = Relu(g)  y = MatMul(h, t) }"""


def made(text: str = NET, opset: int = 13) -> tuple[Model, Context]:
    model = net(text)
    model.lift(opset)
    return model, calibrated(model, samples(model, 48))


def restored(model: Model, ctx: Context, storage: Storage) -> tuple[Model, Model]:
    """The stored model, and the original with the weights that numpy restores."""
    result, expected = stored(model, ctx, storage), model.copy()
    for name, weight in result.weights.items():
        expected.put(name, weight.restored if isinstance(weight, Codes) else weight.astype(np.float32))
    return result.model, expected


def store(model: Model, ctx: Context, **options: Any) -> Outcome:
    return Store(**options).run(model, ctx)


WAYS = {
    "in 8 bits": (13, {"bits": 8}),
    "in 4 bits, as bytes": (13, {"bits": 4}),
    "in 4 bits": (21, {"bits": 4}),
    "in 3 bits": (21, {"bits": 3}),
    "in 2 bits, as half bytes": (21, {"bits": 2}),
    "in 2 bits": (25, {"bits": 2}),
    "of one scale": (21, {"bits": 4, "per_channel": False}),
    "dequantized": (21, {"bits": 4, "dequantize": True}),
    "dequantized, of one scale": (13, {"bits": 8, "dequantize": True, "per_channel": False}),
    "in blocks": (21, {"bits": 4, "block": 32}),
    "in blocks of 2 bits": (25, {"bits": 2, "block": 16}),
    "in blocks that do not divide the row": (21, {"bits": 8, "block": 20}),
    "halves": (13, {"bits": 16}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["nearest", "gptq"])
def test_onnxruntime_computes_with_the_weights_that_numpy_restores(way: str, rule: str) -> None:
    opset, options = WAYS[way]
    model, ctx = made(opset=opset)
    result, expected = restored(model, ctx, Storage(round=rule, **options))
    unseen = feeds(model, batch=8)
    assert run(result, unseen)[0].tobytes() == run(expected, unseen)[0].tobytes()
    assert not np.array_equal(run(result, unseen)[0], run(model, unseen)[0])


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_the_file_holds_the_codes(bits: int) -> None:
    """Every whole number, in the narrowest type of the opset; and nothing else of that size."""
    model, ctx = made(opset=25)
    result = stored(model, ctx, Storage(bits=bits, round="gptq"))
    for name, weight in result.weights.items():
        assert isinstance(weight, Codes)
        held = result.model.tensor(f"{name}_stored")
        assert str(held.dtype) == {8: "int8", 4: "int4", 3: "int4", 2: "int2"}[bits]
        np.testing.assert_array_equal(held.value().astype(np.int8), weight.values)
        assert FORMATS[bits].low <= weight.values.min() <= weight.values.max() <= FORMATS[bits].high
    assert max(t.elements() for t in result.model.constants if t.dtype == np.float32) <= 96


def test_two_bits_take_a_sixteenth_of_the_room() -> None:
    model, ctx = made("(float[N,64] x) => (float[N,64] y) <float[64,64] w> { y = MatMul(x, w) }", 25)
    sizes = {bits: stored(model, ctx, Storage(bits=bits)).model.proto().ByteSize() for bits in (16, 8, 4, 2)}
    overhead = 1200  # of names and scales
    for bits, size in sizes.items():
        assert 64 * 64 * bits // 8 < size < 64 * 64 * bits // 8 + overhead


@pytest.mark.parametrize("way", ["in 8 bits", "in 4 bits", "in 2 bits", "of one scale", "halves"])
def test_onnxruntime_restores_weights_when_it_loads_them(way: str, tmp_path: Path) -> None:
    opset, options = WAYS[way]
    model, ctx = made(opset=opset)
    before, after = (optimised(each, tmp_path) for each in (model, stored(model, ctx, Storage(**options)).model))
    assert after == before
    dequantized = optimised(stored(*made(), Storage(dequantize=True)).model, tmp_path)
    assert dequantized != before  # the control


def test_blocks_of_a_dense_layer_run_in_the_kernel_for_few_bits(tmp_path: Path) -> None:
    model, ctx = made("(float[N,64] x) => (float[N,32] y) <float[64,32] w> { y = MatMul(x, w) }", 21)
    result = stored(model, ctx, Storage(bits=4, block=32)).model
    assert optimised(result, tmp_path) == {"MatMulNBits": 1}
    assert result.tensor("w_stored_scale").shape == (2, 32)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_rounding_for_what_layers_make_loses_less(bits: int) -> None:
    model, ctx = made()
    assert ctx.calibration is not None
    rules = ("nearest", "gptq", "adaround")
    results = {rule: stored(model, ctx, Storage(bits=bits, round=rule)).model for rule in rules}
    loss = dict(zip(rules, losses(model, list(results.values()), ctx.calibration), strict=True))
    assert loss["gptq"] < loss["nearest"]
    assert loss["adaround"] < loss["nearest"]


# -- other passes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"bits": 16}, {"bits": 2}, {"decode": "dequantize"}, {"bits": 4, "block": 2}])
def test_fold_leaves_stored_weights_alone(options: dict[str, Any]) -> None:
    """However small they are."""
    model = net("(float[N,2] x) => (float[N,3] y) <float[2,4] w, float[4,3] v> { a = MatMul(x, w)  y = MatMul(a, v) }")
    assert isinstance(store(model, context(model), **options), Changed)
    before = model.fingerprint()
    assert isinstance(Fold().run(model, context(model)), Unchanged)
    assert model.fingerprint() == before


@pytest.mark.parametrize("options", [{}, {"bits": 16}, {"bits": 4, "block": 32}])
def test_what_is_stored_is_not_stored_again(options: dict[str, Any]) -> None:
    model, ctx = made()
    assert isinstance(store(model, ctx, **options), Changed)
    assert isinstance(store(model, ctx, **options), Unchanged)
    assert all("already" in why for _, why in list(model.skipped)[-5:])


# -- what is left alone ------------------------------------------------------------------------------------------------


def test_a_weight_that_two_layers_share_is_stored_once() -> None:
    model = net("(float[N,4] x) => (float[N,4] y) <float[4,4] w> { a = MatMul(x, w)  y = MatMul(a, w) }")
    ctx = calibrated(model, samples(model, 20))
    assert isinstance(store(model, ctx), Changed)
    assert [t.name for t in model.constants if t.dtype == np.int8] == ["w_stored"]
    assert {linear(n).weight.name for n in model.nodes if n.op == "MatMul"} == {"w"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("float[4,4] w> { a = MatMul(x, w)  y = Add(a, w) }", "not read by such layers alone"),
        ("float[4,4] w> { a = MatMul(x, w)  y = Gemm<transB=1>(a, w) }", "not read by such layers alone"),
        ("float16[4,4] w> { h = Cast<to=10>(x)  a = MatMul(h, w)  y = Cast<to=1>(a) }", "is float16"),
        ("float[4,4] w> { v = Transpose(w)  y = MatMul(x, v) }", "stored otherwise already"),
    ],
)
def test_what_cannot_be_stored_stays_and_the_reason_is_told(text: str, why: str) -> None:
    model = net(f"(float[4,4] x) => (float[4,4] y) < {text}")
    outcome = store(model, context(model))
    assert isinstance(outcome, Unchanged)
    assert why in " ".join(reason for _, reason in model.skipped)


def test_a_weight_that_no_half_can_hold_stays() -> None:
    model = net("(float[4,4] x) => (float[4,4] y) <float[4,4] w> { y = MatMul(x, w) }")
    model.put("w", np.full((4, 4), 1e5, np.float32))
    assert isinstance(store(model, context(model), bits=16), Unchanged)
    assert isinstance(store(model, context(model)), Changed)


def test_where_nothing_is_known_of_what_is_read_weights_go_to_the_nearest_number() -> None:
    """A transposed convolution in a network that is rounded by gptq: said in the report."""
    model, ctx = made()
    (name,) = (node.name for node in model.nodes if node.op == "ConvTranspose")
    outcome = store(model, ctx, bits=4)
    assert isinstance(outcome, Changed)
    assert "4 by gptq, 1 by nearest" in outcome.note
    assert any(where == name and "rounded to nearest" in why for where, why in model.skipped)
    data_free = made()[0]
    assert "5 by nearest" in getattr(store(data_free, context(data_free), bits=4), "note", "")


def test_what_is_kept_is_named_by_a_pattern() -> None:
    model, ctx = made()
    (name,) = (node.name for node in model.nodes if node.op == "Gemm")
    store(model, ctx, keep=(name,))
    assert model.tensor("v").constant
    assert not model.tensor("t").constant


@pytest.mark.parametrize(
    ("options", "opset"),
    [({}, 13), ({"bits": 4, "packed": True}, 21), ({"bits": 2, "packed": True}, 25), ({"block": 8}, 21)],
)
def test_the_opset_is_lifted_where_that_is_asked_for(options: dict[str, Any], opset: int) -> None:
    model = net(NET)
    outcome = store(model, context(model), **options)
    assert model.opset == max(opset, net(NET).opset)
    assert isinstance(outcome, Changed)
    assert ("opset" in outcome.note) == (opset > net(NET).opset)


@pytest.mark.parametrize(
    "options", [{"bits": 16, "block": 32}, {"bits": 16, "round": "gptq"}, {"block": 1}, {"round": "gptq"}]
)
def test_options_that_cannot_be_obeyed_are_refused(options: dict[str, Any]) -> None:
    model = net(NET)
    with pytest.raises(UsageError):
        store(model, context(model), **options)
