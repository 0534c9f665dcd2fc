"""Loop nests compute what onnxruntime does, whatever the window, the channels and the width of the registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxprune.backends import load_target, tvm
from onnxprune.codegen.cpu import Cpu

HOST = load_target("host")
BITS = [bits for bits in (128, 256, 512) if bits <= HOST.vector_bits]
SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.fuzz) for seed in range(3, 200))]
CASES = [  # by default each seed for one width
    pytest.param(seed, bits, marks=[] if seed < 6 and bits == BITS[seed % len(BITS)] else [pytest.mark.fuzz])
    for seed in range(200)
    for bits in BITS
]


def model(
    shape: tuple[int, ...], nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], out: str = "y"
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def check(proto: onnx.ModelProto, path: Path, bits: int, seed: int, cores: int = 2) -> None:
    """What a library for registers of ``bits`` computes against onnxruntime."""
    target = replace(HOST, vector_bits=bits, cores=cores)
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    want = session.run(None, {"x": x})[0]
    tvm.build(proto, target, path / "model.so", {})
    got = tvm.run(path / "model.so", [x])[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * max(1, np.abs(want).max()))


def random_convolution(seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    depthwise = rng.random() < 0.25
    c, o = int(rng.integers(1, 40)), int(rng.integers(1, 70))
    kernel, stride, dilation = (rng.integers(1, top, 2).tolist() for top in (6, 4, 3))
    pads = rng.integers(0, 3, 4).tolist()
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [int(rng.integers(max(r - 2, 1), r + 20)) for r in reach]
    size = [max(s, r - pads[i] - pads[i + 2]) for i, (s, r) in enumerate(zip(size, reach, strict=True))]
    if depthwise:
        c = o = groups = max(c, 2)
    else:
        c, o = c * groups, o * groups
    weights = {"w": rng.standard_normal((o, c // groups, *kernel), dtype=np.float32)}
    if rng.random() < 0.7:
        weights["b"] = rng.standard_normal(o, dtype=np.float32)
    attributes = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads, "group": groups}
    nodes = [
        helper.make_node("Conv", ["x", *weights], ["c"], **attributes),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["r", "c"], ["y"]),
    ]
    return model((int(rng.integers(1, 3)), c, *size), nodes, weights)


@pytest.mark.parametrize(("seed", "bits"), CASES)
def test_any_convolution(seed: int, bits: int, tmp_path: Path) -> None:
    check(random_convolution(seed), tmp_path, bits, seed)


def random_transposed(seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2, 5]))
    c, o = (int(rng.integers(1, 20)) * groups for _ in range(2))
    stride = rng.integers(1, 4, 2).tolist()
    kernel = [int(rng.integers(s, s + 4)) for s in stride]
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    extra = [int(rng.integers(0, s)) for s in stride]
    size = rng.integers(5, 12, 2).tolist()
    weights = {"w": rng.standard_normal((c, o // groups, *kernel), dtype=np.float32)}
    weights["b"] = rng.standard_normal(o, dtype=np.float32)
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": pads, "group": groups, "output_padding": extra}
    nodes = [helper.make_node("ConvTranspose", ["x", *weights], ["y"], **attributes)]
    return model((int(rng.integers(1, 3)), c, *size), nodes, weights)


@pytest.mark.parametrize(("seed", "bits"), CASES)
def test_any_transposed_convolution(seed: int, bits: int, tmp_path: Path) -> None:
    check(random_transposed(seed), tmp_path, bits, seed)


def random_pool(seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    kernel, stride = (rng.integers(1, top, 2).tolist() for top in (5, 4))
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    size = [int(rng.integers(k, k + 20)) for k in kernel]
    operator = str(rng.choice(["MaxPool", "AveragePool"]))
    extra = {"count_include_pad": int(rng.integers(0, 2))} if operator == "AveragePool" else {}
    node = helper.make_node(operator, ["x"], ["y"], kernel_shape=kernel, strides=stride, pads=pads, **extra)
    return model((int(rng.integers(1, 3)), int(rng.integers(1, 40)), *size), [node], {})


@pytest.mark.parametrize(("seed", "bits"), CASES)
def test_any_pool(seed: int, bits: int, tmp_path: Path) -> None:
    check(random_pool(seed), tmp_path, bits, seed)


def random_product(seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    rows, depth, columns = (int(rng.integers(1, top)) for top in (40, 90, 90))
    leading = rng.integers(1, 4, int(rng.integers(0, 3))).tolist()
    weights = {"w": rng.standard_normal((depth, columns), dtype=np.float32)}
    return model((*leading, rows, depth), [helper.make_node("MatMul", ["x", "w"], ["y"])], weights)


@pytest.mark.parametrize(("seed", "bits"), CASES)
def test_any_product_with_a_constant(seed: int, bits: int, tmp_path: Path) -> None:
    check(random_product(seed), tmp_path, bits, seed)


def random_square(seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(1, 4, int(rng.integers(1, 3))).tolist(), *rng.integers(1, 50, 2).tolist())
    swapped = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=swapped),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    return model(shape, nodes, {})


@pytest.mark.parametrize(("seed", "bits"), CASES)
def test_any_product_of_two_inputs(seed: int, bits: int, tmp_path: Path) -> None:
    check(random_square(seed), tmp_path, bits, seed)


@pytest.fixture
def by_element(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops that ARM gets, on this machine."""
    of = Cpu.of
    monkeypatch.setattr(Cpu, "of", lambda target: replace(of(target), by_element=True, registers=30))


@pytest.mark.parametrize("made", [random_convolution, random_product, random_square, random_transposed])
@pytest.mark.parametrize("seed", SEEDS)
def test_vectors_of_channels_are_multiplied_lane_by_lane(
    made: Callable[[int], onnx.ModelProto], seed: int, by_element: None, tmp_path: Path
) -> None:
    check(made(seed), tmp_path, 128, seed)


def test_lanes_are_those_of_the_target() -> None:
    assert [Cpu.of(replace(HOST, vector_bits=bits)).lanes for bits in (128, 256, 512)] == [4, 8, 16]


def test_work_is_the_same_on_one_core_and_on_many(tmp_path: Path) -> None:
    weights = {"w": np.random.default_rng(0).standard_normal((64, 48, 3, 3), dtype=np.float32)}
    proto = model((1, 48, 30, 30), [helper.make_node("Conv", ["x", "w"], ["y"])], weights)
    for cores in (1, 2, 8):
        check(proto, tmp_path / str(cores), HOST.vector_bits, 0, cores)
