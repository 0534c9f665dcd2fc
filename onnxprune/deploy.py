"""From a model to a folder for a target: built, and, where this machine can run it, verified and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from onnxprune.backends import Artifact, Backend, Target, refusal
from onnxprune.backends.difference import Difference, difference, largest
from onnxprune.backends.emulated import CannotRunError, emulated
from onnxprune.backends.folder import Sample, furnish
from onnxprune.backends.libraries import libraries
from onnxprune.backends.rounding import reference, tolerance
from onnxprune.cache import Cache
from onnxprune.errors import BackendError
from onnxprune.node import Array

__all__ = ["backend", "deploy", "refuse_targets", "refuse_unsupported"]

WARM_UP, LEAST_RUNS, MOST_RUNS, SECONDS = 3, 10, 300, 1.0

Feeds = Mapping[str, Array]


def backend() -> Backend:
    """The compiler; it takes seconds to import, and is imported when it is needed."""
    from onnxprune.backends import tvm

    return tvm


def refuse_targets(targets: Sequence[Target]) -> None:
    """Raise BackendError for a target that nothing can be built for here, before a model is worked on."""
    try:
        for target in targets:
            backend().ready(target)
    except ImportError as error:
        raise BackendError(f"TVM cannot be imported ({error}); reinstall onnxprune, or leave out the target") from error


def refuse_unsupported(proto: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise BackendError, naming the operators, for a model that cannot be compiled: before it is worked on."""
    from onnxprune.backends.static import fix_shapes, open_sizes

    try:
        missing = backend().unsupported(fix_shapes(proto, shapes))
        if missing:
            raise BackendError(refusal(missing))
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
    cache: Cache,
) -> Artifact:
    """Build the library ``path``, and all that goes with it to the target's machine into its folder.

    ``batches`` of exactly ``shapes`` are what it is verified and timed on. Raises BackendError when it cannot be built,
    or does not compute what onnxruntime does.
    """
    built = backend().build(proto, target, path, shapes)
    runtime = libraries(target, path, cache)
    most = tolerance(proto, batches)
    size = furnish(path.parent, target, _sample(proto, batches, most), runtime)
    built = replace(built, folder_bytes=size, missing=runtime.missing)
    try:
        return _run(built, proto, target, batches, most)
    except CannotRunError as error:
        return replace(built, why=str(error))


def _run(built: Artifact, proto: onnx.ModelProto, target: Target, batches: Sequence[Feeds], most: float) -> Artifact:
    """What is built, verified where it can be run; raises CannotRunError where it cannot."""
    if not batches:
        raise CannotRunError("there is no input that the model runs on; give --calib")
    if built.missing is not None:
        raise CannotRunError(f"the TVM runtime for {target.arch} is missing")
    if target.foreign:
        return _verified(built, emulated(target, built.artifact), most, "qemu")
    if lacking := backend().lacking(target):
        raise CannotRunError(f"this machine's processor lacks {', '.join(lacking)}")
    session, program = reference(proto), backend().load(built.artifact)
    verified = _verified(built, difference(program, session, batches), most, "host")
    return replace(verified, latency_ms=_median_ms(program, [batches[0][name] for name in session.inputs]))


def _verified(built: Artifact, found: Difference, most: float, where: Literal["host", "qemu"]) -> Artifact:
    if not found.relative <= most:
        raise BackendError(
            f"the library for target '{built.name}' is wrong: it differs from onnxruntime by {found.absolute:.3g},"
            f" {found.relative:.3g} of the largest output; leave out the target, and report this with the model"
        )
    return replace(built, verified=where, max_abs_error=found.absolute, max_rel_error=found.relative)


def _sample(proto: onnx.ModelProto, batches: Sequence[Feeds], most: float) -> Sample:
    """The batch that says most of a relative error: the one on which the least output is as large as it gets."""
    if not batches:
        return Sample()
    session = reference(proto, threads=1)  # equal inputs give equal bytes
    sizes = np.array([[largest(each) for each in session(feeds)] for feeds in batches])
    share = sizes / np.where(sizes.max(axis=0) > 0, sizes.max(axis=0), 1)
    best = batches[int(share.min(axis=1).argmax())]
    inputs = [(name, best[name]) for name in session.inputs]
    return Sample(inputs, list(zip(session.outputs, session(best), strict=True)), most)


def _median_ms(program: Callable[[Sequence[Array]], list[Array]], feeds: Sequence[Array]) -> float:
    warm = [_milliseconds(program, feeds) for _ in range(WARM_UP)]
    runs = min(max(int(1000 * SECONDS / min(warm)), LEAST_RUNS), MOST_RUNS)
    return statistics.median(_milliseconds(program, feeds) for _ in range(runs))


def _milliseconds(program: Callable[[Sequence[Array]], list[Array]], feeds: Sequence[Array]) -> float:
    start = time.perf_counter()
    program(feeds)
    return 1000 * (time.perf_counter() - start)
