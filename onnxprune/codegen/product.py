"""The reduction of a matrix product or a convolution: input elements, one after the other, times vectors of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx import Buffer, Expr, Stmt, floordiv

from onnxprune.codegen.kernels import Kernel
from onnxprune.codegen.loops import Index, allocated, broadcast, i32, load, loop, register, sequence, span, store
from onnxprune.codegen.patch import Patch, add

__all__ = ["Product"]


@dataclass(frozen=True)
class Product:
    """The terms of a patch, added to its ``sums``, one register for each output vector and column."""

    patch: Patch
    sums: Sequence[Sequence[Buffer]]

    @property
    def kernel(self) -> Kernel:
        """What is computed."""
        return self.patch.kernel

    def reduction(self) -> Iterator[Stmt]:
        """Blocks of channels, rows of the window, its columns, channels of a block."""
        kernel = self.kernel
        full, rest = divmod(kernel.channels, kernel.block)
        if rest and not self._by_vector:  # one loop of any length: LLVM would unroll a short one, and lack registers
            yield loop("block", full + 1, lambda cb: self._block(cb, self._width(cb)))
            return
        if full:
            yield loop("block", full, lambda cb: self._block(cb, kernel.block))
        if rest:
            yield self._block(i32(full), rest)

    @property
    def _by_vector(self) -> bool:
        """Whether input channels are loaded a vector at a time, whose lanes are multiplied by one after the other."""
        return self.patch.cpu.by_element and self.kernel.block >= self.kernel.lanes

    def _width(self, block: Expr) -> Expr:
        """Channels of a block, of which the last has fewer."""
        return tirx.min(i32(self.kernel.block), self.kernel.channels - block * self.kernel.block)

    def _block(self, block: Expr, width: Index) -> Stmt:
        offset = block * (self.kernel.block * self.kernel.taps)

        def taps(kh: Expr, kw: int) -> Stmt:
            at = offset + (kh * self.kernel.window.kernel[1] + kw) * width
            return sequence(self._channels(block, width, kh, kw, at))

        return self.patch.taps(taps)

    def _channels(self, block: Expr, width: Index, kh: Expr, kw: int, at: Expr) -> Iterator[Stmt]:
        """Channels that lie side by side, one by one or by vectors; what fills a block up is loaded, and left alone."""
        columns = [t for t, inside in enumerate(self.patch.reads(kw)) if inside]

        def step(first: Expr, lanes: int, used: int) -> Stmt:
            elements = {t: self._element(block, span(first, lanes), kh, kw, t) for t in columns}
            return sequence(self._products(elements, lanes, used, at + first))

        if not self._by_vector or not isinstance(width, int):
            yield loop("channel", width, lambda c: step(c, 1, 1))
            return
        lanes = self.kernel.lanes
        whole, rest = divmod(width, lanes)
        if whole:
            yield loop("channels", whole, lambda c: step(c * lanes, lanes, lanes))
        if rest and self.kernel.source == "blocked":
            yield step(i32(0), lanes, rest)
        elif rest:
            yield loop("channel", rest, lambda c: step(c + whole * lanes, 1, 1))

    def _products(self, elements: dict[int, Expr], lanes: int, used: int, at: Expr) -> Iterator[Stmt]:
        """Each column's input elements, one lane after the other, times every vector of weights."""
        held = {t: register(f"input_{t}", lanes) for t in elements}
        yield from allocated(held.values())
        yield from (store(held[t], element, span(0, lanes)) for t, element in elements.items())
        for lane in range(used):
            weights = [self.patch.weights(q, at + lane) for q in range(len(self.sums))]
            for t, buffer in held.items():
                element = load(buffer, lane)
                for q, row in enumerate(self.sums):
                    yield add(row[t], weights[q] * broadcast(element, self.patch.held(q)))

    def _element(self, block: Expr, c: Expr, kh: Expr, kw: int, t: int) -> Expr:
        row, column = self.patch.position(kh, kw, t)
        source = self.patch.fused.inputs[0]
        if self.kernel.source == "rows":
            return load(source, *self.patch.leading(source, column), c)
        if self.kernel.groups > 1:
            group = floordiv(self.patch.channels.start, i32(self.kernel.blocks // self.kernel.groups))
            block = block + group * (self.kernel.channels // self.kernel.block)
        inner = (c,) if self.kernel.source == "blocked" else ()
        return load(source, self.patch.batch, block, row, column, *inner)
