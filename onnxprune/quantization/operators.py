"""What onnxruntime's integer kernels ask of each operator, as a table: adding an operator is adding a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["OPERATORS", "WITHOUT_KERNEL", "Fact"]

Kind: TypeAlias = Literal["layer", "sum", "move", "clip"]


@dataclass(frozen=True)
class Fact:
    """How an operator runs on integers.

    A *layer* multiplies and accumulates: it is what quantization is for. A *sum* computes from integers on the way
    between layers, a *move* only carries them from place to place, so that what it makes lies on the grid of what it
    reads; the inputs ``tied`` are all on that grid. A *clip* is no step of its own behind a layer or a sum.
    Where the kernel can leave its output in ``floats``, it does unless integers are needed next.
    ``range`` is what the output covers whatever is read.
    """

    kind: Kind
    tied: bool = False
    floats: bool = False
    range: tuple[float, float] | None = None


MOVE = Fact("move")

OPERATORS: Mapping[str, Fact] = {
    "Conv": Fact("layer"),
    "Gemm": Fact("layer", floats=True),
    "MatMul": Fact("layer", floats=True),
    **dict.fromkeys(("Add", "Mul", "AveragePool", "GlobalAveragePool", "LeakyRelu"), Fact("sum")),
    "Sigmoid": Fact("sum", range=(0.0, 1.0)),
    "Concat": Fact("move", tied=True),
    **dict.fromkeys(("MaxPool", "Resize", "Slice", "Gather", "Split", "Pad", "DepthToSpace", "SpaceToDepth"), MOVE),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Expand", "Tile"), MOVE),
    **dict.fromkeys(("Relu", "Clip"), Fact("clip")),
}

RECURRENT = ("GRU", "LSTM", "RNN")
HOLDING = ("If", "Loop", "Scan")

WITHOUT_KERNEL: Mapping[str, str] = {  # of what multiplies, and why it is left alone
    **{op: f"onnxruntime has no integer kernel for {op}" for op in ("ConvTranspose", "Einsum", "DeformConv")},
    **{op: f"onnxruntime has no integer kernel for {op} with fixed grids" for op in (*RECURRENT, "Attention")},
    **{op: f"what is inside a {op} is not quantized" for op in HOLDING},
}
