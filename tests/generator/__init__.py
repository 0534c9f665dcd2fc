"""Random small networks in which channels depend on each other in every way that ONNX has.

``random_model(seed)`` is a valid model, always the same for a seed; ``random_feeds`` are inputs for it. Each ingredient
is one function in ``conv``, ``elementwise``, ``layout``, ``dense`` or ``barrier`` that a decorator puts into a table.
"""

from __future__ import annotations

import numpy as np
import onnx

# The import of these registers what they hold
from . import barrier, bodies, indices, mixing, networks, ranks, shapes, storage
from .builder import CHANNELS, Builder, Value
from .conv import conv, window
from .disguise import disguised
from .table import activations, blocks, denses, vectors

__all__ = ["INGREDIENTS", "random_feeds", "random_model"]

INGREDIENTS = (barrier, bodies, indices, mixing, networks, ranks, shapes, storage)


def random_model(seed: int, rare: bool = False) -> onnx.ModelProto:
    """A valid network of the kind that the module describes; those with ``rare`` forms are for the fuzzer."""
    b = Builder(seed, rare)
    stem(b)
    enough = b.choose(range(2, 9) if rare else range(4, 13))
    while b.size < enough:
        b.live.append(blocks.make(b, b.pick()))
    outputs = heads(b)
    inner = [v for v in b.live if v not in (*b.inputs(), *outputs)]
    if len(outputs) == 1 and inner and b.chance(0.2):
        outputs.append(b.choose(inner))
    return disguised(b.model(outputs), b) if rare else b.model(outputs)


def random_feeds(model: onnx.ModelProto, seed: int, batch: int = 2) -> dict[str, np.ndarray]:
    """Normal inputs for the model; ``batch`` is the size of its dynamic dimensions."""
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: rng.normal(size=[d.dim_value or batch for d in value.type.tensor_type.shape.dim]).astype(np.float32)
        for value in model.graph.input
        if value.name not in constants
    }


def stem(b: Builder) -> None:
    """One image or two of one size, higher than wide or wider than high, mostly convolved at once."""
    height, width = b.permutation(6)[:2]
    for _ in range(b.choose((1, 1, 1, 1, 2))):
        x = b.input(b.batch, b.choose((3, 4, 5, 6)), height + 4, width + 4)
        y = conv(b, x, b.choose(CHANNELS), **window(b, x)) if b.chance(0.8) else blocks.make(b, x)
        b.live.append(y)


def heads(b: Builder) -> list[Value]:
    """Outputs that between them read all loose ends."""
    loose = b.loose()
    if len(loose) == 2 and b.chance(0.5):
        return [head(b, [x]) for x in loose]
    return [head(b, loose)]


def head(b: Builder, loose: list[Value]) -> Value:
    """An image where all ends have one size, or a vector."""
    if len({x.spatial for x in loose}) == 1 and b.chance(0.35):
        y = b.op("Concat", *loose, axis=1) if len(loose) > 1 else loose[0]
        return y if b.chance(0.15) else conv(b, y, b.choose(CHANNELS))
    rows = [vectors.make(b, x) for x in loose]
    y = b.op("Concat", *rows, axis=b.axis(1, 2)) if len(rows) > 1 else rows[0]
    for _ in range(b.choose((0, 0, 1, 2))):
        y = activations.make(b, denses.make(b, y))
    y = denses.make(b, y)
    return b.op("Softmax", y, axis=b.axis(1, 2)) if b.chance(0.2) else y
