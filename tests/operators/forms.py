"""A node case in the form that a rule sees: settings and weights are constants, data comes from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from corpora.cases import Case
from onnx import numpy_helper

from onnxprune.axes.facts import Fact, axes
from onnxprune.axes.groups import Group, settle
from onnxprune.axes.rules import _rules, facts_of
from onnxprune.errors import ModelError
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node, Tensor
from onnxprune.normal import OPSETS

Rule = Callable[[Node], Iterable[Fact]]


@dataclass(frozen=True, eq=False)
class Form:
    """One node, its inputs by name, and what its facts come to; ``settings`` are inputs that are no data."""

    name: str
    proto: onnx.ModelProto
    inputs: Mapping[str, Array]
    settings: frozenset[str]
    groups: tuple[Group, ...]


def kind(proto: onnx.ModelProto) -> str:
    """The operator of a case, as rules name it."""
    node = proto.graph.node[0]
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def alone(case: Case) -> bool:
    """Whether the case is one node that reads tensors."""
    arrays = all(isinstance(v, np.ndarray) for v in case.inputs.values())
    return arrays and len(case.model.graph.node) == 1 and bool(case.inputs)


def forms(case: Case, rule: Rule = facts_of) -> list[Form]:
    """The forms of which ``rule`` states different things, and something that can be cut."""
    if (proto := _readable(case.model)) is None:
        return []
    settings = frozenset(_asked(_built(proto, case.inputs, frozenset()).nodes[0], case.inputs))
    found: dict[str, Form] = {}
    for weights in _choices(list(case.inputs)):
        groups = _groups(_built(proto, case.inputs, settings | weights).nodes[0], rule)
        if any(len(_open(group)) for group in groups):
            told = str([(sorted((a, s.tolist()) for a, s in g.atoms.items()), sorted(g.pinned)) for g in groups])
            found.setdefault(told, Form(case.name, proto, case.inputs, settings, groups))
    return list(found.values())


def _open(group: Group) -> Array:
    """The atoms of a group that can be cut, approximately at least."""
    return np.setdiff1d(np.arange(group.size), np.array([*group.pinned], int))


def _choices(names: list[str]) -> Iterator[frozenset[str]]:
    yield frozenset()
    yield frozenset(names[1:])
    yield frozenset(names[:1])


def _readable(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """The case in an opset that we read; None where its operator, or what it is told, is of another."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    for entry in result.opset_import:
        if entry.domain == "":
            entry.version = min(max(entry.version, OPSETS[0]), OPSETS[-1])
    try:
        Model.load(result)
    except ModelError:
        return None
    return result


def _built(proto: onnx.ModelProto, inputs: Mapping[str, Array], constants: frozenset[str]) -> Model:
    return Model.load(_filled(proto, {name: inputs[name] for name in constants}))


def _filled(proto: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    data = [value for value in proto.graph.input if value.name not in values]
    del result.graph.input[:]
    result.graph.input.extend(data)
    result.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in values.items())
    return result


def stored(found: Form) -> Model:
    """The node with all inputs as constants, and outputs of whatever shape comes out: it can be cut as it is."""
    proto = _filled(found.proto, found.inputs)
    declared = list(found.proto.graph.output)
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    known = Model.load(proto)
    for value, old in zip(proto.graph.output, declared, strict=True):
        if known.tensor(value.name).shape is None:  # onnx cannot infer it, and will not mind what it is after a cut
            value.CopyFrom(old)
    return Model.load(proto)


@dataclass(frozen=True, eq=False)
class _Probe(Tensor):
    """A tensor that is not constant, and yet gives its value to a rule that asks, which is noted down."""

    held: Array = field(default_factory=lambda: np.zeros(0))
    asked: set[str] = field(default_factory=set)

    def value(self) -> Array:
        self.asked.add(self.name)
        return self.held


def _asked(node: Node, inputs: Mapping[str, Array]) -> set[str]:
    """The inputs whose values the rule reads: its settings."""
    asked: set[str] = set()
    probes = tuple(t and _Probe(t.name, t.shape, t.dtype, held=inputs[t.name], asked=asked) for t in node.inputs)
    with suppress(ValueError):  # a rule that refuses has read what it needs for that
        list(_rules[node.kind](replace(node, inputs=probes)))
    return asked


def _groups(node: Node, rule: Rule) -> tuple[Group, ...]:
    facts = list(rule(node))
    tensors = {t.name: t for t in node.tensors()}
    sizes: dict[Axis, int | None] = {a: tensors[a.tensor].size(a.dim) for fact in facts for a in axes(fact)}
    return tuple(settle(facts, sizes))
