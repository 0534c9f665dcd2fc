"""How many samples are run at once: fewer where activations are large, so that memory does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnxprune.model import Model
from onnxprune.node import Tensor
from onnxprune.shapes import concrete

__all__ = ["MOST", "ROOM", "portion", "room"]

MOST = 32  # samples at once
ROOM = 64 << 20  # bytes that the tensors of one node may take


def portion(model: Model, inputs: Mapping[str, tuple[int, ...]]) -> int:
    """As many samples as let what any one node reads and makes stay within ROOM, 1 … MOST.

    ``inputs`` are the shapes of the graph inputs for one sample.
    """
    shapes = concrete(model, inputs)
    nodes = [{t.name: t for t in node.tensors() if not t.fixed} for node in model.nodes]
    largest = max((sum(room(t, shapes) for t in tensors.values()) for tensors in nodes), default=0)
    return min(max(ROOM // max(largest, 1), 1), MOST)


def room(tensor: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The bytes of a tensor of these shapes."""
    return math.prod(shapes.get(tensor.name, ())) * (tensor.dtype.itemsize if tensor.dtype is not None else 0)
