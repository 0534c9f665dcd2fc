"""How each runtime is loaded and called, as its user would from Python, with its inputs already in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.node import Array

__all__ = ["ONNXRUNTIME", "OURS", "RUNTIMES", "Loaded", "environment", "onnxruntime_session"]

OURS, ONNXRUNTIME = "ours", "onnxruntime"


@dataclass(frozen=True)
class Loaded:
    """A network in a runtime: ``call`` runs it and leaves the outputs where they are, ``outputs`` gives them."""

    call: Callable[[], object]
    outputs: Callable[[], list[Array]]


def environment(threads: int) -> dict[str, str]:
    """What a process that measures is started with: TVM reads how many threads to use, NumPy needs none."""
    return {**os.environ, "TVM_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}


def _ours(path: Path, feeds: Sequence[Array], threads: int) -> Loaded:
    """The library's main on tensors of TVM; the number of threads comes from the environment."""
    from onnxprune.backends import tvm

    program = tvm.load(path)
    return Loaded(program.bound(feeds), lambda: program(feeds))


def _onnxruntime(path: Path, feeds: Sequence[Array], threads: int) -> Loaded:
    """``run`` on NumPy's arrays, which onnxruntime reads where they lie."""
    session = onnxruntime_session(path, threads)
    given = dict(zip((value.name for value in session.get_inputs()), feeds, strict=True))
    return Loaded(lambda: session.run(None, given), lambda: list(session.run(None, given)))


def onnxruntime_session(path: Path, threads: int, profile: Path | None = None) -> Any:
    """All optimisations, one node at a time; threads wait for work as they do by default, spinning for a while."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


RUNTIMES: Mapping[str, Callable[[Path, Sequence[Array], int], Loaded]] = {OURS: _ours, ONNXRUNTIME: _onnxruntime}
