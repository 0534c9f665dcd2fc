"""How a kernel is cut into register tiles: every candidate's time is predicted, the least wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.kernels import Kernel

__all__ = ["Tile", "choose"]

OVERHEAD = 24  # cycles to start and end a tile beside its stores
TRAFFIC = 0.05  # cycles for a load that multiplications hide: caches are not always near
SERIAL = 60_000  # cycles of work that are not worth waking a thread for
UNITS = 4  # pieces of work for each core, at most
PIECE = 100  # cycles to start a piece


@dataclass(frozen=True)
class Tile:
    """``blocks`` output vectors at ``columns`` positions are held in registers at once.

    ``rows`` and ``width`` are the output positions as they are walked: the image's own, or another rectangle of the
    same area where positions do not depend on each other. A piece of work is ``chunk`` rows of one tile's channels;
    ``by_rows`` a thread gets neighbouring rows, else neighbouring channels, and ``serial`` work is for one thread.
    """

    blocks: int
    columns: int
    rows: int
    width: int
    chunk: int
    serial: bool
    by_rows: bool = False


def choose(kernel: Kernel, cpu: Cpu) -> Tile:
    """The tile of least predicted time."""
    *_, tile = min(_shared(kernel, cpu, *candidate) for candidate in _candidates(kernel, cpu))
    return tile


def _shared(
    kernel: Kernel, cpu: Cpu, cycles: float, blocks: int, columns: int, rows: int, width: int
) -> tuple[float, int, int, int, int, Tile]:
    """Predicted time, what decides between equals, and the tile with its work shared out among cores."""
    if cpu.cores == 1 or cycles < SERIAL:
        return cycles, blocks, columns, rows, 0, Tile(blocks, columns, rows, width, rows, True)
    bundles = ceil(kernel.blocks // kernel.groups / blocks) * kernel.groups * kernel.batch
    by_rows = kernel.channels * prod(kernel.window.source) > kernel.channels * kernel.taps * kernel.outputs
    time, chunk = min(
        (
            cycles * ceil(pieces * bundles / cpu.cores) / (pieces * bundles) + pieces * bundles * PIECE,
            ceil(rows / pieces),
        )
        for pieces in range(1, min(rows, cpu.cores * UNITS) + 1)
    )
    return time, blocks, columns, rows, chunk, Tile(blocks, columns, rows, width, chunk, False, by_rows)


def _candidates(kernel: Kernel, cpu: Cpu) -> Iterator[tuple[float, int, int, int, int]]:
    for rows, width in _rectangles(kernel):
        for blocks in range(1, min(kernel.blocks // kernel.groups, 8) + 1):
            for columns in range(1, min(width, cpu.registers) + 1):
                if blocks == columns == 1 or _registers(kernel, cpu, blocks, columns) <= cpu.registers:
                    yield _cycles(kernel, cpu, blocks, columns, rows, width), blocks, columns, rows, width


def _rectangles(kernel: Kernel) -> list[tuple[int, int]]:
    height, width = kernel.window.target
    if not kernel.window.pointwise:
        return [(height, width)]
    area = height * width
    return [(area // w, w) for w in range(1, area + 1) if area % w == 0 and (w == area or w >= min(area, 12))]


def _registers(kernel: Kernel, cpu: Cpu, blocks: int, columns: int) -> int:
    if kernel.kind != "product":
        return blocks * (2 * columns + 2) + 1
    inputs = columns if cpu.by_element else int(blocks > 1)
    if kernel.block == 1:  # the columns of the window follow in a straight line, and LLVM keeps what they share
        inputs = (columns - 1) * kernel.window.stride[1] + kernel.window.kernel[1]
    return blocks * columns + blocks + inputs


def _cycles(kernel: Kernel, cpu: Cpu, blocks: int, columns: int, rows: int, width: int) -> float:
    """Of all tiles: full ones, and those at the end of a row and of the channels."""
    per_group = kernel.blocks // kernel.groups
    total = 0.0
    for b, blocks_times in _pieces(per_group, blocks):
        for c, columns_times in _pieces(width, columns):
            total += blocks_times * columns_times * _tile(kernel, cpu, b, c)
    return total * rows * kernel.batch * kernel.groups


def _pieces(whole: int, part: int) -> Iterator[tuple[int, int]]:
    full, rest = divmod(whole, part)
    yield part, full
    if rest:
        yield rest, 1


def _tile(kernel: Kernel, cpu: Cpu, blocks: int, columns: int) -> float:
    products = blocks * columns
    loads = blocks + columns if kernel.kind == "product" else blocks * (columns + 1)
    step = max(products / cpu.fmas, loads / cpu.loads, cpu.latency) + TRAFFIC * loads
    terms = kernel.taps * (kernel.channels if kernel.kind == "product" else 1)
    return step * terms + products + OVERHEAD
