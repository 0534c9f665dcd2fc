"""The tile of least predicted time fits the registers, leaves nothing out, and gives every core its share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxprune.backends import load_target
from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.kernels import Kernel, Window
from onnxprune.codegen.tiles import choose

TARGETS = ("x86-64", "x86-64-v3", "x86-64-v4", "rpi3", "rpi4", "rpi5", "graviton")


def convolution(cpu: Cpu, c: int, size: int, o: int, k: int = 3) -> Kernel:
    return Kernel("product", Window((size, size), (k, k), pads=(k // 2,) * 4), c, o, cpu.lanes)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("c", "size", "o"), [(3, 224, 64), (13, 7, 27), (64, 56, 64), (50, 14, 50), (512, 7, 512)])
def test_sums_and_weights_fit_the_registers(name: str, c: int, size: int, o: int) -> None:
    cpu = Cpu.of(load_target(name))
    tile = choose(convolution(cpu, c, size, o), cpu)
    assert tile.blocks * tile.columns + min(tile.blocks, tile.columns) <= cpu.registers
    assert tile.blocks * tile.columns >= cpu.registers // 4  # and use them


@pytest.mark.parametrize("k", [1, 3])
def test_positions_are_walked_once(k: int) -> None:
    cpu = Cpu.of(load_target("x86-64-v4"))
    for size in (1, 5, 7, 13, 28, 56):
        tile = choose(convolution(cpu, 32, size, 32, k), cpu)
        assert tile.rows * tile.width == size * size
        assert (tile.rows, tile.width) == (size, size) or k == 1
        assert tile.chunk <= tile.rows


def test_large_work_is_shared_out_and_small_work_is_not() -> None:
    cpu = replace(Cpu.of(load_target("x86-64-v4")), cores=4)
    large, small = (choose(convolution(cpu, 64, size, 64), cpu) for size in (56, 4))
    assert not large.serial
    assert -(-large.rows // large.chunk) * -(-4 // large.blocks) >= 4
    assert small.serial
    assert choose(convolution(cpu, 64, 56, 64), replace(cpu, cores=1)).serial


def test_cores_get_rows_of_large_images_and_channels_of_large_weights() -> None:
    cpu = replace(Cpu.of(load_target("x86-64-v4")), cores=2)
    assert choose(convolution(cpu, 64, 112, 64), cpu).by_rows
    assert not choose(convolution(cpu, 512, 7, 512), cpu).by_rows
