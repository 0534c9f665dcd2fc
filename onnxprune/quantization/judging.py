"""Whether a repair helps, told on samples that it was not fitted to: cross-validation by halves of the data.

What is fitted to one half is judged on the other, and the other way round; what is accepted may then be fitted to all
of the data. Where there is much of it, a part drawn at random tells as well, and sooner. What helps is told by the
typical loss (``loss.Loss.typical``) against the float network: by the mean loss the few samples decide that the network
is least sure of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.reference import Reference

__all__ = ["Fit", "judged", "told"]

HALF = 64  # samples
Fit: TypeAlias = Callable[[Calibration], Model]


def judged(original: Model, fits: Sequence[Fit], data: Calibration) -> list[float]:
    """The typical loss of what each of ``fits`` makes of one half of the data on the other half, over all samples.

    The halves are of ``HALF`` samples at most; a lone batch is both.
    """
    total, count = np.zeros(len(fits)), 0
    with np.errstate(divide="ignore"):
        for fit, check in data.halves(HALF):
            reference = Reference(original, check)
            total += check.count * np.log([reference.typical(make(fit)) for make in fits])
            count += check.count
    return [float(each) for each in np.exp(total / count)]


def told(what: str, before: float, after: float, *, kept: bool) -> str:
    """A remark on a repair; none where it changes nothing."""
    if after == before:
        return ""
    return f"; {what}{'' if kept else ' refused'}: loss {before:.3g} → {after:.3g}"
