"""Small models compiled in memory, without a linker, for registers of any width that this machine has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnxruntime as ort
from oracle import net_proto
from tvm import relax, tirx
from tvm.ir import IRModule
from tvm.runtime import cpu, tensor
from tvm.s_tir import SBlockRealize

from onnxprune.backends import load_target
from onnxprune.backends.processors import tvm_target
from onnxprune.backends.static import fix_shapes
from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.importer import imported
from onnxprune.codegen.pipeline import compiled, lowered

HOST = load_target("host")
BITS = [bits for bits in (128, 256, 512) if bits <= HOST.vector_bits]


@dataclass(frozen=True)
class Small:
    """A model from ONNX text, its weights drawn from a fixed seed, and the width of the registers in bits."""

    text: str
    opset: int = 17
    bits: int = HOST.vector_bits

    @property
    def proto(self) -> onnx.ModelProto:
        return net_proto(self.text, self.opset)

    @property
    def cpu(self) -> Cpu:
        return Cpu.of(replace(HOST, vector_bits=self.bits))

    def feeds(self, scale: float = 1.0) -> dict[str, np.ndarray]:
        """Normal numbers, and for integers 0, 1, 2, 0, …."""
        rng = np.random.default_rng(0)
        found = {}
        for value in self.proto.graph.input:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            floats = value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            drawn = rng.standard_normal(shape) * scale if floats else np.arange(np.prod(shape)).reshape(shape) % 3
            found[value.name] = np.asarray(drawn, np.float32 if floats else np.int64)
        return found

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """What the compiled model computes."""
        executable = compiled(self._imported(), tvm_target(HOST), self.cpu)
        result = relax.VirtualMachine(executable, cpu())["main"](*map(tensor, feeds.values()))
        return [each.numpy() for each in ([result] if hasattr(result, "numpy") else result)]

    def expected(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """What onnxruntime computes."""
        session = ort.InferenceSession(self.proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, dict(feeds))

    def functions(self) -> dict[str, tirx.PrimFunc]:
        """Its loops, by name."""
        with tvm_target(HOST):
            module = lowered(self._imported(), self.cpu)
        return {name.name_hint: func for name, func in module.functions_items() if isinstance(func, tirx.PrimFunc)}

    def _imported(self) -> IRModule:
        return imported(fix_shapes(self.proto, {}), self.cpu)


def assert_equal(small: Small, rtol: float = 1e-5, scale: float = 1.0) -> None:
    """The compiled model computes what onnxruntime does."""
    feeds = small.feeds(scale)
    for got, want in zip(small.run(feeds), small.expected(feeds), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-6 * max(1.0, np.abs(want).max(initial=0)))


def assert_loops_of_ours(small: Small) -> None:
    """No function is left to TVM's own schedules."""
    left = [name for name, func in small.functions().items() if isinstance(func.body, SBlockRealize)]
    assert not left, f"{left} are not in loops of ours"
