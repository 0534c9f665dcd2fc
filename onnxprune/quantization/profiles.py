"""Which integers a machine's kernels are fast and exact with, by the name that its target's table says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxprune.quantization.grids import Format

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True)
class Profile:
    """The formats of activations and of weights, and what they are for."""

    activations: Format
    weights: Format
    why: str


UNSIGNED = Format("uint8", 0, 255)
SIGNED = Format("int8", -128, 127, centred=True)
WEIGHTS = Format("int8", -127, 127)

PROFILES: Mapping[str, Profile] = {
    "u8s8": Profile(UNSIGNED, WEIGHTS, "x86 with VNNI"),
    "u8s7": Profile(UNSIGNED, Format("int8", -64, 64), "x86 without VNNI, where sums of two products saturate 16 bits"),
    "s8s8": Profile(SIGNED, WEIGHTS, "ARM"),
}
