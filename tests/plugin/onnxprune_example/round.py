# onnxprune_example/round.py
"""Round weights, so that the file compresses better."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from onnxprune import Analysis, Changed, Context, Model, Unchanged, UsageError
from onnxprune.options import option


@dataclass(frozen=True, kw_only=True)
class RoundWeights:
    """Round float32 weights to fewer bits of mantissa."""

    name: ClassVar[str] = "round"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    bits: int = option(10, "bits of mantissa that stay, of 23")

    def __post_init__(self) -> None:
        if not 0 < self.bits < 23:
            raise UsageError("bits takes a whole number, 1 to 22")

    def run(self, model: Model, ctx: Context) -> Changed | Unchanged:
        rounded = 0
        for tensor in model.constants:
            if tensor.dtype != np.float32:
                model.skip(tensor.name, f"not rounded: it is {tensor.dtype}")
            elif not np.array_equal(near := _rounded(tensor.value(), self.bits), tensor.value()):
                model.put(tensor.name, near)
                rounded += 1
        return Changed(f"rounded {rounded} weights") if rounded else Unchanged("every weight is short already")


def _rounded(value: np.ndarray, bits: int) -> np.ndarray:
    step = np.uint32(1 << (23 - bits))
    return ((value.view(np.uint32) + step // 2) & ~(step - np.uint32(1))).view(np.float32)
