"""What a kernel computes, as data: a window that slides over an image, and what is done with what it sees.

A convolution, a matrix product, a depthwise convolution and a pool are one loop nest; they differ in how an input
element is read (``source``), whether there are weights, and how terms are combined (``kind``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from onnxprune.node import Array

__all__ = ["ATTRIBUTE", "Kernel", "Kind", "Source", "Window", "blocked"]

ATTRIBUTE = "onnxprune.kernel"  # of the block that a kernel's description is attached to

Kind = Literal["product", "depthwise", "max", "mean", "sum"]
Source = Literal["blocked", "plain", "rows"]


@dataclass(frozen=True)
class Window:
    """A kernel's geometry, each pair as (vertical, horizontal); ``pads`` as ONNX has them: top, left, bottom, right."""

    source: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def target(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        return self._size(0), self._size(1)

    @property
    def pointwise(self) -> bool:
        """Whether each output position reads the same position of the input and no other."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and not any(self.pads)

    def is_inside(self, column: int, tap: int) -> bool:
        """Whether a column of the window, at an output column, reads inside the image."""
        return 0 <= column * self.stride[1] + tap * self.dilation[1] - self.pads[1] < self.source[1]

    def _size(self, axis: int) -> int:
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (self.source[axis] + self.pads[axis] + self.pads[axis + 2] - reach) // self.stride[axis] + 1


@dataclass(frozen=True)
class Kernel:
    """One loop nest.

    ``channels`` are read for each output (of a group), ``outputs`` are all output channels. ``source`` is how the
    input lies in memory: ``blocked`` [n, c/lanes, h, w, lanes], ``plain`` [n, c, h, w] or ``rows`` [..., c]. With
    ``packed`` the weights are constants, [outputs/lanes, reduction, lanes]; without, they are [n, reduction, outputs].
    """

    kind: Kind
    window: Window
    channels: int
    outputs: int
    lanes: int
    batch: int = 1
    groups: int = 1
    source: Source = "blocked"
    packed: bool = True
    counts_pads: bool = False  # of a mean: whether padding is counted

    @property
    def blocks(self) -> int:
        """Vectors that hold the output channels of one position."""
        return -(-self.outputs // self.lanes)

    @property
    def block(self) -> int:
        """Input channels that lie side by side at one position: what is read before the window moves on."""
        return {"blocked": self.lanes, "plain": 1, "rows": self.channels}[self.source]

    @property
    def partial(self) -> bool:
        """Whether the last output vector is stored in part: rows are not filled up, blocks are."""
        return self.source == "rows" and self.outputs % self.lanes != 0

    @property
    def taps(self) -> int:
        """Positions of the window."""
        return prod(self.window.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, or comparisons, as counted by onnxprune: padding included."""
        terms = self.channels if self.kind == "product" else 1
        return self.batch * self.outputs * prod(self.window.target) * self.taps * terms

    def written(self) -> str:
        """As text, for the attribute of a block."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Kernel:
        """From text."""
        fields: dict[str, Any] = json.loads(text)
        window = Window(**{name: tuple(value) for name, value in fields.pop("window").items()})
        return cls(window=window, **fields)

    def pack(self, weights: Array) -> Array:
        """Weights [outputs, channels, kh, kw] in the order in which they are read: [blocks, reduction, lanes].

        The reduction runs over blocks of channels, then the window, then the channels of a block; output channels
        that fill up the last vector are zero.
        """
        padded = np.zeros((self.blocks * self.lanes, *weights.shape[1:]), weights.dtype)
        padded[: self.outputs] = weights
        parts = [self._part(padded[:, start : start + self.block]) for start in range(0, weights.shape[1], self.block)]
        rows = np.concatenate(parts, axis=1)
        return np.ascontiguousarray(rows.reshape(self.blocks, self.lanes, -1).transpose(0, 2, 1))

    @staticmethod
    def _part(weights: Array) -> Array:
        return weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)


def blocked(values: Array, lanes: int) -> Array:
    """An array [n, c, h, w] as [n, c/lanes, h, w, lanes]; what fills up the last vector is zero."""
    n, c, h, w = values.shape
    padded = np.zeros((n, -(-c // lanes) * lanes, h, w), values.dtype)
    padded[:, :c] = values
    return np.ascontiguousarray(padded.reshape(n, -1, lanes, h, w).transpose(0, 1, 3, 4, 2))
