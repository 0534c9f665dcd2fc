"""How many channels a layer may keep: kernels compute them in blocks, and a part of a block takes as long as all of it.

On the other hand, the more numbers a layer may choose from, the less accuracy a cut costs. So narrow layers keep parts
of a block where whole ones would harm more (docs/adr/0012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxprune.node import Array
from onnxprune.passes import Context

__all__ = ["Grain", "block_of", "rounds"]

UNKNOWN = 8  # channels: the block where nothing is known of the machine
CHOICES = (1, 2, 4)  # multiples that a layer has to choose from, at least


@dataclass(frozen=True)
class Grain:
    """Layers keep multiples of ``block``, or of its largest half, quarter … that leaves them so many ``choices``.

    With ``quarters``, those below one block may keep any number of quarters of it.
    """

    block: int
    choices: int = 1
    quarters: bool = False

    def of(self, width: int) -> int:
        """What a layer of this width keeps a multiple of."""
        block = self.block
        while self.choices > 1 and block > 1 and block * self.choices > width:
            block //= 2
        return block

    def permits(self, kept: Array, width: int) -> Array:
        """Whether a layer of this width may keep so many channels."""
        whole = kept % self.of(width) == 0
        part = (kept < self.block) & (kept % max(self.block // 4, 1) == 0) & self.quarters
        return np.asarray(whole | part)


def block_of(ctx: Context) -> int:
    """The block of what the network is for: the target, else what takes the time."""
    if ctx.target is not None:
        return ctx.target.align
    return ctx.clock.block if ctx.clock is not None else UNKNOWN


def rounds(block: int, goals: bool, timed: bool) -> list[list[Grain]]:
    """What ``align=auto`` tries, round by round, until the goals can be met; in a round the coarsest stands first.

    Where times are measured (``timed``), they tell what a part of a block is worth. Without ``goals`` every layer
    loses the same share, and needs a choice.
    """
    if timed:
        return [[Grain(block, quarters=True)], [Grain(1)]]
    if not goals:
        return [[Grain(block, CHOICES[-1])]]
    return [[Grain(block, choices) for choices in CHOICES], [Grain(block, 2 * CHOICES[-1])], [Grain(1)]]
