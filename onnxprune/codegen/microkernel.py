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

from onnxprune.codegen.computing import LOWEST
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
from onnxprune.codegen.patch import Channels, Columns, Patch, width
from onnxprune.codegen.product import Product
from onnxprune.codegen.slid import Slid
from onnxprune.codegen.tiles import Tile, choose

__all__ = ["nest"]


def nest(func: PrimFunc, cpu: Cpu) -> PrimFunc:
    """A fused function whose head is a kernel, as loops; raises UnreadableError when it is something else."""
    fused = Fused.read(func)
    tile = choose(fused.kernel, cpu)
    return func.with_body(_Nest(fused, fused.kernel, tile, cpu).body())


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
                lambda b, n, last: self._rows(batch, chunk, Channels(group + b, n, last and partial)),
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

    def _rows(self, batch: Expr, chunk: Expr, channels: Channels) -> Stmt:
        tile = self.tile
        extent: Index = tile.chunk
        if tile.rows % tile.chunk:
            extent = tirx.min(i32(tile.chunk), tile.rows - chunk * tile.chunk)
        return loop("row", extent, lambda i: self._row(batch, chunk * tile.chunk + i, channels))

    # -- a row of the output: tiles whose window lies inside the image, and those at the edges

    def _row(self, batch: Expr, row: Expr, channels: Channels) -> Stmt:
        def of(columns: Columns) -> Stmt:
            return _accumulated(Patch(self.fused, self.tile, self.cpu, batch, row, columns, channels))

        return sequence(
            of(columns[0]) if len(columns) == 1 else self._inside(columns, of) for columns in self._regions()
        )

    def _inside(self, columns: list[Columns], of: Callable[[Columns], Stmt]) -> Stmt:
        head, step = columns[0], self.tile.columns
        return loop("tile", len(columns), lambda t: of(replace(head, start=head.start + t * step)))

    def _regions(self) -> Iterator[list[Columns]]:
        """Runs of like tiles: those inside together, each one at an edge alone."""
        run: list[Columns] = []
        for first in range(0, self.tile.width, self.tile.columns):
            count = min(self.tile.columns, self.tile.width - first)
            inside = self._reads_inside(first) and self._reads_inside(first + count - 1)
            columns = Columns(i32(first), count, None if inside else first)
            if run and not (inside and count == run[0].count and run[0].first is None):
                yield run
                run = []
            run.append(columns)
        yield run

    def _reads_inside(self, column: int) -> bool:
        """Whether the whole window, at an output column, reads inside the image."""
        window = self.kernel.window
        return window.pointwise or all(window.is_inside(column, tap) for tap in (0, window.kernel[1] - 1))


# -- one patch


def _accumulated(patch: Patch) -> Stmt:
    """Start, accumulate, store."""
    count = range(patch.columns.count)
    sums = [[register(f"sum_{q}_{t}", patch.held(q)) for t in count] for q in range(patch.channels.count)]
    flat = [each for row in sums for each in row]
    start = LOWEST if patch.kernel.kind == "max" else 0.0
    terms = Product(patch, sums) if patch.kernel.kind == "product" else Slid(patch, sums)
    return sequence(
        [
            *allocated(flat),
            *(store(each, broadcast(start, width(each)), span(0, width(each))) for each in flat),
            *terms.reduction(),
            *(_finished(patch, total, q, t) for q, row in enumerate(sums) for t, total in enumerate(row)),
        ]
    )


def _finished(patch: Patch, total: Buffer, q: int, t: int) -> Stmt:
    """What follows the reduction, for one vector of the output."""
    block, column = patch.channels.start + q, patch.columns.start + t
    i, j = patch.image(column) if patch.kernel.window.pointwise else (patch.row, column)
    rows = patch.kernel.source == "rows"
    at = patch.leading(patch.fused.output, j) if rows else [patch.batch, block, i, j]

    def of(lane: Expr) -> Stmt:
        last = block * patch.lanes + lane if rows else lane
        return patch.fused.stored(_mean(patch, load(total, lane), t), [*at, last])

    return vector("lane", patch.stored(q), of)


def _mean(patch: Patch, value: Expr, t: int) -> Expr:
    """A sum's share for each element under the window, where a mean is wanted."""
    if patch.kernel.kind != "mean":
        return value
    size = patch.kernel.window.kernel
    if patch.kernel.counts_pads:
        return value * tirx.const(1.0 / (size[0] * size[1]), "float32")
    low, high = patch.window_rows()
    wide = sum(patch.reads(kw)[t] for kw in range(size[1]))
    if not isinstance(high, Expr):
        return value * tirx.const(1.0 / (size[0] * wide), "float32")
    return value / ((high - low) * wide).astype("float32")
