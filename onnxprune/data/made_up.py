"""Inputs for a model without data, and a seeded stream of them for a dry trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from onnxprune.data.arrays import shown
from onnxprune.data.pieces import Piece
from onnxprune.errors import UsageError
from onnxprune.node import Array, Tensor
from onnxprune.sizes import TWO_GB

__all__ = ["RANDOM", "made_up", "random_pieces"]

RANDOM = "random"  # in place of a file
SAMPLES = 64


def made_up(tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Normal numbers where the graph reads fractions, pixels where it reads bytes, ones elsewhere."""
    dtype = tensor.dtype if tensor.dtype is not None else np.dtype(np.float32)
    if dtype.kind == "O":
        return np.full(shape, "", dtype)
    if dtype == np.uint8:
        return rng.integers(0, 256, shape, dtype)
    return np.ones(shape, dtype) if dtype.kind in "iub" else np.asarray(rng.normal(size=shape)).astype(dtype)


def random_pieces(inputs: Sequence[Tensor], seed: int) -> Iterator[Piece]:
    """Feeds of 64 samples or a few more; sizes that are open count as 1."""
    rng = np.random.default_rng(seed)
    shapes = {t.name: tuple(d if isinstance(d, int) else 1 for d in t.shape or ()) for t in inputs}
    if large := [name for name, shape in shapes.items() if prod(shape) * 8 >= TWO_GB]:
        raise UsageError(f"random inputs for '{large[0]}' ({shown(shapes[large[0]])}) take too much memory; give data")
    batches = {shape[0] if shape else 1 for shape in shapes.values()}
    batch = batches.pop() if len(batches) == 1 else 1
    for number in range(-(-SAMPLES // (batch or 1))):
        yield Piece(f"feed {number}", {t.name: made_up(t, shapes[t.name], rng) for t in inputs})
