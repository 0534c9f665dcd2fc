"""Operators on integers written as QDQ: onnxruntime computes the same of both, step for step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxprune.model import Model
from onnxprune.quantization.qoperators import FORMS, INTEGERS, convert
from onnxprune.runtime import Session

MODELS = Path(__file__).parents[2] / "models"
U8, S8, I32, F32 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.FLOAT
X = {"x": (np.uint8, (2, 4, 6, 6))}
ROWS = {"x": (np.uint8, (5, 12))}
X_GRID = {"xs": np.float32(0.02), "xz": np.uint8(120)}
Y_GRID = {"ys": np.float32(0.05), "yz": np.uint8(130)}
RNG = np.random.default_rng(0)
KERNEL = RNG.integers(-127, 128, (3, 4, 3, 3)).astype(np.int8)
WEIGHT = RNG.integers(-127, 128, (12, 7)).astype(np.int8)
PER_CHANNEL = {"ws": np.float32([0.01, 0.002, 0.03]), "wz": np.zeros(3, np.int8)}
PER_TENSOR = {"ws": np.float32(0.004), "wz": np.int8(0)}
BIAS = {"b": RNG.integers(-9999, 9999, 3).astype(np.int32)}
OTHER = {"o": RNG.integers(0, 255, (1, 4, 6, 6)).astype(np.uint8), "os": np.float32(0.01), "oz": np.uint8(90)}
CONV = {**X_GRID, "w": KERNEL, **PER_CHANNEL, **Y_GRID, **BIAS}
POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
LAYER = "x xs xz w ws wz ys yz"
ALONG = {"ws": np.full(7, 0.004, np.float32), "wz": np.zeros(7, np.int8)}
WIDE = {"b": RNG.integers(-9999, 9999, 7).astype(np.int32)}

CASES = {
    "QLinearConv": ("QLinearConv", LAYER + " b", X, CONV, {"pads": [1, 1, 1, 1]}, U8),
    "QLinearConv per tensor": ("QLinearConv", LAYER, X, {**CONV, **PER_TENSOR}, {"strides": [2, 2]}, U8),
    "QLinearMatMul": ("QLinearMatMul", LAYER, ROWS, {**X_GRID, "w": WEIGHT, **ALONG, **Y_GRID}, {}, U8),
    "QGemm": ("QGemm", "x xs xz w ws wz b ys yz", ROWS, {**X_GRID, "w": WEIGHT, **ALONG, **WIDE, **Y_GRID}, {}, U8),
    "QGemm to float": (
        "QGemm",
        "x xs xz w ws wz b",
        ROWS,
        {**X_GRID, "w": WEIGHT.T.copy(), **PER_TENSOR, **WIDE},
        {"transB": 1, "alpha": 0.5},
        F32,
    ),
    **{
        name: (name, "x xs xz o os oz ys yz", X, {**X_GRID, **OTHER, **Y_GRID}, {}, U8)
        for name in ("QLinearAdd", "QLinearMul")
    },
    "QLinearSigmoid": (
        "QLinearSigmoid",
        "x xs xz ys yz",
        X,
        {**X_GRID, "ys": np.float32(1 / 256), "yz": np.uint8(0)},
        {},
        U8,
    ),
    "QLinearLeakyRelu": ("QLinearLeakyRelu", "x xs xz ys yz", X, {**X_GRID, **Y_GRID}, {"alpha": 0.1}, U8),
    "QLinearAveragePool": ("QLinearAveragePool", "x xs xz ys yz", X, {**X_GRID, **Y_GRID}, POOL, U8),
    "QLinearGlobalAveragePool": (
        "QLinearGlobalAveragePool",
        "x xs xz ys yz",
        X,
        {**X_GRID, **Y_GRID},
        {"channels_last": 0},
        U8,
    ),
    "QLinearSoftmax": (
        "QLinearSoftmax",
        "x xs xz ys yz",
        ROWS,
        {**X_GRID, "ys": np.float32(1 / 256), "yz": np.uint8(0)},
        {"axis": -1, "opset": 17},
        U8,
    ),
    "QLinearConcat": (
        "QLinearConcat",
        "ys yz x xs xz o os oz",
        {"x": (np.uint8, (1, 4, 6, 6))},
        {**X_GRID, **OTHER, **Y_GRID},
        {"axis": 1},
        U8,
    ),
    "MatMulInteger": (
        "MatMulInteger",
        "x w xz wz",
        ROWS,
        {"w": WEIGHT, "xz": np.uint8(9), "wz": ALONG["wz"] + np.int8(3)},
        {},
        I32,
    ),
    "ConvInteger": (
        "ConvInteger",
        "x w xz wz",
        X,
        {"w": KERNEL, "xz": np.uint8(9), "wz": np.int8(0)},
        {"pads": [1] * 4},
        I32,
    ),
}
Case = tuple[str, str, dict[str, tuple[type, tuple[int, ...]]], dict[str, np.ndarray], dict[str, object], int]


def proto(case: Case, opset: int = 17) -> onnx.ModelProto:
    op, inputs, given, constants, attrs, kind = case
    domain = "" if op in ("QLinearConv", "QLinearMatMul", *INTEGERS) else "com.microsoft"
    node = helper.make_node(op, inputs.split(" "), ["y"], "n", domain=domain, **attrs)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, U8 if t is np.uint8 else S8, shape) for n, (t, shape) in given.items()],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def codes(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 255, shape).astype(kind) for name, (kind, shape) in case[2].items()}


def steps(before: onnx.ModelProto, after: Model, inputs: dict[str, np.ndarray], optimise: bool) -> float:
    (y,), (z,) = (Session(each, optimise=optimise)(inputs) for each in (before, after.proto()))
    assert z.dtype == y.dtype
    assert z.shape == y.shape
    assert len(np.unique(y)) > 5
    return float(np.abs(z.astype(np.float64) - y.astype(np.float64)).max())


@pytest.mark.parametrize("optimise", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_computes_the_same_of_both(name: str, optimise: bool) -> None:
    case = CASES[name]
    before, after = proto(case), Model.load(proto(case))
    assert convert(after) == 1
    assert not after.skipped
    assert not [node.op for node in after.nodes if node.domain or node.op == case[0]]
    limit = {U8: 1, I32: 0, F32: 1e-5}[case[5]]
    assert steps(before, after, codes(case), optimise) <= limit


def test_every_operator_of_the_table_is_tried() -> None:
    assert {kind.rpartition(".")[2] for kind in (*FORMS, *INTEGERS)} == {case[0] for case in CASES.values()}


def test_another_scale_is_another_result() -> None:
    case = CASES["QLinearConv"]
    before, after = proto(case), Model.load(proto(case))
    convert(after)
    scale = next(t.name for t in after.constants if t.name == "ws")
    after.put(scale, PER_CHANNEL["ws"] * np.float32(1.5))
    assert steps(before, after, codes(case), False) > 1


@pytest.mark.parametrize("opset", [10, 12])
def test_old_opsets_are_lifted_first(opset: int) -> None:
    case = CASES["QLinearConv"]
    before, after = proto(case, opset), Model.load(proto(case, opset))
    after.lift(13)
    assert convert(after) == 1
    assert steps(before, after, codes(case), False) <= 1


def test_channels_last_stays_and_is_told() -> None:
    op, inputs, given, constants, _, kind = CASES["QLinearGlobalAveragePool"]
    model = Model.load(proto((op, inputs, given, constants, {"channels_last": 1}, kind)))
    assert convert(model) == 0
    ((where, why),) = model.skipped
    assert (where, why) == (
        "n",
        "stays QLinearGlobalAveragePool, which no other pass understands: its channels_last is 1",
    )


def test_sums_that_float32_does_not_hold_stay_integers() -> None:
    heavy = np.full((2048, 7), 127, np.int8)
    case = ("MatMulInteger", "x w xz", {"x": (np.uint8, (5, 2048))}, {"w": heavy, "xz": np.uint8(0)}, {}, I32)
    model = Model.load(proto(case))
    assert convert(model) == 0
    ((_, why),) = model.skipped
    assert why.endswith("its sums may be larger than float32 holds exactly")


def test_a_scale_that_is_computed_at_run_time_stays_and_is_told() -> None:
    text = proto(CASES["QLinearConv"])
    text.graph.input.append(helper.make_tensor_value_info("xs", F32, []))
    kept = [each for each in text.graph.initializer if each.name != "xs"]
    del text.graph.initializer[:]
    text.graph.initializer.extend(kept)
    model = Model.load(text)
    assert convert(model) == 0
    ((_, why),) = model.skipped
    assert "'xs' is computed at run time" in why


@pytest.mark.parametrize("network", ["digits_cnn", "digits_resnet", "digits_mobile"])
def test_a_network_that_onnxruntime_wrote_in_operators_on_integers(network: str, tmp_path: Path) -> None:
    from onnxruntime import quantization as ort

    with np.load(MODELS / "digits.calib.npz") as data:
        (name,) = data.files
        x = data[name]
    given = iter([{name: x[:64]}])
    reader = type("Reader", (ort.CalibrationDataReader,), {"get_next": lambda _: next(given, None)})()
    path = tmp_path / "q.onnx"
    ort.quantize_static(
        MODELS / f"{network}.onnx", path, reader, quant_format=ort.QuantFormat.QOperator, per_channel=True,
        activation_type=ort.QuantType.QUInt8, weight_type=ort.QuantType.QInt8,
    )  # fmt: skip
    model = Model.load(path)
    before = model.copy()
    assert convert(model) > 3
    assert not [node.op for node in model.nodes if node.domain]
    (y,), (z,) = (Session(each.proto())({name: x}) for each in (before, model))
    assert np.abs(z - y).max() <= 0.02 * np.abs(y).max()
    assert (z.argmax(1) == y.argmax(1)).mean() > 0.99
