"""From ONNX to Relax, operator by operator: ours where there is a rule, TVM's frontend for the rest.

Every value has its plain form. Values that our kernels make also lie in memory in blocks of channels, as many as a
vector has lanes; kernels read that form, so that no conversion stands between two of them. A plain form that nobody
reads is dead code, and goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from tvm import relax, te, topi
from tvm.ir import GenericConst, IRModule
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from onnxprune.codegen.computing import computed
from onnxprune.codegen.cpu import Cpu
from onnxprune.codegen.kernels import Kernel, blocked
from onnxprune.node import Array

__all__ = ["Importer", "Rule", "imported", "rule"]

Rule = Callable[["Importer", Sequence[Any], dict[str, Any]], Any]

RULES: dict[str, Rule] = {}
FUSABLE = 4  # Relax's pattern of an operator that element-wise ones may follow: kOutEWiseFusable
INJECTIVE = 2  # and of one that others may be fused with on both sides: kInjective


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register what ``operators`` of ONNX become: an expression, or None where the frontend may do it."""

    def add(found: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, found))
        return found

    return add


def imported(proto: onnx.ModelProto, cpu: Cpu) -> IRModule:
    """A model with fixed shapes as a Relax module with one function, ``main``."""
    import onnxprune.codegen.rules  # noqa: F401 - registers what an operator becomes

    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    return Importer(cpu).from_onnx(proto.graph, opset)


class Importer(ONNXGraphImporter):
    """TVM's importer, in which rules stand above the frontend's own conversions."""

    def __init__(self, cpu: Cpu) -> None:
        """Start with an empty graph."""
        super().__init__({}, "float32")
        self.cpu = cpu
        self._blocked: dict[Any, Any] = {}

    def _convert_operator(self, op_name: str, inputs: list[Any], attrs: dict[str, Any], opset: int) -> Any:
        found = RULES.get(op_name)
        attrs["tvm_custom"]["operator"] = op_name
        made = found(self, inputs, attrs) if found else None
        return super()._convert_operator(op_name, inputs, attrs, opset) if made is None else made

    # -- what rules ask

    @property
    def lanes(self) -> int:
        """Channels in a block."""
        return self.cpu.lanes

    @staticmethod
    def constant(value: Any) -> Array | None:
        """The numbers of a constant, None for what is computed."""
        return value.value.numpy() if isinstance(value, GenericConst) else None

    @staticmethod
    def const(array: Array | None) -> Any:
        """A constant."""
        return relax.const(np.ascontiguousarray(array, dtype=np.float32))

    @staticmethod
    def indices(array: Array) -> Any:
        """A constant of int32."""
        return relax.const(np.ascontiguousarray(array, dtype=np.int32))

    @staticmethod
    def shape(value: Any) -> tuple[int, ...]:
        """The sizes of a value."""
        return tuple(int(size) for size in value.ty.shape)

    def is_image(self, value: Any) -> bool:
        """Whether a value is a float32 tensor [n, c, h, w] of known sizes."""
        return self.is_float(value) and len(self.shape(value)) == 4

    @staticmethod
    def is_float(value: Any) -> bool:
        """Whether a value is a float32 tensor of known sizes, none of them 0."""
        ty: Any = getattr(value, "ty", None)
        known = isinstance(ty, relax.TensorType) and isinstance(ty.shape, relax.ShapeExpr)
        return known and ty.dtype == "float32" and all(getattr(size, "value", 0) for size in ty.shape)

    def has_blocks(self, value: Any) -> bool:
        """Whether a value lies in blocks already."""
        return value in self._blocked

    # -- what rules make

    def emit(self, function: Callable[..., Any], *args: Any, name: str, pattern: int | None = None) -> Any:
        """A kernel from tensor expressions, of which Relax finds out how it may be fused if it is not told."""
        attrs = {} if pattern is None else {"op_pattern": pattern}
        return self.bb.emit_te(function, *args, primfunc_name_hint=name, primfunc_attrs=attrs)

    def kernel(self, kernel: Kernel, *inputs: Any) -> Any:
        """A kernel on its inputs, as they lie in memory."""
        return self.emit(lambda *tensors: computed(kernel, *tensors), *inputs, name=kernel.kind, pattern=FUSABLE)

    def block(self, value: Any) -> Any:
        """A value [n, c, h, w] as [n, c/lanes, h, w, lanes]."""
        if value in self._blocked:
            return self._blocked[value]
        if (array := self.constant(value)) is not None:
            return relax.const(blocked(array, self.lanes))
        n, c, h, w = self.shape(value)
        lanes = self.lanes

        def at(x: te.Tensor) -> te.Tensor:
            def element(b: Any, o: Any, i: Any, j: Any, k: Any) -> Any:
                inside = x[b, o * lanes + k, i, j]
                return inside if c % lanes == 0 else te.if_then_else(o * lanes + k < c, inside, te.const(0.0, x.dtype))

            return te.compute((n, -(-c // lanes), h, w, lanes), element, name="block")

        self._blocked[value] = made = self.emit(at, value, name="block")
        return made

    def plain(self, value: Any, channels: int) -> Any:
        """The plain form of a value that was made in blocks; both are known from now on."""
        n, _, h, w, lanes = self.shape(value)

        def at(x: te.Tensor) -> te.Tensor:
            return te.compute((n, channels, h, w), lambda b, c, i, j: x[b, c // lanes, i, j, c % lanes], name="unblock")

        made = self.emit(at, value, name="unblock")
        self._blocked[made] = value
        return made

    def reshaped(self, value: Any, shape: Sequence[int]) -> Any:
        """The same elements in another shape."""
        if self.shape(value) == tuple(shape):
            return value
        assert prod(shape) == prod(self.shape(value))
        return self.bb.emit(relax.op.reshape(value, tuple(shape)))

    def add(self, value: Any, bias: Array | None) -> Any:
        """A value plus a constant that broadcasts."""
        if bias is None or not np.any(bias):
            return value
        return self.emit(topi.add, value, relax.const(bias), name="bias")
