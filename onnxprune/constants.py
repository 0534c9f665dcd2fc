"""What a graph computes from constants and fixed sizes alone, found without running the rest of it.

A tensor is followed as a pair of arrays: its value with every dynamic size set to one number, and to another. Where
both agree the value is known. Operators that only move elements carry half-known values on (``Shape`` → ``Gather``);
all others are evaluated only on inputs that are known throughout, but that no size equals a negative number.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import onnx

from onnxprune.counted import shape_of
from onnxprune.errors import ModelError
from onnxprune.model import Model
from onnxprune.node import RANDOM, Array, Node, Tensor
from onnxprune.proto import propagated, stripped
from onnxprune.runtime import Session
from onnxprune.sizes import SMALL, TWO_GB, nbytes, stored_bits
from onnxprune.spool import Weight, resting, stored

__all__ = ["constant_values", "constants_behind"]

Pair: TypeAlias = tuple[Array, Array]

MOVES = frozenset({"Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
UNKNOWN = (2**62, 2**62 + 1)  # a size on either side


def constant_values(model: Model) -> dict[str, Array]:
    """The value of every computed tensor that is the same for all inputs, in the order of the graph.

    Left out are results of random, stateful and contributed operators, of subgraphs, of decoders of stored weights,
    and what is larger than 1 KiB and than the constants it is computed from.
    """
    protos = {n.name: n for n in model.outline().graph.node}
    pairs: dict[str, Pair] = {}
    for node in model.nodes:
        if node.op == "Shape" and not node.domain:
            pairs.update(_shape(node))
        elif _pure(node) and all(t is None or t.constant or t.name in pairs for t in node.inputs):
            pairs.update(_evaluated(node, protos[node.name], pairs, model.opset))
    return {name: pair[0] for name, pair in pairs.items() if _known(pair)}


def _known(pair: Pair) -> bool:
    return pair[0] is pair[1] or np.array_equal(*pair)


def _pure(node: Node) -> bool:
    body = any(isinstance(value, onnx.GraphProto) for value in node.attrs.values())
    return bool(node.inputs) and not node.domain and not body and node.op not in RANDOM and not _decodes(node)


def _decodes(node: Node) -> bool:
    """Whether a weight that is stored small on purpose becomes floats, by a scale or from at most half as many bits."""
    if node.op != "Cast":
        return node.op == "DequantizeLinear"
    held, made = node.x(), node.y().dtype
    if not held.constant or held.dtype is None or made is None or held.dtype == np.bool_:
        return False
    return made.kind == "f" and stored_bits(held.dtype) <= min(16, stored_bits(made) // 2) and (held.rank or 0) > 0


def _shape(node: Node) -> dict[str, Pair]:
    shape = node.x().shape
    if shape is None:
        return {}
    part = slice(node.attrs.get("start", 0), node.attrs.get("end"))
    first, second = ([d if isinstance(d, int) else unknown for d in shape] for unknown in UNKNOWN)
    return {node.y().name: (np.array(first[part], np.int64), np.array(second[part], np.int64))}


def _evaluated(node: Node, proto: onnx.NodeProto, pairs: dict[str, Pair], opset: int) -> dict[str, Pair]:
    inputs = {t.name: pairs[t.name] if t.name in pairs else (t.value(),) * 2 for t in node.inputs if t is not None}
    half = {name for name, pair in inputs.items() if not _known(pair)}
    moved = {t.name for t in (node.inputs if node.op == "Concat" else node.inputs[:1]) if t is not None}
    limit = max(SMALL, sum(first.nbytes for first, _ in inputs.values()))
    if half and not (node.op in MOVES and half <= moved) and not _never_equal(node, inputs, half):
        return {}
    held = [[stored(name, pair[side]) for name, pair in inputs.items()] for side in range(1 + bool(half))]
    sides = [_alone(proto, weights, opset) for weights in held]
    if any(min(claims := _claims(each)) > limit or sum(claims) >= TWO_GB for each in sides):
        return {}
    try:
        runs = [Session(each, threads=1, optimise=False)({}) for each in sides]
    except (ModelError, ValueError, TypeError):  # onnxruntime lacks the operator for this type, or it is no tensor
        return {}
    results = zip((t for t in node.outputs if t is not None), *runs, strict=True)
    return {t.name: _pair(values) for t, *values in results if _is_faithful(values[0], t) and values[0].nbytes <= limit}


def _never_equal(node: Node, inputs: dict[str, Pair], half: set[str]) -> bool:
    """Whether sizes, of which some are unknown, are compared to what no size is."""
    others = [first for name, (first, _) in inputs.items() if name not in half]
    return node.op == "Equal" and len(others) == 1 and bool((others[0] < 0).all())


def _pair(values: list[Array]) -> Pair:
    held = [resting(value) for value in values]
    return held[0], held[-1]


def _is_faithful(value: Array, tensor: Tensor) -> bool:
    """Whether onnxruntime hands out the values themselves: of 8-bit floats it gives the bits, of sequences a list."""
    return isinstance(value, np.ndarray) and value.dtype == tensor.dtype


def _alone(proto: onnx.NodeProto, weights: list[Weight], opset: int) -> onnx.ModelProto:
    """A model of nothing but this node, to be run while the weights are held."""
    graph = onnx.GraphProto(name="constant", node=[proto], initializer=[weight.proto for weight in weights])
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in proto.output if name)
    return onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", opset)])


def _claims(model: onnx.ModelProto) -> list[float]:
    """The bytes that every output will have; infinite where shape inference cannot tell."""
    try:
        graph = propagated(stripped(model))
    except Exception:  # inference raises several unrelated types
        return [math.inf]
    return [_nbytes(value) for value in graph.output]


def _nbytes(value: onnx.ValueInfoProto) -> float:
    kind, shape = value.type.tensor_type.elem_type, shape_of(value)
    sizes = [size for size in shape or () if isinstance(size, int)]
    if not kind or shape is None or len(sizes) < len(shape):
        return math.inf
    return nbytes(onnx.TensorProto(dims=sizes, data_type=kind))


def constants_behind(model: Model) -> dict[str, frozenset[str]]:
    """The constants from which a tensor is computed, of every tensor that is computed from constants alone."""
    behind = {t.name: frozenset({t.name}) for t in model.constants}
    for node in model.nodes:
        read = [t.name for t in (*node.inputs, *node.captures) if t is not None]
        if read and all(name in behind for name in read):
            sources = frozenset[str]().union(*(behind[name] for name in read))
            behind.update((t.name, sources) for t in node.outputs if t is not None)
    return behind
