"""What rules and passes see of a graph: frozen views of nodes and tensors, made by ``Model``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["RANDOM", "Array", "Axis", "Dim", "Node", "Shape", "Tensor"]

Array: TypeAlias = npt.NDArray[Any]
Dim: TypeAlias = int | str | None  # a size, a symbol, or nothing known
Shape: TypeAlias = tuple[Dim, ...]

RANDOM = frozenset(  # Dropout only in training; otherwise it is no more than an Identity
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


class Axis(NamedTuple):
    """One dimension of one tensor: ``Axis("conv1.weight", 0)``; its slots are 0 … size - 1."""

    tensor: str
    dim: int

    def __str__(self) -> str:
        return f"{self.tensor}[{self.dim}]"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph: ``shape`` is None where even the rank is unknown, ``load`` is set for constants.

    ``derived`` says that deterministic nodes compute it from constants alone, as they do a stored weight.
    """

    name: str
    shape: Shape | None
    dtype: np.dtype[Any] | None
    load: Callable[[], Array] | None = field(default=None, repr=False)
    derived: bool = False

    @property
    def fixed(self) -> bool:
        """Whether the value is the same for all inputs: a constant, or computed from constants alone."""
        return self.constant or self.derived

    @property
    def constant(self) -> bool:
        """Whether the value stands in the file (an initializer)."""
        return self.load is not None

    @property
    def rank(self) -> int | None:
        """The number of dimensions, None when unknown."""
        return None if self.shape is None else len(self.shape)

    def value(self) -> Array:
        """The value of a constant, read-only; raises ValueError for any other tensor."""
        if self.derived:
            raise ValueError(f"tensor '{self.name}' is computed from constants: run the pass 'fold' first")
        if self.load is None:
            raise ValueError(f"tensor '{self.name}' is computed at run time and has no value")
        return self.load()

    def size(self, dim: int) -> int | None:
        """The size of dimension ``dim``, None when it is not a fixed number; ValueError when there is no such one."""
        if self.shape is not None and not -len(self.shape) <= dim < len(self.shape):
            raise ValueError(f"'{self.name}' has no axis {dim}")
        size = self.shape[dim] if self.shape is not None else None
        return size if isinstance(size, int) else None

    def axes(self) -> tuple[Axis, ...]:
        """Every axis of the tensor; none when the rank is unknown."""
        return tuple(Axis(self.name, d) for d in range(self.rank or 0))

    def elements(self, dynamic: int = 1) -> int:
        """The number of elements, with ``dynamic`` standing for every size that is not fixed."""
        return math.prod(d if isinstance(d, int) else dynamic for d in self.shape or ())


@dataclass(frozen=True, eq=False)
class Node:
    """An operator of the graph. An omitted optional input or output is None.

    ``captures`` are the outer tensors that the node's subgraphs (If, Loop, Scan) read.
    """

    name: str
    op: str
    domain: str
    opset: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    attrs: Mapping[str, Any] = field(repr=False)
    captures: tuple[Tensor, ...] = ()

    @property
    def kind(self) -> str:
        """The operator's key in every rule table: ``Conv``, ``com.microsoft.FusedConv``."""
        return f"{self.domain}.{self.op}" if self.domain else self.op

    def input(self, index: int) -> Tensor | None:
        """Input ``index``, None when it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else None

    def x(self, index: int = 0) -> Tensor:
        """Input ``index``, which the operator requires; raises ValueError when it is missing."""
        tensor = self.input(index)
        if tensor is None:
            raise ValueError(f"{self.op} '{self.name}' lacks its input {index}")
        return tensor

    def y(self, index: int = 0) -> Tensor:
        """Output ``index``, which the operator requires; raises ValueError when it is missing."""
        tensor = self.outputs[index] if index < len(self.outputs) else None
        if tensor is None:
            raise ValueError(f"{self.op} '{self.name}' lacks its output {index}")
        return tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor the node reads or writes, captured ones included."""
        return tuple(t for t in (*self.inputs, *self.captures, *self.outputs) if t is not None)

    def setting(self, name: str, index: int) -> Array | None:
        """An option that is an attribute in old opsets and constant input ``index`` in new ones.

        None when it is absent; raises ValueError when it is computed at run time.
        """
        if name in self.attrs:
            return np.asarray(self.attrs[name])
        tensor = self.input(index)
        return None if tensor is None else tensor.value()
