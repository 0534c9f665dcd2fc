"""onnxruntime, behind one function: a graph in, a callable out."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import onnx

from onnxprune.errors import ModelError, OnnxPruneError, first_line
from onnxprune.external import check_unchanged, entries, is_external, place
from onnxprune.node import Array
from onnxprune.sizes import TWO_GB, weigh

__all__ = ["Session", "trim"]

ROOT = "/"


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
        if not threads:  # else it is timed, as it comes; here idle threads and memory that is planned ahead cost others
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.enable_mem_pattern = False
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        try:
            self._session = _open(proto, options)
        except OnnxPruneError:
            raise
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


def trim() -> None:
    """Give the system back what earlier sessions left in pieces: else the memory of a run depends on their order."""
    if (give_back := _libc("malloc_trim")) is not None:
        give_back(0)


def _open(proto: onnx.ModelProto, options: Any) -> Any:
    import onnxruntime as ort

    if any(map(is_external, proto.graph.initializer)):
        proto = _rooted(proto)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", ROOT)
        if weigh(proto.graph.initializer) >= TWO_GB:  # else onnxruntime copies what it has mapped
            options.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _rooted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose external data is named relative to the root: onnxruntime maps files below one folder only."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in filter(is_external, copy.graph.initializer):
        check_unchanged(tensor)
        said = entries(tensor)
        location = os.path.relpath(said["location"], ROOT)
        place(tensor, location=location, offset=said["offset"], length=said["length"])
    return copy


@cache
def _libc(name: str) -> Callable[[int], int] | None:
    """A function of the C library, None where it has none of that name, as only glibc does."""
    try:
        found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # there is no such thing as the C library on Windows
        return None
    return found
