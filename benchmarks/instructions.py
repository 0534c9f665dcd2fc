"""Instructions for each multiply-accumulate in the inner loops of compiled layers, for every target, beside the ideal.

Nothing runs: ``a MAC`` is counted in the loop of each layer that multiplies most, in its assembly. ``ideal`` is one
instruction that multiplies and adds all lanes of a vector, and nothing else; without such an instruction there are two.
``spills`` are loads from the stack and stores to it in any inner loop of the layer.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import onnx
from onnx import TensorProto, helper

from benchmarks.assembly import inner_loops
from benchmarks.graphs import Builder
from onnxprune.backends import load_target, target_names, tvm
from onnxprune.backends.targets import Target

__all__ = ["LAYERS", "ON_REQUEST", "main", "network", "row"]

ON_REQUEST = "it compiles every layer for every target"

# Input channels, output channels, kernel, stride, groups, width of the image; a kernel of 0 is a dense layer.
LAYERS: dict[str, tuple[int, int, int, int, int, int]] = {
    "3×3, 64 → 64 at 56": (64, 64, 3, 1, 1, 56),
    "3×3 by 2, 128 → 256 at 28": (128, 256, 3, 2, 1, 28),
    "3×3, 50 → 27 at 14": (50, 27, 3, 1, 1, 14),
    "1×1, 64 → 128 at 28": (64, 128, 1, 1, 1, 28),
    "1×1, 27 → 50 at 7": (27, 50, 1, 1, 1, 7),
    "7×7 by 2, 3 → 64 at 112": (3, 64, 7, 2, 1, 112),
    "3×3, 1 → 13 at 28": (1, 13, 3, 1, 1, 28),
    "depthwise 3×3, 64 at 56": (64, 64, 3, 1, 64, 56),
    "depthwise 3×3 by 2, 50 at 55": (50, 50, 3, 2, 50, 55),
    "depthwise 5×5, 27 at 28": (27, 27, 5, 1, 27, 28),
    "dense, 256 → 128": (256, 128, 0, 1, 1, 1),
    "dense, 50 → 10, 49 rows": (50, 10, 0, 1, 1, 49),
}


def main(args: Namespace) -> Iterator[dict[str, Any]]:
    """One row for each target and layer."""
    for name in target_names():
        for title in LAYERS:
            yield row(load_target(name), title)


def network(titles: Sequence[str]) -> onnx.ModelProto:
    """Layers of the table, each with an input and an output of its own and a Relu."""
    net = Builder()
    ends = [(f"x{index}", *_layer(net, f"x{index}", *LAYERS[title])) for index, title in enumerate(titles)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, _, shape in ends]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for _, name, _ in ends]
    graph = helper.make_graph(net.nodes, "layers", inputs, outputs, net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _layer(
    net: Builder, x: str, read: int, made: int, kernel: int, stride: int, groups: int, size: int
) -> tuple[str, list[int]]:
    if kernel:
        return net.add("Relu", net.conv(x, read, made, kernel, stride, groups)), [1, read, size, size]
    return net.add("Relu", net.add("MatMul", x, net.weight(read, made))), [size, read]


def row(target: Target, title: str) -> dict[str, Any]:
    """The figures of one layer."""
    found = inner_loops(tvm.assembly(network([title]), replace(target, cores=1)), target.vector_bits)
    loops = [loop for each in found.values() for loop in each]
    busiest = max(loops, key=lambda loop: loop.products)
    ideal = (1 if busiest.fused else 2) * 32 / target.vector_bits
    return {
        "target": target.name,
        "layer": title,
        "products": busiest.products,
        "instructions": len(busiest.instructions),
        "a MAC": busiest.per_mac,
        "ideal": ideal,
        "× ideal": busiest.per_mac / ideal,
        "spills": sum(len(loop.spills) for loop in loops),
    }
