"""Whether a repair helps, told on samples that it was not fitted to: cross-validation by halves of the data.

What is fitted to one half is judged on the other, and the other way round, so that every sample has a say; what is
accepted may then be fitted to all. What helps is told by the typical loss (``loss.Loss.typical``) against the float
network: by the mean loss the few samples decide that the network is least sure of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.reference import Reference

__all__ = ["Fit", "judged", "told"]

Fit: TypeAlias = Callable[[Calibration], Model]


def judged(original: Model, fits: Sequence[Fit], data: Calibration) -> list[float]:
    """The typical loss of what each of ``fits`` makes of one half of the data on the other half, over all samples.

    A lone batch is both halves.
    """
    one, other = data.split(0.5)
    total = np.zeros(len(fits))
    with np.errstate(divide="ignore"):
        for fit, check in dict.fromkeys(((one, other), (other, one))):
            reference = Reference(original, check)
            total += check.count * np.log([reference.typical(make(fit)) for make in fits])
    return [float(each) for each in np.exp(total / data.count)]


def told(what: str, before: float, after: float, *, kept: bool) -> str:
    """A remark on a repair; none where it changes nothing."""
    if after == before:
        return ""
    return f"; {what}{'' if kept else ' refused'}: loss {before:.3g} → {after:.3g}"
