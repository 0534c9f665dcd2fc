"""The files that are damaged: small ones, in which between them everything occurs that a file can hold."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from generator import random_model
from onnx import TensorProto, helper, numpy_helper
from oracle import net_proto

MODELS = Path(__file__).parents[2] / "models"
PLAIN = """(float[N,3,6,6] x) => (float[N,4] y) <float[8,3,3,3] w, float[8] b, float[8] scale, float[8] o, float[8] m,
    float[8] var, float[8,1,3,3] d, float[8,4] v, float[4] c>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  n = BatchNormalization(a, scale, o, m, var)  r = Relu(n)
      e = Conv<group=8>(r, d)  g = GlobalAveragePool(e)  f = Flatten(g)  y = Gemm(f, v, c) }"""
BODIES = """(float[2,4] x, bool go) => (float[2,4] y) <float[4,4] w>
    { z = If(go) <then_branch = a () => (float[2,4] p) { q = MatMul(x, w)  p = Relu(q) },
                  else_branch = b () => (float[2,4] s) { s = Neg(x) }>
      n = Constant<value = int64[1] {3}>()  k = Squeeze(n)
      y = Loop(k, go, z) <body = c (int64 i, bool t, float[2,4] u) => (bool t2, float[2,4] u2)
          { t2 = Identity(t)  u2 = Add(u, x) }> }"""
SHAPES = """(float[N,4,6,6] x) => (float[N,5] y) <float[72,5] w, int64[1] zero = {0}, int64[1] rest = {-1}>
    { s = Shape(x)  n = Gather<axis=0>(s, zero)  a, b = Split<axis=1, num_outputs=2>(x)  c = Concat<axis=1>(b, a)
      p = Slice(c, zero, two, one, one)  t = Concat<axis=0>(n, rest)  f = Reshape(p, t)  y = MatMul(f, w)
      one = Constant<value = int64[1] {1}>()  two = Constant<value = int64[1] {3}>() }"""
SEQUENCE = """(float[2,4] x) => (float[4,4] y) <float[4,4] w>
    { s = SequenceConstruct(x, x)  c = ConcatFromSequence<axis=0>(s)  y = MatMul(c, w) }"""
STORED = """(float[2,4] x) => (float[2,4] y, int4[6] i, float8e4m3fn[3] e, string[2] t) <float[4,4] w>
    { y = MatMul(x, w)  i = Identity(i0)  e = Identity(e0)  t = Identity(t0) }"""
CONTRIB = """(float[2,4] x) => (float[2,4] y) <float[4,4] w> { a = MatMul(x, w)  g = com.microsoft.Gelu(a)
    y = Relu(g) }"""
RECIPE = """schema = 1
calib = "calib.npz"
test = "calib.npz"
seed = 3

[[pass]]
use = "fold"

[[pass]]
use = "prune"
macs = "60%"
keep = ["Conv.*"]
align = 2

[gate]
max_drop = 90

