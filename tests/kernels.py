"""What onnxruntime runs in the place of a graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx

from onnxprune.model import Model


def optimised(model: Model, folder: Path) -> Counter[str]:
    """The operators of the graph that it optimises a model to; ``folder`` is for its file."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.proto().SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)
