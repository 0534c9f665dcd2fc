"""onnxruntime, behind one function: a graph in, a callable out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import onnx

from onnxprune.errors import ModelError, first_line
from onnxprune.node import Array
from onnxprune.weights import TWO_GB

__all__ = ["Session"]


class Session:
    """An onnxruntime session on the CPU.

    ``optimise=False`` switches graph optimisations off, so that the graph runs exactly as written.
    Raises ModelError when onnxruntime refuses the graph.
    """

    def __init__(self, proto: onnx.ModelProto, *, threads: int = 0, optimise: bool = True) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised, and need not be printed too
        options.intra_op_num_threads = threads
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        try:
            self._session = _open(proto, options)
        except Exception as error:  # onnxruntime raises its own untyped exceptions
            raise ModelError(f"onnxruntime cannot run the graph: {first_line(error)}") from error
        self.inputs: tuple[str, ...] = tuple(i.name for i in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(o.name for o in self._session.get_outputs())

    def __call__(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Run once. ``feeds`` may hold more names than the graph reads; the others are left out."""
        known = {name: feeds[name] for name in self.inputs if name in feeds}
        try:
            return cast(list[Array], self._session.run(list(outputs or self.outputs), known))
        except Exception as error:
            raise ModelError(f"onnxruntime failed while running the graph: {first_line(error)}") from error


def _open(proto: onnx.ModelProto, options: Any) -> Any:
    import onnxruntime as ort

    providers = ["CPUExecutionProvider"]
    if proto.ByteSize() < TWO_GB:
        return ort.InferenceSession(proto.SerializeToString(), options, providers=providers)
    with tempfile.TemporaryDirectory(prefix="onnxprune-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save_model(proto, str(path), save_as_external_data=True, location="model.data")
        return ort.InferenceSession(str(path), options, providers=providers)
