"""Inner loops keep sums in registers and multiply whole vectors: read from the assembly of every target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.assembly import Loop, inner_loops
from benchmarks.instructions import LAYERS, network, row
from onnxprune.backends import load_target, target_names, tvm
from onnxprune.codegen import tiles

TARGETS = [name for name in target_names() if name != "host"]
FEW = ("rpi4", "x86-64-v3")  # the others take long

ARM = """
kernel:                                 // @kernel
        sub     sp, sp, #64
.LBB0_1:                                // a loop around another
        ldr     q8, [sp, #16]
        b.eq    .LBB0_3
.LBB0_2:
        ldr     q0, [x0], #16
        fmla    v1.4s, v0.4s, v2.s[0]
        fmla    v3.4s, v0.4s, v2.s[1]{more}
        b.lo    .LBB0_2
.LBB0_3:
        fmul    v5.4s, v5.4s, v6.4s
        b.ne    .LBB0_1
        ret
"""


def read(name: str, *titles: str) -> dict[str, list[Loop]]:
    target = load_target(name)
    return inner_loops(tvm.assembly(network(titles or [*LAYERS]), replace(target, cores=1)), target.vector_bits)


def test_innermost_loops_are_found_and_what_they_hold_is_counted() -> None:
    [loop] = inner_loops(ARM.format(more=""), 128, 2)["kernel"]
    assert (loop.products, len(loop.instructions), loop.spills, loop.narrow) == (2, 4, [], [])
    assert loop.share == 2 / 3
    assert loop.per_mac == 4 / 8
    more = "\n".join(("", "        str q1, [sp, #32]", "        fmla v1.2s, v2.2s, v3.2s", "        ldr q4, [sp]"))
    [loop] = inner_loops(ARM.format(more=more), 128, 2)["kernel"]
    assert (loop.spills, loop.stores) == (["str q1, [sp, #32]", "ldr q4, [sp]"], ["str q1, [sp, #32]"])
    assert loop.narrow == ["fmla v1.2s, v2.2s, v3.2s"]


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.fuzz) for name in TARGETS]
)
def test_sums_stay_in_registers_and_no_lane_is_unused(name: str) -> None:
    found = read(name)
    assert len(found) == len(LAYERS)
    for function, loops in found.items():
        busiest = max(loops, key=lambda loop: loop.products)
        assert busiest.spills == [], function
        assert [loop.stores + loop.narrow for loop in loops if loop.stores or loop.narrow] == [], function
        if busiest.fused:
            assert busiest.share >= 0.45, function


@pytest.mark.parametrize("name", ["rpi4", "x86-64-v3"])
def test_a_tile_that_registers_do_not_hold_is_seen_to_spill(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "3×3, 50 → 27 at 14"
    assert not any(loop.stores for loops in read(name, title).values() for loop in loops)
    monkeypatch.setattr(tiles, "_registers", lambda kernel, cpu, blocks, columns: blocks * columns - cpu.registers)
    assert any(loop.stores for loops in read(name, title).values() for loop in loops)


def test_narrow_vectors_are_seen() -> None:
    title = "3×3, 50 → 27 at 14"
    target = replace(load_target("x86-64-v3"), vector_bits=128, cores=1)
    listing = tvm.assembly(network([title]), target)
    assert all(loop.narrow for loops in inner_loops(listing, 256).values() for loop in loops)


def test_arm_multiplies_by_elements_with_few_other_instructions() -> None:
    figures = row(load_target("rpi4"), "3×3, 64 → 64 at 56")
    assert figures["ideal"] == 1 / 4
    assert 1 < figures["× ideal"] < 1.2
