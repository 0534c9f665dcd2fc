"""What LLVM knows of processors: their names, their features, and whether this machine is such a one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from onnxprune.backends.targets import Target
from onnxprune.errors import BackendError

if TYPE_CHECKING:
    from tvm.target import Target as TvmTarget

__all__ = ["check_processor", "lacking", "tvm_target"]

# LLVM lists hints on speed among a processor's features: code runs without them.
TUNING = (
    *("allow-light-256", "enable-", "ermsb", "false-deps-", "fast-", "faster-", "fuse-", "idiv", "no-bypass-"),
    *("predictable-select", "prefer-", "sbb-dep", "slow-", "tuning-", "use-"),
)
NEAR = 5  # names in a message

# Loops stay as they are written: of one that is unrolled LLVM merges the loads, and then lacks registers for them.
LOOPS = ("-unroll-threshold-aggressive:uint=0", "-unroll-threshold-default:uint=0")

VERSIONED = re.compile(r"(arm|thumb)(eb)?v[4-9][a-z.\d]*|i[4-9]86")  # known under the name without a version


def tvm_target(target: Target) -> TvmTarget:
    """The target in TVM's words."""
    import tvm
    from tvm.target import codegen

    words = {"kind": "llvm", "mtriple": target.triple, "mcpu": target.cpu or codegen.llvm_get_system_cpu()}
    more = {"num-cores": target.cores, "mattr": list(target.features), "cl-opt": LOOPS}
    return tvm.target.Target({**words, **more})


def check_processor(target: Target) -> None:
    """Raise BackendError for an instruction set, a processor or a feature that LLVM does not know.

    LLVM itself takes any other processor for a generic one, leaves out other features, and crashes on another
    instruction set.
    """
    from tvm.target import codegen

    arches = codegen.llvm_get_targets()
    if target.arch not in arches and not VERSIONED.fullmatch(target.arch):
        raise _unknown(target, "instruction set", target.arch, arches)
    processors = codegen.llvm_get_cpu_archlist(_plain(target))
    if target.cpu is not None and target.cpu not in processors:
        raise _unknown(target, "processor", target.cpu, processors)
    wanted = [each for each in target.features if not each.startswith(("+", "-"))]
    if wanted:
        raise BackendError(f"target '{target.name}': feature '{wanted[0]}' is to be '+{wanted[0]}' or '-{wanted[0]}'")
    features = _features(target, processors)
    for each in target.features:
        if each[1:] not in features:
            raise _unknown(target, "feature", each[1:], features)


def lacking(target: Target) -> list[str]:
    """The features that code for the target may use and this machine, of the same instruction set, lacks."""
    from tvm.target import codegen

    here = Target(name="host", triple=target.triple)
    needs, has = (codegen.llvm_get_cpu_features(tvm_target(t)) for t in (target, here))
    return sorted(each for each in needs if each not in has and not each.startswith(TUNING))


def _unknown(target: Target, kind: str, name: str, known: Collection[str]) -> BackendError:
    near = difflib.get_close_matches(name, known, NEAR, cutoff=0.4)
    shown = f"near ones: {', '.join(near)}" if near else f"known: {', '.join(sorted(known))}"
    return BackendError(f"target '{target.name}': LLVM knows no {kind} '{name}'; {shown}")


def _plain(target: Target, cpu: str | None = None) -> TvmTarget:
    import tvm

    return tvm.target.Target({"kind": "llvm", "mtriple": target.triple} | ({} if cpu is None else {"mcpu": cpu}))


def _features(target: Target, processors: Iterable[str]) -> set[str]:
    """Every feature that some processor of the instruction set has."""
    from tvm.target import codegen

    return set().union(*(codegen.llvm_get_cpu_features(_plain(target, each)) for each in processors))
