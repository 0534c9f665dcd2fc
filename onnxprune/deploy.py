"""From a model to a library for a target: built, and, where this machine can run it, verified and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from onnxprune.backends import Artifact, Backend, Target, refusal
from onnxprune.errors import BackendError
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["backend", "deploy", "refuse_unsupported"]

TOLERANCE = 1e-3  # of the largest output: what is beyond it is not rounding
WARM_UP, LEAST_RUNS, MOST_RUNS, SECONDS = 3, 10, 300, 1.0

Feeds = Mapping[str, Array]


def backend() -> Backend:
    """The compiler; it takes seconds to import, and is imported when it is needed."""
    from onnxprune.backends import tvm

    return tvm


def refuse_unsupported(
    proto: onnx.ModelProto, targets: Sequence[Target], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise BackendError for what cannot be compiled, before it is worked on: a target, or an operator, named."""
    from onnxprune.backends.static import fix_shapes, open_sizes

    try:
        for target in targets:
            backend().ready(target)
        missing = backend().unsupported(fix_shapes(proto, shapes))
        if missing:
            raise BackendError(refusal(missing))
    except ImportError as error:
        raise BackendError(f"TVM cannot be imported ({error}); reinstall onnxprune, or leave out the target") from error
    except BackendError as error:
        if not (taken := open_sizes(proto, shapes)):
            raise
        raise BackendError(
            f"{error}; the model leaves sizes open, taken as {taken}: give others if they differ"
        ) from error


def deploy(
    proto: onnx.ModelProto,
    target: Target,
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    batches: Sequence[Feeds],
) -> Artifact:
    """Build the library ``path``; ``batches`` of exactly ``shapes`` are what it is verified and timed on.

    Raises BackendError when it does not compute what onnxruntime does.
    """
    compiler = backend()
    built = compiler.build(proto, target, path, shapes)
    if not batches or not compiler.runs_here(target):
        return built
    error = compiler.verify(path, proto, batches)
    if not error <= TOLERANCE * (scale := _largest_output(proto, batches)):
        raise BackendError(
            f"the library for target '{target.name}' is wrong: it differs from onnxruntime by {error:.3g} where outputs"
            f" reach {scale:.3g}; leave out the target, and report this with the model"
        )
    names = Session(proto).inputs
    milliseconds = _median_ms(compiler.load(path), [batches[0][name] for name in names])
    return replace(built, verified="host", max_abs_error=error, latency_ms=milliseconds)


def _largest_output(proto: onnx.ModelProto, batches: Sequence[Feeds]) -> float:
    session = Session(proto)
    outputs = (np.asarray(y) for feeds in batches for y in session(feeds))
    numbers = (np.abs(y[np.isfinite(y)].astype(np.float64)) for y in outputs if y.dtype.kind in "fiub")
    return max((float(y.max(initial=0)) for y in numbers), default=0.0) or 1.0


def _median_ms(program: Callable[[Sequence[Array]], list[Array]], feeds: Sequence[Array]) -> float:
    warm = [_milliseconds(program, feeds) for _ in range(WARM_UP)]
    runs = min(max(int(1000 * SECONDS / min(warm)), LEAST_RUNS), MOST_RUNS)
    return statistics.median(_milliseconds(program, feeds) for _ in range(runs))


def _milliseconds(program: Callable[[Sequence[Array]], list[Array]], feeds: Sequence[Array]) -> float:
    start = time.perf_counter()
    program(feeds)
    return 1000 * (time.perf_counter() - start)
