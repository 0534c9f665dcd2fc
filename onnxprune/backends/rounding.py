"""How near compiled code can be expected to come to the network.

Sums in another order round in another way: that is TOLERANCE. Where a network rounds to a grid (QuantizeLinear), what
lies midway between two numbers may go to either, and that much more is right. How much, inputs tell that are a little
off: what the network then makes is as right as what it made before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnxprune.backends.difference import TOLERANCE, difference
from onnxprune.node import Array
from onnxprune.runtime import Session
from onnxprune.subgraphs import all_nodes

__all__ = ["reference", "tolerance"]

NUDGE = 2.0**-18  # of an input, at most: more than sums lose, so that it meets every midway that they do
SEEDS = range(4)
SLACK = 2  # times what nudges make: of the largest of few errors


def reference(proto: onnx.ModelProto, threads: int = 0) -> Session:
    """What is right: as onnxruntime computes it, and where there are grids, operator by operator."""
    return Session(proto, optimise=not _rounds(proto), threads=threads)


def tolerance(proto: onnx.ModelProto, batches: Sequence[Mapping[str, Array]]) -> float:
    """The largest error that may be rounding, of the largest number in an output."""
    if not _rounds(proto):
        return TOLERANCE
    session = reference(proto)
    found = [_nudged(session, batches, seed) for seed in SEEDS]
    return max(TOLERANCE, SLACK * max(found))


def _nudged(session: Session, batches: Sequence[Mapping[str, Array]], seed: int) -> float:
    rng = np.random.default_rng(seed)

    def nudge(x: Array) -> Array:
        by = 1 + rng.uniform(-NUDGE, NUDGE, x.shape)
        return np.asarray(x * by, x.dtype) if x.dtype.kind == "f" else x

    def program(feeds: Sequence[Array]) -> list[Array]:
        return session(dict(zip(session.inputs, map(nudge, feeds), strict=True)))

    return difference(program, session, batches).relative


def _rounds(proto: onnx.ModelProto) -> bool:
    return any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in all_nodes(proto.graph))
