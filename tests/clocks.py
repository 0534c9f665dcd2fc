"""A clock for tests: the same time for the same graph on every machine, by whole blocks of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxprune.timing.clock import Run

__all__ = ["FakeClock"]


@dataclass(frozen=True)
class FakeClock:
    """A microsecond for every block times block of a kernel, ``other`` of them for each node beside layers.

    ``drag`` is what a network takes for every layer whose rows are no whole blocks, in microseconds: what no table
    of layers knows, for it is not taken by layers on their own.
    """

    block: int = 8
    other: float = 2.0
    drag: float = 0.0

    def fingerprint(self) -> str:
        """Its settings."""
        return repr(self)

    def milliseconds(self, runs: Sequence[Run], seconds: float = 1.0) -> list[float]:
        """Count blocks."""
        return [self._count(proto.graph) / 1000 for proto, _ in runs]

    def _count(self, graph: onnx.GraphProto) -> float:
        shapes = {t.name: tuple(t.dims) for t in graph.initializer}
        layers = [shapes[n.input[1]] for n in graph.node if len(n.input) > 1 and len(shapes.get(n.input[1], ())) > 1]
        whole = len(graph.node) > 2 or len(layers) > 1
        ragged = sum(shape[0] % self.block > 0 for shape in layers) if whole else 0
        return sum(map(self._blocks, layers)) + self.other * (len(graph.node) - len(layers)) + self.drag * ragged

    def _blocks(self, shape: tuple[int, ...]) -> float:
        return float(np.prod([-(-shape[0] // self.block), -(-shape[1] // self.block), *shape[2:]]))
