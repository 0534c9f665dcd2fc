"""Weights in few bits, in a network that goes on computing on floats.

A Conv, ConvTranspose, Gemm, MatMul or Einsum reads a weight that is restored from whole numbers and a scale per channel
(``decoders``), or from halves. With calibration data weights are rounded for what the network makes (``rounding``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from onnxprune.errors import UsageError
from onnxprune.model import Model
from onnxprune.options import option
from onnxprune.overrides import matched, readable
from onnxprune.passes import Analysis, Changed, Context, Outcome, Unchanged
from onnxprune.quantization.decoders import PACKED
from onnxprune.quantization.network import OPSET
from onnxprune.quantization.storing import HALF, Storage, Stored, stored

__all__ = ["Store"]

BLOCKS = 21  # the opset from which a DequantizeLinear has blocks


@dataclass(frozen=True, kw_only=True)
class Store:
    """Keep weights in few bits; the network computes on floats, and onnxruntime restores them when it loads it."""

    name: ClassVar[str] = "store"
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()

    bits: Literal[16, 8, 4, 3, 2] = option(8, "of a weight: whole numbers, or with 16 floats of half the size")
    round: Literal["auto", "nearest", "gptq", "adaround"] = option(
        "auto", "how weights become whole numbers; auto: gptq where there is calibration data, else nearest"
    )
    weights: Literal["channel", "tensor"] = option("channel", "weights have a scale per channel, or one per tensor")
    block: int | None = option(
        None, "so many weights of a row of a Gemm or MatMul have a scale of their own (opset 21)"
    )
    decode: Literal["cast", "dequantize"] = option("cast", "what restores them; cast is done once, at load")
    packed: bool = option(False, "lift the opset to one with a type of so few bits: 21 for 4 and 3, 25 for 2")
    keep: tuple[str, ...] = option((), "a regular expression; nodes whose whole name it matches keep their weights")

    def __post_init__(self) -> None:
        readable("keep", self.keep)
        if self.block is not None and self.block < 2:
            raise UsageError(f"block={self.block} is no number of weights that could share a scale; give 32, or none")
        if self.bits == HALF and (self.block is not None or self.round not in ("auto", "nearest")):
            raise UsageError(
                "bits=16 stores floats: there is nothing to round and no scale; leave out round= and block="
            )

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Round the weights, and put in what restores them."""
        if self.round in ("gptq", "adaround") and ctx.calibration is None:
            raise UsageError(f"round={self.round} looks at what layers read: give --calib, or round=nearest")
        work, before = model.copy(), model.opset
        work.lift(self._opset())
        found = stored(work, ctx, self._storage(model, ctx))
        if found.weights:
            model.become(found.model)
        for name, why in found.floats.items():
            model.skip(name, f"not stored: {why}")
        if not found.weights:
            return Unchanged("there is no weight to store")
        for name, why in found.plain.items():
            model.skip(name, f"rounded to nearest: {why}")
        return Changed(self._note(found, ctx) + (f"; opset {before} → {model.opset}" if model.opset > before else ""))

    def _opset(self) -> int:
        since = PACKED[self.bits][0] if self.packed and self.bits in PACKED else OPSET
        return max(since, BLOCKS) if self.block is not None else since

    def _storage(self, model: Model, ctx: Context) -> Storage:
        excluded = frozenset(node.name for pattern in self.keep for node in matched("keep", pattern, model))
        return Storage(
            self.bits, self._rule(ctx), self.weights == "channel", self.block, self.decode == "dequantize", excluded
        )

    def _rule(self, ctx: Context) -> str:
        return self.round if self.round != "auto" else "nearest" if ctx.calibration is None else "gptq"

    def _note(self, found: Stored, ctx: Context) -> str:
        kinds = Counter(found.kinds.values())
        held = ", ".join(f"{count} weights as {kind}" for kind, count in kinds.items())
        if self.bits == HALF:
            return f"stored {held}"
        rounds = Counter({self._rule(ctx): len(found.weights) - len(found.plain)})
        rounds["nearest"] += len(found.plain)
        return f"stored {held}; rounded " + ", ".join(f"{count} by {rule}" for rule, count in rounds.items() if count)