[shapes]
x = [1, 3, 6, 6]
"""


@dataclass(frozen=True)
class Sample:
    """Files that belong together; those that are to be damaged, and the command when it is more than the library."""

    name: str
    make: Callable[[], dict[str, bytes]]
    files: tuple[str, ...] = ("model.onnx",)
    command: str = ""

    @cached_property
    def content(self) -> dict[str, bytes]:
        return self.make()

    def write(self, folder: Path) -> None:
        for name, data in self.content.items():
            (folder / name).write_bytes(data)

    def arguments(self) -> list[str]:
        command = self.command or "--passes fold,prune:ratio=50%:heal=none:align=1:min=1"
        return ["{}/model.onnx", *command.split(), "--quiet", "-o", "{}/out"]


def stored(proto: onnx.ModelProto) -> dict[str, bytes]:
    return {"model.onnx": proto.SerializeToString()}


def plain() -> dict[str, bytes]:
    return stored(net_proto(PLAIN))


def external() -> dict[str, bytes]:
    """Two weights in a file of their own, one behind the other."""
    proto, data = net_proto(PLAIN), b""
    for tensor in proto.graph.initializer[:2]:
        raw = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", str(len(data))), ("length", str(len(raw)))):
            tensor.external_data.add(key=key, value=value)
        data += raw
    return {**stored(proto), "weights.bin": data}


def functions() -> dict[str, bytes]:
    """A local function that calls another, with an attribute of its own."""
    proto = net_proto("(float[2,4] x) => (float[2,4] y) <float[4,4] w> { y = local.Layer<slope=0.1>(x, w) }")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    inner = helper.make_function("local", "Act", ["a"], ["b"], [leaky], imports, ["slope"])
    call = helper.make_node("Act", ["h"], ["o"], domain="local")
    call.attribute.add(name="slope", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    nodes = [helper.make_node("MatMul", ["i", "k"], ["h"]), call]
    proto.functions.extend(
        [helper.make_function("local", "Layer", ["i", "k"], ["o"], nodes, imports, ["slope"]), inner]
    )
    proto.opset_import.append(helper.make_opsetid("local", 1))
    return stored(proto)


def sparse() -> dict[str, bytes]:
    proto = net_proto("(float[2,4] x) => (float[2,4] y) <float[4,4] v> { a = MatMul(x, w)  y = MatMul(a, v) }")
    values = numpy_helper.from_array(np.array([1, -2, 3], np.float32), "w")
    where = numpy_helper.from_array(np.array([0, 5, 10], np.int64))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, where, [4, 4]))
    return stored(proto)


def rare_types() -> dict[str, bytes]:
    proto = net_proto(STORED, 21)
    proto.ir_version = 10
    proto.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1, -2, 3, -8, 7, 0], ml_dtypes.int4), "i0"),
            numpy_helper.from_array(np.array([1, 2, 0.5], ml_dtypes.float8_e4m3fn), "e0"),
            numpy_helper.from_array(np.array(["a", "b"], object), "t0"),
        ]
    )
    return stored(proto)


def quantised() -> dict[str, bytes]:
    text = """(float[2,4] x) => (float[2,3] y) <float step = {0.1}, int8 zero = {3}, float[3] steps = {0.1,0.2,0.3},
        float[3,4] w> { q = QuantizeLinear(x, step, zero)  d = DequantizeLinear(q, step, zero)
        k = QuantizeLinear<axis=0>(w, steps)  v = DequantizeLinear<axis=0>(k, steps)  y = Gemm<transB=1>(d, v) }"""
    return stored(net_proto(text))


def contributed() -> dict[str, bytes]:
    proto = net_proto(CONTRIB)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return stored(proto)


def calibrated() -> dict[str, bytes]:
    rng, archive = np.random.default_rng(0), io.BytesIO()
    np.savez_compressed(archive, x=rng.normal(size=(8, 3, 6, 6)).astype(np.float32), labels=np.arange(8) % 4)
    return {**plain(), "calib.npz": archive.getvalue(), "edge.toml": RECIPE.encode()}


def text(source: str, opset: int = 17) -> Callable[[], dict[str, bytes]]:
    return lambda: stored(net_proto(source, opset))


def random(seed: int) -> Callable[[], dict[str, bytes]]:
    return lambda: stored(random_model(seed, rare=True))


BY_OPTIONS = "--passes fold,prune:ratio=30%:align=1 --calib {}/calib.npz --test {}/calib.npz"
CORPUS = (
    *(Sample(path.stem, lambda path=path: {"model.onnx": path.read_bytes()}) for path in sorted(MODELS.glob("*.onnx"))),
    *(Sample(f"plain {index}", plain) for index in range(3)),
    *(Sample(f"random {seed}", random(seed)) for seed in range(12)),
    Sample("external", external, ("model.onnx", "model.onnx", "weights.bin")),
    Sample("bodies", text(BODIES)),
    Sample("shapes", text(SHAPES, 18)),
    Sample("sequence", text(SEQUENCE)),
    Sample("functions", functions),
    Sample("sparse", sparse),
    Sample("rare types", rare_types),
    Sample("quantised", quantised),
    Sample("contributed", contributed),
    Sample("calibration", calibrated, ("calib.npz",), BY_OPTIONS),
    Sample("recipe", calibrated, ("edge.toml", "edge.toml", "calib.npz"), "--recipe {}/edge.toml"),
)
