"""The control of the graph fuzzer: a rule that is wrong is found, and shrunk to a few nodes."""

from __future__ import annotations

import onnx
import pytest
from generator import random_model

from fuzz import graphs
from fuzz.graphs import GraphError, Same, examine
from fuzz.shrink import as_text, shrunk
from onnxprune.axes import rules
from onnxprune.axes.facts import Facts, Pin, Tie, at
from onnxprune.node import Node


def shifted_concat(node: Node) -> Facts:
    """Every part is tied to the first slots of the whole: wrong for all parts but one."""
    axis = int(node.attrs["axis"]) % (node.y().rank or 1)
    for part in (t for t in node.inputs if t is not None):
        for dim in range(part.rank or 0):
            yield Tie(at(node.y(), dim), at(part, dim))
            if dim != axis:
                yield Pin(at(part, dim), "not looked at")


def found(seeds: range) -> tuple[int, onnx.ModelProto, GraphError]:
    """The first random graph that does not come through."""
    for seed in seeds:
        proto = random_model(seed)
        try:
            examine(proto, seed)
        except GraphError as failure:
            return seed, proto, failure
    pytest.fail("the wrong rule was not found")


def test_a_wrong_rule_is_found_and_shrunk_to_a_few_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    rules.known()
    monkeypatch.setitem(rules._rules, "Concat", shifted_concat)
    seed, proto, failure = found(range(1, 100, 2))
    assert failure.stage == "cut"
    smallest = shrunk(proto, Same(failure.signature, (seed, seed + 2)), seconds=60)
    kinds = [node.op_type for node in smallest.graph.node]
    assert "Concat" in kinds
    assert len(kinds) <= 5 < len(proto.graph.node)
    assert onnx.parser.parse_model(as_text(smallest)).graph.node[0].op_type in kinds


def test_a_report_has_the_graph_the_seed_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(proto: onnx.ModelProto, seed: int) -> str:
        with graphs.stage("load"):
            if "Conv" in {node.op_type for node in proto.graph.node}:
                raise ValueError("a Conv")
        return "whole"

    monkeypatch.setattr(graphs, "examine", refuse)
    seed = next(s for s in range(20) if "Conv" in {n.op_type for n in random_model(s, rare=True).graph.node})
    report = graphs.report(seed)
    assert f"python -m fuzz graphs {seed}" in report
    assert "load: ValueError: a Conv" in report
    assert report.partition("{")[2].count("=") == 1, "one node"
