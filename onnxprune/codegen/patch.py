"""The elements of a kernel's output whose sums are in registers at once: where they lie, and what they read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx import Buffer, Expr, Stmt, floordiv, floormod

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.fused import Fused
from onnxprune.codegen.kernels import Kernel
from onnxprune.codegen.loops import Index, i32, load, loop, sequence, span, store
from onnxprune.codegen.tiles import Tile

__all__ = ["Channels", "Columns", "Patch", "add", "width"]


def width(buffer: Buffer) -> int:
    """Lanes of a register."""
    return int(buffer.shape[0])


def add(total: Buffer, value: Expr) -> Stmt:
    """Add a vector to the one that a register holds."""
    every = span(0, width(total))
    return store(total, load(total, every) + value, every)


@dataclass(frozen=True)
class Columns:
    """Neighbouring output columns; ``first`` is a number where it is known that some read beyond the edge."""

    start: Expr
    count: int
    first: int | None


@dataclass(frozen=True)
class Channels:
    """Neighbouring output vectors; of a ``partial`` last one not all lanes are stored."""

    start: Expr
    count: int
    partial: bool


@dataclass(frozen=True)
class Patch:
    """``columns`` times ``channels`` in one row of one image, of a kernel that is walked as ``tile`` says."""

    fused: Fused
    tile: Tile
    cpu: Cpu
    batch: Expr
    row: Expr
    columns: Columns
    channels: Channels

    @property
    def kernel(self) -> Kernel:
        """What is computed."""
        return self.fused.kernel

    @property
    def lanes(self) -> int:
        """Channels in a block."""
        return self.kernel.lanes

    # -- the window

    def taps(self, body: Callable[[Expr, int], Stmt]) -> Stmt:
        """A statement for each row and column of the window at which anything is read."""
        low, high = self.window_rows()
        columns = [kw for kw in range(self.kernel.window.kernel[1]) if any(self.reads(kw))]
        extent = tirx.Sub(high, low) if isinstance(high, Expr) else high
        return loop("kh", extent, lambda kh: sequence(body(kh + low, kw) for kw in columns))

    def window_rows(self) -> tuple[Index, Index]:
        """The first row of the window that lies inside the image, and the first after it that does not."""
        window = self.kernel.window
        height, size, step, apart = window.source[0], window.kernel[0], window.stride[0], window.dilation[0]
        if window.pointwise or not (window.pads[0] or window.pads[2]):
            return 0, size
        above = window.pads[0] - self.row * step
        low = tirx.max(i32(0), floordiv(above + (apart - 1), i32(apart)))
        high = tirx.min(i32(size), floordiv(above + (height - 1), i32(apart)) + 1)
        return low, high

    def reads(self, kw: int) -> list[bool]:
        """For each column, whether it has a term at this column of the window."""
        first = self.columns.first
        if first is None:
            return [True] * self.columns.count
        return [self.kernel.window.is_inside(first + t, kw) for t in range(self.columns.count)]

    # -- where things lie

    def weights(self, q: int, at: Expr) -> Expr:
        """The vector of weights for output vector ``q`` at a place of the reduction."""
        weights, block = self.fused.inputs[1], self.channels.start + q
        if self.kernel.packed:
            return load(weights, block, at, span(0, self.lanes))
        return load(weights, self.batch, at, span(block * self.lanes, self.held(q)))

    def held(self, q: int) -> int:
        """Lanes of an output vector that are computed: what is packed is filled up."""
        return self.lanes if self.kernel.packed else self.stored(q)

    def stored(self, q: int) -> int:
        """Lanes of an output vector that count."""
        last = self.channels.partial and q == self.channels.count - 1
        return self.kernel.outputs % self.lanes if last else self.lanes

    def position(self, kh: Expr, kw: int, t: int) -> tuple[Expr, Expr]:
        """Row and column of the input."""
        window, column = self.kernel.window, self.columns.start + t
        if window.pointwise:
            return self.image(column)
        row = self.row * window.stride[0] + kh * window.dilation[0] - window.pads[0]
        return row, column * window.stride[1] + (kw * window.dilation[1] - window.pads[1])

    def image(self, column: Expr) -> tuple[Expr, Expr]:
        """Row and column of the image for a column of the rectangle in which positions are walked."""
        across = self.kernel.window.target[1]
        if self.tile.width == across:
            return self.row, column
        at = self.row * self.tile.width + column
        return floordiv(at, i32(across)), floormod(at, i32(across))

    def leading(self, buffer: Buffer, column: Expr) -> list[Expr]:
        """The indices of a row of a matrix, or of a stack of them."""
        if not self.kernel.packed:
            return [self.batch, column]
        indices: list[Expr] = []
        for size in reversed(buffer.shape[:-1]):
            indices.insert(0, floormod(column, i32(int(size))))
            column = floordiv(column, i32(int(size)))
        return indices
