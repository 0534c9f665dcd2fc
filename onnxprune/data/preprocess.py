"""How images become what a graph reads: one frozen value, written alike on the command line, in TOML and in Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onnxprune.errors import UsageError
from onnxprune.grammar import parse_options
from onnxprune.options import Size, option, read

__all__ = ["Preprocess"]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Pixels become numbers: (pixel / 255 · scale - mean) / std. A graph of integers gets pixels as they are."""

    mean: tuple[float, ...] = option((), "of each channel, or of all, in the units of scale")
    std: tuple[float, ...] = option((), "of each channel, or of all, in the units of scale")
    scale: float = option(1.0, "what white is before mean and std: 1, or 255 for pixels of 0 to 255")
    size: Size | None = option(None, "height x width; by default that of the graph")
    fit: Literal["crop", "stretch", "pad"] = option(
        "crop", "how an image gets that size: cut off its longer side, change its proportions, or add black"
    )
    resize: int | None = option(None, "the shorter side before a centre crop, such as 256 for size=224")
    filter: Literal["bilinear", "bicubic", "nearest"] = option("bilinear", "how pixels are interpolated")
    layout: Literal["nchw", "nhwc"] | None = option(None, "the order of the axes; by default that of the graph")
    order: Literal["rgb", "bgr"] = option("rgb", "the order of the channels")

    def __post_init__(self) -> None:
        """Refuse what makes no sense for any graph."""
        if not (0 < self.scale < math.inf):
            raise UsageError(f"preprocess: option 'scale' cannot be {self.scale:g}; it is above 0, mostly 1 or 255")
        if any(value <= 0 for value in self.std):
            raise UsageError("preprocess: option 'std' divides; it cannot be 0 or less")
        if self.resize is not None and self.fit != "crop":
            raise UsageError(f"preprocess: option 'resize' says what is cropped, which fit={self.fit} is not")

    @classmethod
    def of(cls, given: str | Mapping[str, object] | Preprocess) -> Preprocess:
        """What a text (``mean=0.5,std=0.5``), a table or an object says."""
        if isinstance(given, Preprocess):
            return given
        values = parse_options(given) if isinstance(given, str) else given
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return cls(**read(cls, lists, "preprocess"))
