"""Networks made on the spot, of any length: what grows with the number of nodes is measured on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Builder", "mixed", "resnet50"]


@dataclass
class Builder:
    """A graph that grows node by node: every method adds some and returns the name of what they compute."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, op: str, *inputs: str, **attrs: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"t{len(self.nodes)}"], name, **attrs))
        return f"t{len(self.nodes) - 1}"

    def weight(self, *shape: int) -> str:
        value = self.rng.standard_normal(shape, np.float32) * np.float32((2 / math.prod(shape[1:])) ** 0.5)
        return self.kept(value)

    def kept(self, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(value, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, x: str, read: int, made: int, kernel: int = 1, stride: int = 1, group: int = 1) -> str:
        return self._conv(x, self.weight(made, read // group, kernel, kernel), kernel, stride, group)

    def biased(self, x: str, read: int, made: int, kernel: int = 1, stride: int = 1, group: int = 1) -> str:
        bias = self.kept(np.float32(0.1) * self.rng.standard_normal(made, np.float32))
        return self._conv(x, self.weight(made, read // group, kernel, kernel), kernel, stride, group, bias)

    def _conv(self, x: str, w: str, kernel: int, stride: int, group: int, *bias: str) -> str:
        return self.add("Conv", x, w, *bias, pads=[kernel // 2] * 4, strides=[stride] * 2, group=group)

    def norm(self, x: str, width: int) -> str:
        rows = [self.kept(np.full(width, value, np.float32)) for value in (1, 0.1, 0, 1)]
        return self.add("BatchNormalization", x, *rows)

    def layer(self, x: str, read: int, made: int, kernel: int = 1, **attrs: int) -> str:
        return self.add("Relu", self.norm(self.conv(x, read, made, kernel, **attrs), made))

    def reshape(self, x: str, sizes: Sequence[int]) -> str:
        return self.add("Reshape", x, self.kept(np.array(sizes, np.int64)))

    def pooled(self, x: str) -> str:
        return self.add("Flatten", self.add("GlobalAveragePool", x))

    def model(self, x: str, shape: Sequence[int], classes: int, width: int) -> onnx.ModelProto:
        logits = self.add("Gemm", self.pooled(x), self.weight(width, classes), self.weight(classes))
        return self.ended(logits, shape, classes)

    def ended(self, logits: str, shape: Sequence[int], classes: int) -> onnx.ModelProto:
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
            for name, sizes in (("x", shape), (logits, [shape[0], classes]))
        ]
        graph = helper.make_graph(self.nodes, "made", ends[:1], ends[1:], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mixed(nodes: int, width: int = 16, side: int = 8) -> onnx.ModelProto:
    """At least so many nodes: in turns a residual block, a join, a channel shuffle, a gate, and a step to new channels.

    The last keeps groups from growing with the length of the network, as the stages of real ones do.
    """
    made = Builder()
    x = made.layer("x", 3, width, 3)
    blocks = (_residual, _joined, _shuffled, _gated, _stepped)
    for index in range(nodes):
        if len(made.nodes) + 3 >= nodes:
            break
        x = blocks[index % len(blocks)](made, x, width, side)
    return made.model(x, [1, 3, side, side], 10, width)


def _residual(made: Builder, x: str, width: int, _: int) -> str:
    inner = made.layer(x, width, width, 3)
    return made.add("Relu", made.add("Add", x, made.norm(made.conv(inner, width, width), width)))


def _joined(made: Builder, x: str, width: int, _: int) -> str:
    return made.add("Concat", made.layer(x, width, width // 2), made.layer(x, width, width // 2, 3), axis=1)


def _shuffled(made: Builder, x: str, width: int, side: int) -> str:
    deep = made.norm(made.conv(made.layer(x, width, width, group=2), width, width, 3, group=width), width)
    apart = made.add("Transpose", made.reshape(deep, [1, 2, width // 2, side, side]), perm=[0, 2, 1, 3, 4])
    return made.layer(made.reshape(apart, [1, width, side, side]), width, width, group=2)


def _gated(made: Builder, x: str, width: int, _: int) -> str:
    least = made.layer(made.add("GlobalAveragePool", x), width, width // 2)
    return made.add("Mul", x, made.add("Sigmoid", made.conv(least, width // 2, width)))


def _stepped(made: Builder, x: str, width: int, _: int) -> str:
    return made.layer(x, width, width)


def resnet50() -> onnx.ModelProto:
    """ResNet-50 (He et al. 2015), its stride in the 3×3 convolution, with random weights."""
    made = Builder()
    x = made.add("MaxPool", made.layer("x", 3, 64, 7, stride=2), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    read = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            inner, stride = 64 * 2**stage, 2 if stage and not block else 1
            deep = made.layer(made.layer(x, read, inner), inner, inner, 3, stride=stride)
            deep = made.norm(made.conv(deep, inner, 4 * inner), 4 * inner)
            short = x if block else made.norm(made.conv(x, read, 4 * inner, stride=stride), 4 * inner)
            x, read = made.add("Relu", made.add("Add", deep, short)), 4 * inner
    return made.model(x, [1, 3, 224, 224], 1000, 2048)
