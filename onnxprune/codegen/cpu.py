"""What the code generator knows of a processor: enough to predict which of two loop nests is faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from onnxprune.backends.targets import Target

__all__ = ["Cpu"]


@dataclass(frozen=True)
class Cpu:
    """One core's vector unit.

    ``latency`` is in cycles, of one fused multiply-add; ``fmas`` and ``loads`` are vector instructions a cycle;
    ``traffic`` is cycles for a load that multiplications do not hide: caches are not always near; ``far`` those for a
    vector from beyond the first cache.
    """

    lanes: int
    registers: int
    cores: int
    by_element: bool = False  # multiplies by one lane of a register, without a load that broadcasts it
    temporaries: int = 0  # registers that a product passes through on its way to the sum
    fmas: float = 2
    loads: float = 2
    latency: int = 5  # of most cores 4, but a sum is not always taken up at once
    traffic: float = 0.05
    far: float = 0

    @classmethod
    def of(cls, target: Target) -> Cpu:
        """The processor of a target: AVX-512 and NEON have 32 vector registers, AVX2 and SSE have 16.

        Of NEON's two are left to LLVM, which takes the more of them the more it moves loads away from their use.
        """
        arm = target.arch in ("aarch64", "arm64")
        registers = 30 if arm else 32 if target.vector_bits >= 512 else 16
        apart = not arm and target.vector_bits < 256  # no instruction that multiplies and adds
        wide = cls(target.vector_bits // 32, registers, target.cores, by_element=arm, temporaries=int(apart))
        known = CORES.get(target.cpu or "")
        return known(wide) if known else wide


# Where a core differs from the widest of its kind, which multiplies and adds twice a cycle and loads twice beside that.
# The first is in order: nothing is issued beside a vector's load.
CORES: dict[str, Callable[[Cpu], Cpu]] = {
    "cortex-a53": lambda cpu: replace(cpu, fmas=1, loads=0.5, traffic=2, far=2),
    "cortex-a72": lambda cpu: replace(cpu, fmas=1, loads=1, traffic=0.1, far=0.5),
    "cortex-a76": lambda cpu: replace(cpu, far=0.5),
    "neoverse-n1": lambda cpu: replace(cpu, far=0.5),
    "x86-64": lambda cpu: replace(cpu, fmas=1),
}
