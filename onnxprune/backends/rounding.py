"""How near compiled code can be expected to come to the network.

Sums in another order round in another way: that is TOLERANCE. Where a network rounds to a grid (QuantizeLinear), what
lies midway between two numbers may go to either, and that much more is right. How much, is seen where all that goes to
a grid is a little off: what the network then makes is as right as what it made before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import onnx
from onnx import helper

from onnxprune.backends.difference import TOLERANCE, difference
from onnxprune.errors import BackendError
from onnxprune.node import Array
from onnxprune.runtime import Session
from onnxprune.subgraphs import all_nodes

__all__ = ["reference", "tolerance"]

NUDGE = 2.0**-18  # of what is rounded: more than sums lose, so that it meets every midway that they do
SEEDS = range(4)
SLACK = 2  # times what nudges make: of the largest of few errors
MOST = 0.5  # whatever nudges make: beyond it nothing is right
ROUNDING = ("QuantizeLinear", "DynamicQuantizeLinear")


def reference(proto: onnx.ModelProto, threads: int = 0) -> Session:
    """What is right: as onnxruntime computes it, and where there are grids, operator by operator."""
    return Session(proto, optimise=not _rounds(proto), threads=threads)


def tolerance(proto: onnx.ModelProto, batches: Sequence[Mapping[str, Array]]) -> float:
    """The largest error that may be rounding, of the largest number in an output."""
    if not batches or not _rounds(proto):
        return TOLERANCE
    session = reference(proto, threads=1)
    spreads = [_spread(session, Session(_nudged(proto, seed), threads=1, optimise=False), batches) for seed in SEEDS]
    return min(max(TOLERANCE, SLACK * max(spreads)), MOST)


def _spread(session: Session, other: Session, batches: Sequence[Mapping[str, Array]]) -> float:
    """The largest difference; 0 where the outputs have other shapes, and nothing can be said."""

    def program(feeds: Sequence[Array]) -> list[Array]:
        return other(dict(zip(session.inputs, feeds, strict=True)))

    with suppress(BackendError):
        return difference(program, session, batches).relative
    return 0.0


def _nudged(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The model with all that goes to a grid a little larger or smaller, each tensor by a share of its own."""
    result, rng = onnx.ModelProto(), np.random.default_rng(seed)
    result.CopyFrom(proto)
    del result.graph.node[:]
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    for number, node in enumerate(proto.graph.node):
        if node.op_type in ROUNDING:
            share, name = f"onnxprune_share_{number}", f"onnxprune_nudged_{number}"
            kind = kinds.get(node.input[1], onnx.TensorProto.FLOAT) if len(node.input) > 1 else onnx.TensorProto.FLOAT
            by = 1 + rng.choice([-1, 1]) * rng.uniform(NUDGE / 2, NUDGE)
            result.graph.initializer.append(helper.make_tensor(share, kind, [], [by]))
            result.graph.node.append(helper.make_node("Mul", [node.input[0], share], [name], name))
            node = _reading(node, name)
        result.graph.node.append(node)
    return result


def _reading(node: onnx.NodeProto, name: str) -> onnx.NodeProto:
    result = onnx.NodeProto()
    result.CopyFrom(node)
    result.input[0] = name
    return result


def _rounds(proto: onnx.ModelProto) -> bool:
    return any(node.op_type in ROUNDING for node in all_nodes(proto.graph))
