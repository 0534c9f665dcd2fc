"""How a kernel is cut into register tiles: every candidate's time is predicted, the least wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.kernels import Kernel, Window

__all__ = ["Tile", "choose"]

SHORT = 25  # terms of a sum that is done before the next tile's has to wait
OVERHEAD = 24  # cycles to start and end a tile beside its stores
MOST = 8  # output vectors at one position
POINTERS = 3  # the same where general registers run out first: weights far apart need an address each
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
    found = sorted(_candidates(kernel, cpu))
    cycles, blocks, columns, rows, width = found[0]
    if cpu.cores == 1 or cycles < SERIAL:
        return Tile(blocks, columns, rows, width, rows, True)
    *_, tile = min(_shared(kernel, cpu, *candidate) for candidate in found)
    return tile


def _shared(
    kernel: Kernel, cpu: Cpu, cycles: float, blocks: int, columns: int, rows: int, width: int
) -> tuple[float, int, int, int, int, Tile]:
    """Predicted time, what decides between equals, and the tile with its work shared out among cores."""
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
        for blocks in range(1, min(kernel.blocks // kernel.groups, _most(kernel, cpu)) + 1):
            for columns in range(1, min(width, cpu.registers) + 1):
                if blocks == columns == 1 or _registers(kernel, cpu, blocks, columns) <= cpu.registers:
                    yield _cycles(kernel, cpu, blocks, columns, rows, width), blocks, columns, rows, width


def _rectangles(kernel: Kernel) -> list[tuple[int, int]]:
    height, width = kernel.window.target
    if not kernel.window.pointwise:
        return [(height, width)]
    area = height * width
    return [(area // w, w) for w in range(1, area + 1) if area % w == 0 and (w == area or w >= min(area, 12))]


def _most(kernel: Kernel, cpu: Cpu) -> int:
    return POINTERS if cpu.by_element and kernel.window.kernel[1] > 1 else MOST


def _registers(kernel: Kernel, cpu: Cpu, blocks: int, columns: int) -> int:
    """Vectors that live at once: sums, weights, inputs, and what multiplying needs."""
    wide, under = kernel.window.kernel[1], _under(kernel.window, columns)
    if kernel.kind != "product":
        inputs = columns * min(kernel.window.stride[1], wide)  # until the window has passed over them
        return blocks * (columns + inputs + 1) + 1 + cpu.temporaries
    inputs = under if _shares(kernel, cpu) else int(blocks > 1)
    ahead = max(1, wide - 2) if cpu.by_element and kernel.block > 1 else 1  # LLVM loads more weights for wider windows
    return blocks * (columns + ahead) + inputs + cpu.temporaries


def _shares(kernel: Kernel, cpu: Cpu) -> bool:
    """Whether LLVM keeps an input in its register while the window passes over it."""
    return cpu.by_element or kernel.block == 1


def _under(window: Window, columns: int) -> int:
    """Columns of the input that a row of the window sees, as it stands at ``columns`` neighbours."""
    apart = (columns - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1
    return min(columns * window.kernel[1], apart)


def _cycles(kernel: Kernel, cpu: Cpu, blocks: int, columns: int, rows: int, width: int) -> float:
    """Of all tiles: full ones, and those at the end of a row and of the channels."""
    per_group = kernel.blocks // kernel.groups
    total = 0.0
    for b, blocks_times in _pieces(per_group, blocks):
        for c, columns_times in _pieces(width, columns):
            total += blocks_times * columns_times * _tile(kernel, cpu, b, c)
    return (total * rows * kernel.groups + _passes(kernel, cpu, blocks)) * kernel.batch


def _passes(kernel: Kernel, cpu: Cpu, blocks: int) -> float:
    """Of reading the input anew for each bundle of output vectors."""
    if kernel.kind != "product":
        return 0
    return ceil(kernel.blocks / blocks) * prod(kernel.window.source) * kernel.channels / kernel.lanes * cpu.far


def _pieces(whole: int, part: int) -> Iterator[tuple[int, int]]:
    full, rest = divmod(whole, part)
    yield part, full
    if rest:
        yield rest, 1


def _tile(kernel: Kernel, cpu: Cpu, blocks: int, columns: int) -> float:
    """Of one tile: row by row of the window, as many channels a step as are loaded at once."""
    wide, under = kernel.window.kernel[1], _under(kernel.window, columns)
    products = blocks * columns * wide
    if kernel.kind != "product":  # blocks have nothing in common
        row = _row(cpu, products, blocks * (under + wide), wide if kernel.taps > SHORT else 0)
        return row * kernel.window.kernel[0] + blocks * (columns + OVERHEAD)
    step = kernel.lanes if cpu.by_element and kernel.block > 1 else 1
    loads = blocks * wide * step + (under if _shares(kernel, cpu) else columns * wide)
    row = _row(cpu, products * step, loads, wide * step)
    return row * kernel.window.kernel[0] * kernel.channels / step + blocks * columns + OVERHEAD


def _row(cpu: Cpu, products: int, loads: int, chain: int) -> float:
    """Of so many products and loads, where each sum has ``chain`` terms that wait for one another."""
    return max(products / cpu.fmas, loads / cpu.loads, chain * cpu.latency) + cpu.traffic * loads
