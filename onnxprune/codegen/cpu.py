"""What the code generator knows of a processor: enough to predict which of two loop nests is faster."""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.backends.targets import Target

__all__ = ["Cpu"]


@dataclass(frozen=True)
class Cpu:
    """One core's vector unit and caches.

    ``latency`` is in cycles, of one fused multiply-add; ``fmas`` and ``loads`` are vector instructions a cycle; caches
    are in bytes.
    """

    lanes: int
    registers: int
    cores: int
    by_element: bool = False  # multiplies by one lane of a register, without a load that broadcasts it
    fmas: float = 2
    loads: float = 2
    latency: int = 4
    l1: int = 32 << 10
    l2: int = 512 << 10

    @classmethod
    def of(cls, target: Target) -> Cpu:
        """The processor of a target: AVX-512 and NEON have 32 vector registers, AVX2 and SSE have 16."""
        arm = target.arch in ("aarch64", "arm64")
        registers = 32 if arm or target.vector_bits >= 512 else 16
        return cls(target.vector_bits // 32, registers, target.cores, by_element=arm)
