"""Compute on integers: 8-bit weights and activations, on grids found from unlabelled data.

Layers, and what lies between them, read and make whole numbers; QuantizeLinear and DequantizeLinear say so, and
onnxruntime turns what stands between two of them into an integer kernel (``placement``). The grid of an activation
comes from its histogram (``ranges``), that of a weight from the channel's largest magnitude, zero point 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from onnxprune.backends.targets import this_profile
from onnxprune.model import Model
from onnxprune.options import option
from onnxprune.overrides import matched, readable
from onnxprune.passes import Analysis, Changed, Context, Outcome, Unchanged
from onnxprune.quantization.network import OPSET, Scheme, quantized
from onnxprune.quantization.placement import ALREADY
from onnxprune.quantization.profiles import PROFILES, Profile
from onnxprune.quantization.qoperators import convert
from onnxprune.quantization.ranges import RULES

__all__ = ["Quantize"]


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Compute on 8-bit integers, with grids found from calibration data."""

    name: ClassVar[str] = "quantize"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ("calibration",)

    calibration: Annotated[str, tuple(RULES)] = option("mse", "how the range of an activation is found")
    weights: Literal["channel", "tensor"] = option("channel", "weights have a scale per channel, or one per tensor")
    profile: Annotated[str, ("auto", *PROFILES)] = option("auto", "the integers; auto: the target's, or this machine's")
    keep: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches stay in float")

    def __post_init__(self) -> None:
        readable("keep", self.keep)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Find the grids, and put the pairs in."""
        excluded = frozenset(node.name for pattern in self.keep for node in matched("keep", pattern, model))
        work, before = model.copy(), model.opset
        work.lift(OPSET)
        converted = convert(work)
        result = quantized(work, ctx, Scheme(self._profile(ctx), self.calibration, self.weights == "channel", excluded))
        if result.placement.nodes or converted:
            model.become(result.model)
        for name, why in work.skipped:
            model.skip(name, why)
        for name, why in result.placement.floats.items():
            model.skip(name, f"stays in float: {why}" if why != ALREADY else f"stays as it is: {why}")
        if not result.placement.nodes and not converted:
            known = ALREADY in result.placement.floats.values()
            return Unchanged(f"there is nothing to quantize{f': {ALREADY}' if known else ''}")
        lifted = f"; opset {before} → {OPSET}" if before < OPSET else ""
        written = f"; {converted} operators on integers written as QDQ" if converted else ""
        return Changed(f"quantized {len(result.weights)} layers{written}{lifted}")

    def _profile(self, ctx: Context) -> Profile:
        name = self.profile if self.profile != "auto" else ctx.target.int8 if ctx.target is not None else this_profile()
        return PROFILES[name]
