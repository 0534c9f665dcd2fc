"""Cases that onnx has not: operators of com.microsoft, and forms that older opsets have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from corpora.cases import Case
from onnx import helper

from .perturb import runner

OPSET = 17


def case(
    name: str, inputs: dict[str, Any], version: int = OPSET, outputs: tuple[str, ...] = ("y",), **attrs: Any
) -> Case:
    """One node; ``name`` may have a domain, an input that is None is omitted."""
    domain, _, op = name.rpartition(".")
    names = [name if value is not None else "" for name, value in inputs.items()]
    node = helper.make_node(op, names, outputs, domain=domain, **attrs)
    given = {k: np.asarray(v) for k, v in inputs.items() if v is not None}
    declared = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in given.items()
    ]
    graph = helper.make_graph([node], "one", declared, [onnx.ValueInfoProto(name=o) for o in outputs if o])
    imports = [helper.make_opsetid("", version), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    for declared_output, value in zip(model.graph.output, runner(model, given)(given), strict=True):
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        declared_output.CopyFrom(helper.make_tensor_value_info(declared_output.name, kind, value.shape))
    return Case(f"{name} in opset {version} {attrs or ''}".strip(), model, given, [])


def more_cases() -> Iterator[Case]:
    """All of them, equal in every run."""
    rng = np.random.default_rng(0)
    yield from _older(rng)
    yield from _moved(rng)
    yield from _products(rng)
    yield from _pools(rng)
    yield from _activations(rng)
    yield from _normalisations(rng)
    yield from _quantised(rng)


def _floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-1, 1, shape).astype(np.float32)


def _bytes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape).astype(np.uint8)


def _older(rng: np.random.Generator) -> Iterator[Case]:
    x = _floats(rng, 2, 4, 3, 5)
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        yield case(op, {"x": x}, 11)
        yield case(op, {"x": x}, 11, axis=-2)
    yield case("TopK", {"x": x}, 9, ("y", "i"), axis=1, k=2)
    yield case("TopK", {"x": x, "k": np.array([2])}, 10, ("y", "i"))
    for op in ("ReduceSum", "ReduceMax", "ReduceL2"):
        yield case(op, {"x": x}, 11, axes=[1])
        yield case(op, {"x": x}, 11, axes=[-1, 1], keepdims=0)
    yield case("ArgMax", {"x": x}, 11, axis=-3, keepdims=0)
    yield case("Squeeze", {"x": x[:1, :, :1]}, 11, axes=[0])
    yield case("Unsqueeze", {"x": x}, 11, axes=[1])
    yield case("Split", {"x": x}, 11, ("y", "z"), axis=1, split=[1, 3])
    yield case("DFT", {"x": _floats(rng, 2, 4, 8, 1)}, 17, axis=2, onesided=1)
    yield case("QuantizeLinear", {"x": x, "s": np.float32(0.1), "z": np.uint8(9)}, 10)
    yield case("Upsample", {"x": x}, 7, scales=[1.0, 1.0, 2.0, 2.0])
    yield case("Upsample", {"x": x, "s": np.array([1, 1, 2, 3], np.float32)}, 9, mode="linear")
    yield case("Resize", {"x": x, "s": np.array([1, 1, 2, 0.5], np.float32)}, 10)
    empty = np.zeros(0, np.float32)
    for mode in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        given = {"x": x, "r": empty, "s": empty, "n": np.array([2, 4, 6, 7])}
        yield case("Resize", given, 11, mode="linear", coordinate_transformation_mode=mode)
    at = {"x": x, "r": None, "s": None, "n": np.array([4, 6])}
    yield case("Resize", at, 18, axes=[1, -2], mode="cubic")
    yield case("Resize", at, 18, axes=[2, 3], keep_aspect_ratio_policy="not_larger")
    yield case("Clip", {"x": x}, 7, min=-0.5, max=0.5)
    yield case("Dropout", {"x": x}, 10, ("y", "m"))


def _moved(rng: np.random.Generator) -> Iterator[Case]:
    x = _floats(rng, 2, 6, 4, 3)
    for axis in (0, 1):
        lengths = np.array([2, 1] if axis else [2, 1, 2, 1, 1, 2])
        yield case("ReverseSequence", {"x": x, "n": lengths}, batch_axis=1 - axis, time_axis=axis)
    yield case("Pad", {"x": x, "p": np.array([0, 1, 0, 0, 0, 2, 1, 1])})
    yield case("Pad", {"x": x, "p": np.array([0, -1, 0, 0, 1, -2, 0, 0])})
    yield case("Pad", {"x": x, "p": np.array([0, 2, 0, 0, 0, -3, 0, 0])})
    yield case("Pad", {"x": x, "p": np.array([0, 1, 0, 0, 0, 0, 0, 2])}, mode="edge")
    yield case("Pad", {"x": x, "p": np.array([2, 1]), "v": None, "a": np.array([1])}, 18)
    bounds = {"a": np.array([5, 0]), "b": np.array([-9, 3]), "d": np.array([1, 2]), "s": np.array([-2, 1])}
    yield case("Slice", {"x": x, **bounds})
    yield case("Slice", {"x": x, "a": np.array([1]), "b": np.array([5]), "d": np.array([-3])})
    yield case("Gather", {"x": x, "i": np.array([4, 0, -1, 4])}, axis=1)
    yield case("Gather", {"x": x, "i": np.array([[4, 0], [-1, 2]])}, axis=1)
    yield case("Gather", {"x": x, "i": np.int64(2)}, axis=1)
    yield case("Tile", {"x": x, "r": np.array([1, 2, 1, 3])})
    yield case("Expand", {"x": x[:, :, :1], "n": np.array([2, 1, 5, 3])})
    yield case("Split", {"x": x, "n": np.array([1, 3, 2])}, 17, ("y", "z", "u"), axis=-3)
    yield case("Split", {"x": x}, 18, ("y", "z", "u", "w"), axis=1, num_outputs=4)
    for mode in ("DCR", "CRD"):
        yield case("DepthToSpace", {"x": _floats(rng, 1, 8, 2, 3)}, blocksize=2, mode=mode)
    yield case("SpaceToDepth", {"x": _floats(rng, 1, 3, 4, 6)}, blocksize=2)
    for shape in ([2, 24, 3], [2, 2, 3, 12], [12, -1], [0, 3, 2, 4, 3], [-1, 3], [1, 2, 6, 4, 1, 3], [2, 4, 6, 3]):
        yield case("Reshape", {"x": x, "n": np.array(shape)})
    for axis in (0, 1, 2, 4):
        yield case("Flatten", {"x": x}, axis=axis)
    rows, places = np.array([[1], [4], [2]]), np.array([[0, 1], [1, 5], [0, 2]])
    flat = _floats(rng, 6, 4, 3)
    yield case("GatherND", {"x": flat, "i": rows})
    yield case("GatherND", {"x": x, "i": places})
    yield case("GatherND", {"x": x, "i": np.array([[[1], [4]], [[0], [5]]])}, batch_dims=1)
    yield case("ScatterND", {"x": flat, "i": rows, "u": _floats(rng, 3, 4, 3)}, 16)
    yield case("ScatterND", {"x": x, "i": places, "u": _floats(rng, 3, 4, 3)}, 16)
    along = np.array([[1, 4, 2], [0, 4, 2]])
    yield case("ScatterElements", {"x": _floats(rng, 2, 6), "i": along, "u": _floats(rng, 2, 3)}, axis=1)
    same = np.array([[1, 4, 2], [1, 4, 2]])
    yield case("ScatterElements", {"x": _floats(rng, 2, 6), "i": same, "u": _floats(rng, 2, 3)}, axis=1)
    one = np.array([[1, 4, 2]])
    yield case("ScatterElements", {"x": _floats(rng, 3, 6), "i": one, "u": _floats(rng, 1, 3)}, axis=1)
    yield case("ScatterElements", {"x": _floats(rng, 3, 6), "i": one % 3, "u": _floats(rng, 1, 3)}, axis=0)
    yield case("GatherElements", {"x": _floats(rng, 2, 6), "i": same}, axis=1)
    yield case("GatherElements", {"x": _floats(rng, 2, 6), "i": along}, axis=1)


def _products(rng: np.random.Generator) -> Iterator[Case]:
    x = _floats(rng, 2, 6, 5, 5)
    for rows, width, group in ((4, 6, 1), (4, 3, 2), (6, 3, 2), (6, 1, 6), (12, 1, 6), (9, 2, 3)):
        given = {"x": x, "w": _floats(rng, rows, width, 3, 3), "b": _floats(rng, rows)}
        yield case("Conv", given, group=group, pads=[1, 1, 1, 1], dilations=[1, 2])
    for width, group in ((4, 1), (2, 2), (1, 6), (2, 6), (3, 3)):
        given = {"x": x, "w": _floats(rng, 6, width, 2, 2), "b": _floats(rng, width * group)}
        yield case("ConvTranspose", given, group=group, strides=[2, 2])
    a, b = _floats(rng, 3, 4), _floats(rng, 4, 5)
    for m, n in ((0, 0), (0, 1), (1, 0), (1, 1)):
        given = {"a": a.T.copy() if m else a, "b": b.T.copy() if n else b, "c": _floats(rng, 5)}
        yield case("Gemm", given, transA=m, transB=n, alpha=0.5, beta=2.0)
    yield case("MatMul", {"a": _floats(rng, 2, 3, 4), "b": b})
    yield case("MatMul", {"a": _floats(rng, 2, 3, 4), "b": _floats(rng, 2, 4, 5)})
    yield case("MatMul", {"a": a, "b": _floats(rng, 2, 4, 5)})
    yield case("MatMul", {"a": _floats(rng, 4), "b": _floats(rng, 2, 4, 5)})
    for equation in ("ij,jk->ik", "ij,jk->ki", "ij,jk", "ij,jk->i"):
        yield case("Einsum", {"a": a, "b": b}, equation=equation)
    yield case("Einsum", {"a": _floats(rng, 2, 3, 4), "b": _floats(rng, 2, 4, 5)}, equation="bij,bjk->bki")


def _pools(rng: np.random.Generator) -> Iterator[Case]:
    x, rois = _floats(rng, 2, 4, 6, 6), np.array([[0, 0, 0, 3, 3], [1, 1, 1, 5, 5], [0, 2, 0, 5, 3]], np.float32)
    yield case("GlobalLpPool", {"x": x}, p=3)
    yield case("MaxRoiPool", {"x": x, "r": rois}, pooled_shape=[2, 2])
    boxes, names, size = rois[:, 1:] / 6, np.array([0, 1, 0], np.int32), np.array([3, 3], np.int32)
    yield case("com.microsoft.CropAndResize", {"x": x, "r": boxes, "b": names, "s": size})
    yield case("com.microsoft.GridSample", {"x": x, "g": _floats(rng, 2, 3, 5, 2)})
    yield case("com.microsoft.Inverse", {"x": _floats(rng, 3, 4, 4)})


def _activations(rng: np.random.Generator) -> Iterator[Case]:
    x, bias = _floats(rng, 2, 3, 4), _floats(rng, 4)
    for op in ("Gelu", "QuickGelu", "FastGelu"):
        yield case(f"com.microsoft.{op}", {"x": x})
    for op in ("BiasGelu", "FastGelu"):
        yield case(f"com.microsoft.{op}", {"x": x, "b": bias})
    yield case("com.microsoft.ScaledSiLU", {"x": x, "s": np.float32(0.7)})
    yield case("com.microsoft.GatedAdd", {"x": x, "b": _floats(rng, 2, 3, 4), "g": _floats(rng, 2, 3, 1)})


def _normalisations(rng: np.random.Generator) -> Iterator[Case]:
    x, skip = _floats(rng, 2, 3, 4), _floats(rng, 2, 3, 4)
    gamma, beta, bias = _floats(rng, 4), _floats(rng, 4), _floats(rng, 4)
    domain = "com.microsoft"
    names = ("y", "", "", "sum")
    yield case(f"{domain}.SkipLayerNormalization", {"x": x, "s": skip, "g": gamma, "b": beta, "c": bias}, 17, names)
    yield case(f"{domain}.SkipLayerNormalization", {"x": x, "s": skip[0], "g": gamma, "b": beta})
    yield case(f"{domain}.SkipSimplifiedLayerNormalization", {"x": x, "s": skip, "g": gamma, "c": bias}, 17, names)
    given = {"x": _floats(rng, 2, 4, 3), "g": gamma, "b": beta}
    for groups in (1, 2, 4):
        yield case("GroupNormalization", given, 21, num_groups=groups)
    yield case("MeanVarianceNormalization", {"x": x}, 13, axes=[1])
    yield case("LpNormalization", {"x": x}, axis=1, p=1)
    yield case("LRN", {"x": _floats(rng, 2, 9, 3, 3)}, size=3)


def _quantised(rng: np.random.Generator) -> Iterator[Case]:
    domain, s, z = "com.microsoft", np.float32(0.1), np.uint8(120)
    x, w, image = _bytes(rng, 2, 3, 4), _bytes(rng, 3, 1), _bytes(rng, 2, 4, 5, 5)
    one = {"xs": s, "xz": z, "ys": np.float32(0.2), "yz": z}
    for op in ("Add", "Mul"):
        given = {"x": x, "xs": s, "xz": z, "w": w, "ws": s, "wz": z, "ys": np.float32(0.3), "yz": z}
        yield case(f"{domain}.QLinear{op}", given)
    where = {"c": x > 120, "x": x, "xs": s, "xz": z, "w": w, "ws": s, "wz": z, "ys": s, "yz": z}
    yield case(f"{domain}.QLinearWhere", where)
    yield case(f"{domain}.QLinearSigmoid", {"x": x, **one, "ys": np.float32(0.004), "yz": np.uint8(0)})
    yield case(f"{domain}.QLinearLeakyRelu", {"x": x, **one}, alpha=0.2)
    softmax = {"x": x, **one, "ys": np.float32(0.004), "yz": np.uint8(0)}
    yield case(f"{domain}.QLinearSoftmax", softmax, axis=-1, opset=13)
    yield case(f"{domain}.QLinearSoftmax", softmax, axis=1, opset=12)
    for last in (0, 1):
        yield case(f"{domain}.QLinearGlobalAveragePool", {"x": image, **one}, channels_last=last)
        yield case(f"{domain}.QLinearAveragePool", {"x": image, **one}, channels_last=last, kernel_shape=[2, 2])
    scales, zeros = np.array([0.1, 0.2, 0.3, 0.4], np.float32), np.array([1, 2, 3, 4], np.uint8)
    floats = _floats(rng, 2, 4, 6)
    for prefix in ("", "com.microsoft."):
        yield case(f"{prefix}QuantizeLinear", {"x": floats, "s": scales, "z": zeros}, axis=1)
        yield case(f"{prefix}DequantizeLinear", {"x": _bytes(rng, 2, 4), "s": scales, "z": zeros}, axis=-1)
    blocks = {"s": _floats(rng, 2, 4, 3) + np.float32(1.5), "z": _bytes(rng, 2, 4, 3)}
    yield case("QuantizeLinear", {"x": floats, **blocks}, 21, axis=2, block_size=2)
    yield case("DequantizeLinear", {"x": _bytes(rng, 2, 4, 6), **blocks}, 21, axis=-1, block_size=2)
    weight = rng.integers(-128, 128, (4, 3)).astype(np.int8)
    yield case("DequantizeLinear", {"x": weight, "s": scales, "z": np.zeros(4, np.int8)}, 13, axis=0)
    yield case("DequantizeLinear", {"x": rng.integers(-999, 999, 4).astype(np.int32), "s": scales}, 13, axis=0)
