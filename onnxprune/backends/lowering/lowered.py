"""The driver: what is lacking is written as ONNX itself defines it, as far as it does, and the rest by the rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import onnx
from onnx.inliner import inline_selected_functions

from onnxprune.backends import Lack
from onnxprune.backends.lowering.grids import dequantize, quantize
from onnxprune.backends.lowering.overlooked import OVERLOOKED, FinalError, shape
from onnxprune.backends.lowering.recurrent import recurrent
from onnxprune.backends.lowering.resize import resize
from onnxprune.backends.lowering.site import Site, known
from onnxprune.backends.static import folded
from onnxprune.counted import shape_of
from onnxprune.errors import BackendError
from onnxprune.proto import spell_out
from onnxprune.subgraphs import all_nodes

__all__ = ["RULES", "Lowered", "Operator", "Rule", "lowered"]

Operator = tuple[str, str]  # domain, name
Rule = Callable[[Site], None]

SHAPES: Mapping[str, Rule] = {"Shape": shape, "Size": shape}
RULES: Mapping[str, Rule] = {
    **OVERLOOKED,
    **{"GRU": recurrent, "LSTM": recurrent, "RNN": recurrent, "Resize": resize},
    **{"QuantizeLinear": quantize, "DequantizeLinear": dequantize},
}
ROUNDS = 8  # definitions may be written in operators that have one
TYPES = frozenset(  # that the compiler's tensors have
    "bool bfloat16 float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
)


@dataclass(frozen=True)
class Lowered:
    """The model, and the nodes in it that the compiler cannot do."""

    model: onnx.ModelProto
    lacks: tuple[Lack, ...]


@dataclass(frozen=True)
class _Ruled:
    """What the rules make of the nodes of a graph, and why they do not cover some, by the nodes' first outputs."""

    sites: Mapping[str, Site]
    reasons: Mapping[str, str]
    final: bool  # one of them a definition does not help


def lowered(proto: onnx.ModelProto, table: Collection[Operator]) -> Lowered:
    """A model with fixed shapes, of operators in the ``table`` as far as rules and definitions go."""
    lacking: list[onnx.NodeProto] = []
    for _ in range(ROUNDS):
        with suppress(BackendError):  # of sizes that are known onnxruntime expects more than of others
            proto = _written(proto, _ruled(proto, SHAPES))
        ruled = _ruled(proto, RULES)
        lacking = [node for node in all_nodes(proto.graph) if _lacks(node, ruled, table)]
        if not lacking or ruled.final or (defined := _as_defined(proto, lacking)) is None:
            break
        proto = defined
    lacks = (Lack(n.op_type, n.name or _key(n), ruled.reasons.get(_key(n), "")) for n in lacking)
    return Lowered(proto if lacking else _written(proto, ruled), tuple(lacks))


def _key(node: onnx.NodeProto) -> str:
    return next(filter(None, node.output), node.name)


def _lacks(node: onnx.NodeProto, ruled: _Ruled, table: Collection[Operator]) -> bool:
    """Whether no rule writes it out, and it is not in the table, which knows of more than it can do."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return _key(node) not in ruled.sites and ((domain, node.op_type) not in table or _key(node) in ruled.reasons)


def _as_defined(proto: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> onnx.ModelProto | None:
    """The model with these operators as ONNX defines them; None where it does so of none of them."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    ends = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    del result.graph.value_info[:]  # some definitions depend on types, those of weights among them
    result.graph.value_info.extend(value for name, value in known(proto).types.items() if name not in ends)
    spell_out(result)
    for name in sorted({node.op_type for node in nodes if not node.domain}):
        with suppress(RuntimeError):  # where an omitted input has a type to be known
            result = inline_selected_functions(result, [("", name)], inline_schema_functions=True)
    same = [node.op_type for node in result.graph.node] == [node.op_type for node in proto.graph.node]
    try:
        return None if same else folded(result)
    except BackendError:  # what it is defined as onnxruntime cannot run
        return None


def _ruled(proto: onnx.ModelProto, rules: Mapping[str, Rule]) -> _Ruled:
    """Subgraphs are left out: what holds one is lacking anyway."""
    facts = known(proto)
    sites: dict[str, Site] = {}
    reasons: dict[str, str] = {}
    final = False
    for node in proto.graph.node:
        site = Site(node, facts)
        try:
            _check(site)
            if not node.domain and node.op_type in rules:
                rules[node.op_type](site)
        except ValueError as error:
            reasons[_key(node)] = str(error)
            final |= isinstance(error, FinalError)
        else:
            if site.nodes:
                sites[_key(node)] = site
    return _Ruled(sites, reasons, final)


def _check(site: Site) -> None:
    """Raise ValueError for tensors that the compiler has not got."""
    for name in (*site.node.input, *site.node.output):
        if (info := site.known.types.get(name)) is None:
            continue
        if (kind := site.dtype(name).name) not in TYPES:
            raise ValueError(f"'{name}' is of type {kind}")
        if 0 in (shape_of(info) or ()) and name not in site.known.constants:
            raise ValueError(f"'{name}' is empty")


def _written(proto: onnx.ModelProto, ruled: _Ruled) -> onnx.ModelProto:
    if not ruled.sites:
        return proto
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    for node in proto.graph.node:
        site = ruled.sites.get(_key(node))
        result.graph.node.extend(site.nodes if site else [node])
        result.graph.initializer.extend(site.constants if site else [])
    return folded(result)
