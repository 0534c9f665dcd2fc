"""The reduction of a pool or a depthwise convolution: vectors of the input, each for the output vector above it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx import Buffer, Expr, Stmt

from onnxprune.codegen.kernels import Kernel
from onnxprune.codegen.loops import load, sequence, span, store
from onnxprune.codegen.patch import Patch, add

__all__ = ["Slid"]


@dataclass(frozen=True)
class Slid:
    """The terms of a patch, combined with its ``sums``, one register for each output vector and column."""

    patch: Patch
    sums: Sequence[Sequence[Buffer]]

    @property
    def kernel(self) -> Kernel:
        """What is computed."""
        return self.patch.kernel

    def reduction(self) -> Iterator[Stmt]:
        """Rows of the window, its columns."""
        yield self.patch.taps(self._step)

    def _step(self, kh: Expr, kw: int) -> Stmt:
        """Every column's input vector: times the weights of its lanes, added, or compared."""
        return sequence(
            self._combine(row[t], self._vector(q, kh, kw, t), q, kh, kw)
            for t, inside in enumerate(self.patch.reads(kw))
            if inside
            for q, row in enumerate(self.sums)
        )

    def _combine(self, total: Buffer, value: Expr, q: int, kh: Expr, kw: int) -> Stmt:
        every = span(0, self.kernel.lanes)
        if self.kernel.kind == "max":
            return store(total, tirx.max(load(total, every), value), every)
        if self.kernel.kind == "depthwise":
            value = value * self.patch.weights(q, kh * self.kernel.window.kernel[1] + kw)
        return add(total, value)

    def _vector(self, q: int, kh: Expr, kw: int, t: int) -> Expr:
        row, column = self.patch.position(kh, kw, t)
        block = self.patch.channels.start + q
        return load(self.patch.fused.inputs[0], self.patch.batch, block, row, column, span(0, self.kernel.lanes))
