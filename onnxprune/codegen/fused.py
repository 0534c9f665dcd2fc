"""A function that Relax has fused, read back: the kernel at its head, and what follows as one expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm.ir import TensorLoad
from tvm.s_tir import SBlock
from tvm.tirx import Buffer, BufferLoad, Expr, PrimFunc, Stmt

from onnxprune.codegen.expressions import UnreadableError, loads, rebuilt
from onnxprune.codegen.kernels import ATTRIBUTE, Kernel
from onnxprune.codegen.loops import stored
from onnxprune.codegen.polynomials import bound_to
from onnxprune.codegen.stages import Stage, blocks_of, stage_of

__all__ = ["Fused", "kernel_of"]


@dataclass(frozen=True)
class Fused:
    """A kernel with its ``inputs`` (what slides, then the weights), its ``result``, and the stages behind it."""

    func: PrimFunc
    kernel: Kernel
    inputs: tuple[Buffer, ...]
    result: Buffer
    stages: tuple[Stage, ...]

    @classmethod
    def read(cls, func: PrimFunc) -> Fused:
        """Take a function apart; raises UnreadableError when it is not a kernel with element-wise stages behind it."""
        first, *rest = blocks_of(func)
        if ATTRIBUTE not in first.annotations:
            raise UnreadableError("something comes before the kernel")
        kernel = Kernel.read(str(first.annotations[ATTRIBUTE]))
        written = first.body
        inputs = tuple(
            dict.fromkeys(load.source for load in loads(written.value) if not load.source.same_as(written.buffer))
        )
        return cls(func, kernel, inputs, written.buffer, tuple(_map(block) for block in rest))

    @property
    def output(self) -> Buffer:
        """What the last stage writes."""
        return self.stages[-1].buffer if self.stages else self.result

    def stored(self, value: Expr, indices: Sequence[Expr]) -> Stmt:
        """The statement that stores one element of the output, given that of the kernel's result."""
        at = list(indices)
        return stored(self.output, bound_to(value, lambda v: self._after(self.stages, {self.result: v}, at)), *at)

    def _after(self, stages: Sequence[Stage], known: Mapping[Buffer, Expr], indices: list[Expr]) -> Expr:
        """What the stages make of the elements that are known, each computed once however often it is read."""
        if not stages:
            return known[self.output]

        def read(each: TensorLoad, at: Sequence[Expr]) -> Expr:
            if each.source not in known:
                return BufferLoad(each.source, list(at))
            if not all(a.same_as(b) for a, b in zip(at, indices, strict=True)):
                raise UnreadableError(f"'{each.source.name}' is read at other positions than it is written")
            return known[each.source]

        stage, *rest = stages
        value = rebuilt(stage.value, dict(zip((axis.var for axis in stage.axes), indices, strict=True)), read)
        return bound_to(value, lambda v: self._after(rest, {**known, stage.buffer: v}, indices))


def kernel_of(func: PrimFunc) -> bool:
    """Whether there is a kernel in a function."""
    return any(ATTRIBUTE in block.annotations for block in blocks_of(func))


def _map(block: SBlock) -> Stage:
    stage = stage_of(block)
    if stage.reduced:
        raise UnreadableError("a stage that reduces")
    return stage
