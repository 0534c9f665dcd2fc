"""How far the outputs of compiled code are from onnxruntime's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.errors import BackendError
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["TOLERANCE", "Difference", "difference", "largest"]

TOLERANCE = 1e-4  # of the largest number in an output: what is beyond it is not rounding


@dataclass(frozen=True)
class Difference:
    """The largest error of any output: absolute, and relative to the largest number expected in that output."""

    absolute: float
    relative: float


def difference(
    program: Callable[[Sequence[Array]], list[Array]], session: Session, batches: Iterable[Mapping[str, Array]]
) -> Difference:
    """The outputs of ``program``, which takes inputs in the order of the graph, beside those of ``session``.

    Raises BackendError where an output has another shape.
    """
    errors, scales = np.zeros(len(session.outputs)), np.zeros(len(session.outputs))
    for batch in batches:
        expected = session(batch)
        outputs = program([batch[name] for name in session.inputs])
        errors = np.maximum(errors, [*map(_error, outputs, expected)])
        scales = np.maximum(scales, [*map(largest, expected)])
    relative = errors / np.where(scales > 0, scales, 1)
    return Difference(float(errors.max(initial=0)), float(relative.max(initial=0)))


def largest(output: Array) -> float:
    """The largest absolute value that is a number; 0 where there is none."""
    if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiub":
        return 0.0
    return float(np.abs(output[np.isfinite(output)].astype(np.float64)).max(initial=0))


def _error(got: Array, want: Array) -> float:
    if got.shape != want.shape:
        raise BackendError(
            f"an output has shape {list(got.shape)}, onnxruntime's {list(want.shape)}: a bug in the backend"
        )
    with np.errstate(invalid="ignore"):  # inf - inf, where both are the same
        apart = np.abs(got.astype(np.float64) - want.astype(np.float64))
    same = (got == want) | ((got != got) & (want != want))
    return float(np.nan_to_num(np.where(same, 0, apart), nan=np.inf, posinf=np.inf).max(initial=0))
