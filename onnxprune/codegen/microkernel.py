"""Loop nests for kernels: a tile of accumulators stays in vector registers while the window and the channels pass by.

Nothing is padded: tiles at the left and right edge leave out the terms that would read beyond it, and the loop over the
rows of the window is as long as it has rows inside the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil

from tvm import tirx
from tvm.tirx import Buffer, Expr, PrimFunc, Stmt, floordiv, floormod

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.fused import Fused
from onnxprune.codegen.kernels import Kernel
from onnxprune.codegen.loops import (
    Index,
    allocated,
    broadcast,
    i32,
    load,
    loop,
    parallel,
    register,
    sequence,
    span,
    store,
    vector,
)
from onnxprune.codegen.tiles import Tile, choose

__all__ = ["nest"]

LOWEST = float("-inf")  # the start of a maximum


def nest(func: PrimFunc, cpu: Cpu) -> PrimFunc:
    """A fused function whose head is a kernel, as loops; raises UnreadableError when it is something else."""
    fused = Fused.read(func)
    tile = choose(fused.kernel, cpu)
    return func.with_body(_Nest(fused, fused.kernel, tile, cpu).body())


def width(buffer: Buffer) -> int:
    """Lanes of a register."""
    return int(buffer.shape[0])


@dataclass(frozen=True)
class _Columns:
    """Neighbouring output columns; ``first`` is a number where it is known that some read beyond the edge."""

    start: Expr
    count: int
    first: int | None


@dataclass(frozen=True)
class _Channels:
    """Neighbouring output vectors; of a ``partial`` last one not all lanes are stored."""

    start: Expr
    count: int
    partial: bool


@dataclass(frozen=True)
class _Nest:
    fused: Fused
    kernel: Kernel
    tile: Tile
    cpu: Cpu

    # -- what is shared out among threads: images, groups, bundles of channels, chunks of rows

    def body(self) -> Stmt:
        kernel, tile = self.kernel, self.tile
        per_group = kernel.blocks // kernel.groups
        partial = kernel.partial  # the last vector then goes with the rest, which is written out on its own
        full, rest = divmod(per_group - partial, tile.blocks)
        rest += partial
        chunks = ceil(tile.rows / tile.chunk)
        bundles = full + bool(rest)

        def piece(unit: Expr) -> Stmt:
            inner, outer = (bundles, chunks) if tile.by_rows else (chunks, bundles)
            image, part = floordiv(unit, i32(inner * outer)), floormod(unit, i32(inner * outer))
            at = floormod(part, i32(inner)), floordiv(part, i32(inner))
            bundle, chunk = at if tile.by_rows else at[::-1]
            group = floormod(image, i32(kernel.groups)) * per_group
            batch = floordiv(image, i32(kernel.groups))
            return self._bundles(
                bundle,
                full,
                rest,
                lambda b, n, last: self._rows(batch, chunk, _Channels(group + b, n, last and partial)),
            )

        total = chunks * bundles * kernel.groups * kernel.batch
        return (loop if tile.serial else parallel)("piece", total, piece)

    def _bundles(self, bundle: Expr, full: int, rest: int, rows: Callable[[Expr, int, bool], Stmt]) -> Stmt:
        """Full bundles of channels in one branch, the rest in another."""
        size = self.tile.blocks
        if not rest:
            return rows(bundle * size, size, False)
        if not full:
            return rows(i32(0), rest, True)
        return tirx.IfThenElse(bundle < full, rows(bundle * size, size, False), rows(i32(full * size), rest, True))

    def _rows(self, batch: Expr, chunk: Expr, channels: _Channels) -> Stmt:
        tile = self.tile
        extent: Index = tile.chunk
        if tile.rows % tile.chunk:
            extent = tirx.min(i32(tile.chunk), tile.rows - chunk * tile.chunk)
        return loop("row", extent, lambda i: self._row(batch, chunk * tile.chunk + i, channels))

    # -- a row of the output: tiles whose window lies inside the image, and those at the edges

    def _row(self, batch: Expr, row: Expr, channels: _Channels) -> Stmt:
        def of(columns: _Columns) -> Stmt:
            return _Tile(self, batch, row, columns, channels).body()

        return sequence(
            of(columns[0]) if len(columns) == 1 else self._inside(columns, of) for columns in self._regions()
        )

    def _inside(self, columns: list[_Columns], of: Callable[[_Columns], Stmt]) -> Stmt:
        head, step = columns[0], self.tile.columns
        return loop("tile", len(columns), lambda t: of(replace(head, start=head.start + t * step)))

    def _regions(self) -> Iterator[list[_Columns]]:
        """Runs of like tiles: those inside together, each one at an edge alone."""
        run: list[_Columns] = []
        for first in range(0, self.tile.width, self.tile.columns):
            count = min(self.tile.columns, self.tile.width - first)
            inside = self._is_inside(first) and self._is_inside(first + count - 1)
            columns = _Columns(i32(first), count, None if inside else first)
            if run and not (inside and count == run[0].count and run[0].first is None):
                yield run
                run = []
            run.append(columns)
        yield run

    def _is_inside(self, column: int) -> bool:
        return self.kernel.window.pointwise or all(
            self.column_inside(column, tap) for tap in (0, self.kernel.window.kernel[1] - 1)
        )

    def column_inside(self, column: int, tap: int) -> bool:
        """Whether a tap of the window, at an output column, reads inside the image."""
        window = self.kernel.window
        return 0 <= column * window.stride[1] + tap * window.dilation[1] - window.pads[1] < window.source[1]


@dataclass(frozen=True)
class _Tile:
    nest: _Nest
    batch: Expr
    row: Expr
    columns: _Columns
    channels: _Channels

    @property
    def kernel(self) -> Kernel:
        return self.nest.kernel

    @property
    def lanes(self) -> int:
        return self.kernel.lanes

    def body(self) -> Stmt:
        """Start, accumulate, store."""
        count = range(self.columns.count)
        sums = [[register(f"sum_{q}_{t}", self._held(q)) for t in count] for q in range(self.channels.count)]
        flat = [each for row in sums for each in row]
        start = LOWEST if self.kernel.kind == "max" else 0.0
        return sequence(
            [
                *allocated(flat),
                *(store(each, broadcast(start, width(each)), span(0, width(each))) for each in flat),
                *self._reduction(sums),
                *(self._finish(sums[q][t], q, t) for q in range(self.channels.count) for t in count),
            ]
        )

    # -- the reduction: blocks of channels, rows of the window, its columns, channels of a block

    def _reduction(self, sums: list[list[Buffer]]) -> Iterator[Stmt]:
        kernel = self.kernel
        if kernel.kind != "product":
            yield self._taps(lambda kh, kw: self._slid(sums, kh, kw))
            return
        full, rest = divmod(kernel.channels, kernel.block)
        if rest and not self._by_vector:  # one loop of any length: LLVM would unroll a short one, and lack registers
            yield loop("block", full + 1, lambda cb: self._block(sums, cb, self._width(cb)))
            return
        if full:
            yield loop("block", full, lambda cb: self._block(sums, cb, kernel.block))
        if rest:
            yield self._block(sums, i32(full), rest)

    @property
    def _by_vector(self) -> bool:
        """Whether input channels are loaded a vector at a time, whose lanes are multiplied by one after the other."""
        return self.nest.cpu.by_element and self.kernel.block >= self.lanes

    def _width(self, block: Expr) -> Expr:
        """Channels of a block, of which the last has fewer."""
        return tirx.min(i32(self.kernel.block), self.kernel.channels - block * self.kernel.block)

    def _block(self, sums: list[list[Buffer]], block: Expr, width: Index) -> Stmt:
        offset = block * (self.kernel.block * self.kernel.taps)

        def taps(kh: Expr, kw: int) -> Stmt:
            at = offset + (kh * self.kernel.window.kernel[1] + kw) * width
            return sequence(self._channels(sums, block, width, kh, kw, at))

        return self._taps(taps)

    def _taps(self, body: Callable[[Expr, int], Stmt]) -> Stmt:
        low, high = self._window_rows()
        columns = [kw for kw in range(self.kernel.window.kernel[1]) if any(self._reads(kw))]
        extent = tirx.Sub(high, low) if isinstance(high, Expr) else high
        return loop("kh", extent, lambda kh: sequence(body(kh + low, kw) for kw in columns))

    def _window_rows(self) -> tuple[Index, Index]:
        """The first row of the window that lies inside the image, and the first after it that does not."""
        window = self.kernel.window
        height, size, step, apart = window.source[0], window.kernel[0], window.stride[0], window.dilation[0]
        if window.pointwise or not (window.pads[0] or window.pads[2]):
            return 0, size
        above = window.pads[0] - self.row * step
        low = tirx.max(i32(0), floordiv(above + (apart - 1), i32(apart)))
        high = tirx.min(i32(size), floordiv(above + (height - 1), i32(apart)) + 1)
        return low, high

    def _reads(self, kw: int) -> list[bool]:
        """For each column of the tile, whether it has a term at this column of the window."""
        first = self.columns.first
        if first is None:
            return [True] * self.columns.count
        return [self.nest.column_inside(first + t, kw) for t in range(self.columns.count)]

    # -- one step of the reduction

    def _channels(
        self, sums: list[list[Buffer]], block: Expr, width: Index, kh: Expr, kw: int, at: Expr
    ) -> Iterator[Stmt]:
        """Channels that lie side by side, one by one or by vectors; what fills a block up is loaded, and left alone."""
        columns = [t for t, inside in enumerate(self._reads(kw)) if inside]

        def step(first: Expr, lanes: int, used: int) -> Stmt:
            elements = {t: self._element(block, span(first, lanes), kh, kw, t) for t in columns}
            return sequence(self._products(sums, elements, lanes, used, at + first))

        if not self._by_vector or not isinstance(width, int):
            yield loop("channel", width, lambda c: step(c, 1, 1))
            return
        whole, rest = divmod(width, self.lanes)
        if whole:
            yield loop("channels", whole, lambda c: step(c * self.lanes, self.lanes, self.lanes))
        if rest and self.kernel.source == "blocked":
            yield step(i32(0), self.lanes, rest)
        elif rest:
            yield loop("channel", rest, lambda c: step(c + whole * self.lanes, 1, 1))

    def _products(
        self, sums: list[list[Buffer]], elements: dict[int, Expr], lanes: int, used: int, at: Expr
    ) -> Iterator[Stmt]:
        """Each column's input elements, one lane after the other, times every vector of weights."""
        held = {t: register(f"input_{t}", lanes) for t in elements}
        yield from allocated(held.values())
        yield from (store(held[t], element, span(0, lanes)) for t, element in elements.items())
        for lane in range(used):
            weights = [self._weights(q, at + lane) for q in range(self.channels.count)]
            for t, buffer in held.items():
                element = load(buffer, lane)
                for q, row in enumerate(sums):
                    yield self._add(row[t], weights[q] * broadcast(element, self._held(q)))

    def _slid(self, sums: list[list[Buffer]], kh: Expr, kw: int) -> Stmt:
        """Every column's input vector: times the weights of its lanes, added, or compared."""
        return sequence(
            self._combine(sums[q][t], self._vector(q, kh, kw, t), q, kh, kw)
            for t, inside in enumerate(self._reads(kw))
            if inside
            for q in range(self.channels.count)
        )

    def _combine(self, total: Buffer, value: Expr, q: int, kh: Expr, kw: int) -> Stmt:
        every = span(0, self.lanes)
        if self.kernel.kind == "max":
            return store(total, tirx.max(load(total, every), value), every)
        if self.kernel.kind == "depthwise":
            value = value * self._weights(q, kh * self.kernel.window.kernel[1] + kw)
        return self._add(total, value)

    def _add(self, total: Buffer, value: Expr) -> Stmt:
        every = span(0, width(total))
        return store(total, load(total, every) + value, every)

    # -- where things lie

    def _weights(self, q: int, at: Expr) -> Expr:
        weights, block = self.nest.fused.inputs[1], self.channels.start + q
        if self.kernel.packed:
            return load(weights, block, at, span(0, self.lanes))
        return load(weights, self.batch, at, span(block * self.lanes, self._held(q)))

    def _held(self, q: int) -> int:
        """Lanes of an output vector that are computed: what is packed is filled up."""
        return self.lanes if self.kernel.packed else self._stored(q)

    def _position(self, kh: Expr, kw: int, t: int) -> tuple[Expr, Expr]:
        """Row and column of the input."""
        window, column = self.kernel.window, self.columns.start + t
        if window.pointwise:
            return self._image(column)
        row = self.row * window.stride[0] + kh * window.dilation[0] - window.pads[0]
        return row, column * window.stride[1] + (kw * window.dilation[1] - window.pads[1])

    def _image(self, column: Expr) -> tuple[Expr, Expr]:
        """Row and column of the image for a column of the rectangle in which positions are walked."""
        width = self.kernel.window.target[1]
        if self.nest.tile.width == width:
            return self.row, column
        at = self.row * self.nest.tile.width + column
        return floordiv(at, i32(width)), floormod(at, i32(width))

    def _element(self, block: Expr, c: Expr, kh: Expr, kw: int, t: int) -> Expr:
        row, column = self._position(kh, kw, t)
        source = self.nest.fused.inputs[0]
        if self.kernel.source == "rows":
            return load(source, *self._leading(source, column), c)
        per_group = self.kernel.channels // self.kernel.block
        if self.kernel.groups > 1:
            block = block + floordiv(self.channels.start, i32(self.kernel.blocks // self.kernel.groups)) * per_group
        inner = (c,) if self.kernel.source == "blocked" else ()
        return load(source, self.batch, block, row, column, *inner)

    def _vector(self, q: int, kh: Expr, kw: int, t: int) -> Expr:
        row, column = self._position(kh, kw, t)
        return load(self.nest.fused.inputs[0], self.batch, self.channels.start + q, row, column, span(0, self.lanes))

    def _leading(self, buffer: Buffer, column: Expr) -> list[Expr]:
        """The indices of a row of a matrix, or of a stack of them."""
        if not self.kernel.packed:
            return [self.batch, column]
        indices: list[Expr] = []
        for size in reversed(buffer.shape[:-1]):
            indices.insert(0, floormod(column, i32(int(size))))
            column = floordiv(column, i32(int(size)))
        return indices

    # -- what follows the reduction

    def _stored(self, q: int) -> int:
        """Lanes of an output vector that count."""
        last = self.channels.partial and q == self.channels.count - 1
        return self.kernel.outputs % self.lanes if last else self.lanes

    def _finish(self, total: Buffer, q: int, t: int) -> Stmt:
        block, column = self.channels.start + q, self.columns.start + t
        i, j = self._image(column) if self.kernel.window.pointwise else (self.row, column)

        lanes, held = self._stored(q), list[Buffer]()

        def of(lane: Expr) -> Stmt:
            rows = self.kernel.source == "rows"
            row = self._leading(self.nest.fused.output, j) if rows else [self.batch, block, i, j]
            at = [*row, block * self.lanes + lane if rows else lane]
            parts, statement = self.nest.fused.store(self._mean(load(total, lane), t), at, lane, lanes)
            held.extend(parts)
            return statement

        stored = vector("lane", lanes, of)
        return sequence([*allocated(held), stored])

    def _mean(self, value: Expr, t: int) -> Expr:
        if self.kernel.kind != "mean":
            return value
        size = self.kernel.window.kernel
        if self.kernel.counts_pads:
            return value * tirx.const(1.0 / (size[0] * size[1]), "float32")
        low, high = self._window_rows()
        wide = sum(self._reads(kw)[t] for kw in range(size[1]))
        if not isinstance(high, Expr):
            return value * tirx.const(1.0 / (size[0] * wide), "float32")
        return value / ((high - low) * wide).astype("float32")
