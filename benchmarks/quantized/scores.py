"""How good a quantized network is, how small, and how much of it is computed on integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from benchmarks.quantized.networks import Network
from benchmarks.scaling import context
from onnxprune.analyses.cost import Cost, NodeCosts
from onnxprune.calibrate import Calibration
from onnxprune.evaluate import Evaluator
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.node import Node

__all__ = ["Referee", "left_in_float", "on_integers"]

LAYERS = frozenset({"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"})
INTEGER = frozenset({"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "QGemm"})


@dataclass(frozen=True, eq=False)
class Referee:
    """The float network with its test data, that others are measured by."""

    network: Network

    @cached_property
    def model(self) -> Model:
        """The network in float."""
        return Model.load(self.network.path)

    @cached_property
    def data(self) -> Calibration:
        """The test data, with labels."""
        return Calibration.load(self.network.test, self.model)

    @cached_property
    def before(self) -> float:
        """Top-1 accuracy in float."""
        return Evaluator(self.data).score(self.model, self.data)

    def score(self, path: Path) -> dict[str, Any]:
        """What a quantized network is worth; raises OnnxPruneError where it does not run."""
        result = Model.load(path)
        after, n = Evaluator(self.data).score(result, self.data), self.data.count
        small = [model.get(Cost("bytes"), context(model)).total() for model in (result, self.model)]
        return {
            "top-1": after,
            "drop": 100 * (self.before - after),
            "images": round((self.before - after) * n),
            "KL": losses(self.model, [result], self.data)[0],
            "bytes": small[0] / small[1],
            "on integers": on_integers(result),
            "float layers": " ".join(f"{count} {op}" for op, count in left_in_float(path).items()),
        }


def on_integers(model: Model) -> float:
    """The share of the MACs that layers compute from two operands that were integers."""
    costs = model.get(NodeCosts(), context(model))
    integers = sum(each.macs for each in costs if _integer(model, model.node(each.node)))
    return integers / (sum(each.macs for each in costs) or 1)


def _integer(model: Model, node: Node) -> bool:
    producers = [model.producer(tensor.name) for tensor in node.inputs[:2] if tensor is not None]
    return node.op in INTEGER or all(each is not None and each.op == "DequantizeLinear" for each in producers)


def left_in_float(path: Path) -> Counter[str]:
    """The layers that onnxruntime, having optimised a network, still computes in float, by operator."""
    import onnxruntime as ort

    with TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level, options.optimized_model_filepath = 4, f"{folder}/optimised.onnx"
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        nodes: Sequence[onnx.NodeProto] = onnx.load(options.optimized_model_filepath).graph.node
        return Counter(node.op_type for node in nodes if node.op_type in LAYERS)
