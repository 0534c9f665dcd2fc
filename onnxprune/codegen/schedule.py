"""Schedules for functions without a kernel of their own: maps, reductions of rows, copies."""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import s_tir, tirx
from tvm.s_tir import SBlockRealize
from tvm.tirx import IterVar

from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.expressions import UnreadableError
from onnxprune.codegen.rows import SERIAL, in_rows

__all__ = ["scheduled"]

ROOT = "root"


def scheduled(func: tirx.PrimFunc, cpu: Cpu) -> tirx.PrimFunc:
    """The function with its maps inlined, vectorised and shared out to threads."""
    try:
        return in_rows(func, cpu)
    except UnreadableError:
        pass
    if not isinstance(func.body, SBlockRealize) or func.body.block.name_hint != ROOT:  # loops already, as of a scan
        return func
    schedule = s_tir.Schedule(func.with_attr("global_symbol", "main"))
    blocks = schedule.get_child_blocks(schedule.get_sblock(ROOT))
    if any(_is_opaque(schedule.get(block)) for block in blocks):
        return func
    for block in blocks:
        if _is_map(schedule, block):
            _map(schedule, block, cpu)
    return schedule.mod["main"].without_attr("global_symbol")


def _is_opaque(block: Any) -> bool:
    """Whether a block holds loops of its own, whose reads are not known."""
    return not block.iter_vars and not isinstance(block.body, tirx.BufferStore)


def _is_map(schedule: Any, block: Any) -> bool:
    return all(axis.iter_type == IterVar.DataPar for axis in schedule.get(block).iter_vars)


def _map(schedule: Any, block: Any, cpu: Cpu) -> None:
    try:
        schedule.compute_inline(block)
        return
    except s_tir.schedule.ScheduleError:
        pass
    loops = schedule.get_loops(block)
    extents = [schedule.get(each).extent for each in loops]
    if not loops or not all(isinstance(each, tirx.IntImm) and int(each) for each in extents):
        return  # it depends on data, or is empty
    extent = prod(map(int, extents))
    fused = schedule.fuse(*loops) if len(loops) > 1 else loops[0]
    lanes = next((lanes for lanes in (cpu.lanes, 8, 4) if lanes <= cpu.lanes and extent % lanes == 0), 1)
    outer, inner = schedule.split(fused, [None, lanes])
    if lanes > 1:
        schedule.vectorize(inner)
    if extent > SERIAL and cpu.cores > 1:
        schedule.parallel(outer)
