"""Matrix products: weights that are constant lie in the order in which they are read."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxprune.codegen.importer import Importer, rule
from onnxprune.codegen.kernels import Kernel, Window
from onnxprune.node import Array


@rule("Gemm")
def gemm(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """A dense layer: constant weights and a constant bias, or none."""
    x, weights = inputs[0], graph.constant(inputs[1])
    bias = graph.constant(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    if weights is None or attrs.get("transA") or not graph.is_float(x) or (len(inputs) > 2 and bias is None):
        return None
    scaled = np.float32(attrs.get("alpha", 1.0)) * (weights.T if attrs.get("transB") else weights)
    made = _dense(graph, x, scaled)
    return graph.add(made, None if bias is None else np.float32(attrs.get("beta", 1.0)) * bias)


@rule("MatMul")
def matmul(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Rows times a constant matrix, or two stacks of matrices of equal depth."""
    a, b = inputs
    weights = graph.constant(b)
    if not graph.is_float(a) or not graph.is_float(b) or len(graph.shape(a)) < 2:
        return None
    if weights is not None and weights.ndim == 2:
        return _dense(graph, a, weights)
    if len(graph.shape(b)) < 2 or graph.shape(a)[:-2] != graph.shape(b)[:-2]:
        return None
    return _stacked(graph, a, b)


def _dense(graph: Importer, x: Any, weights: Array) -> Any:
    *rows, channels = graph.shape(x)
    outputs = weights.shape[1]
    window = Window((1, prod(rows)))
    kernel = Kernel("product", window, channels, outputs, graph.lanes, source="rows")
    packed = kernel.pack(np.ascontiguousarray(weights.T)[:, :, None, None])
    return graph.kernel(kernel, x, graph.const(packed))


def _stacked(graph: Importer, a: Any, b: Any) -> Any:
    *depth, rows, channels = graph.shape(a)
    outputs = graph.shape(b)[-1]
    kernel = Kernel(
        "product", Window((1, rows)), channels, outputs, graph.lanes, prod(depth), source="rows", packed=False
    )
    flat = (graph.reshaped(each, (prod(depth), *graph.shape(each)[-2:])) for each in (a, b))
    return graph.reshaped(graph.kernel(kernel, *flat), (*depth, rows, outputs))
