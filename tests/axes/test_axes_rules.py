"""The two tables of rules: what they know, and that they leave alone what they do not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from cuts import why
from onnx import helper
from oracle import feeds, net, run

from onnxprune.axes import rules
from onnxprune.axes.facts import Either, Facts, Pin, Tie, at, axes
from onnxprune.axes.left import Left
from onnxprune.axes.rules import facts_of, known, refit, refitted, rule
from onnxprune.errors import PassError, UsageError
from onnxprune.model import Model
from onnxprune.node import Axis, Node, Tensor

CHAIN = """(float[1,3,8,8] x) => (float[1,2,H,W] y) <float[4,3,1,1] w, float[2,4,1,1] v>
    {{ a = Conv(x, w)  b = {}  y = Conv(b, v) }}"""


def nothing(node: Node) -> Facts:
    """A rule that says nothing."""
    yield from ()


def swap(model: Model, node: Node, left: Left) -> None:
    """A refit that does nothing."""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that a test may add to."""
    known()  # loads the rules, once and for all
    monkeypatch.setattr(rules, "_rules", dict(rules._rules))
    monkeypatch.setattr(rules, "_refits", dict(rules._refits))


def test_an_axis_is_counted_from_either_end() -> None:
    tensor = Tensor("t", (2, 3, 4), None)
    assert (at(tensor, 1), at(tensor, -1)) == (Axis("t", 1), Axis("t", 2))


@pytest.mark.parametrize(("shape", "dim"), [((2, 3), 2), ((2, 3), -3), ((), 0), (None, 0)])
def test_an_axis_that_a_tensor_has_not_is_refused(shape: tuple[int, ...] | None, dim: int) -> None:
    with pytest.raises(ValueError, match=f"'t' has no axis {dim}"):
        at(Tensor("t", shape, None), dim)


def test_a_fact_names_its_axes() -> None:
    a, b, c = (Axis(n, 0) for n in "abc")
    assert axes(Pin(a, "")) == [a]
    assert axes(Tie(a, b)) == [a, b]
    assert axes(Either(((Tie(a, b), (c,)),), "")) == [a, b, c]


def test_a_tie_maps_slots_by_shift_repeat_and_modulo() -> None:
    a, b = Axis("a", 0), Axis("b", 0)
    assert Tie(a, b).slots(3).tolist() == [0, 1, 2]
    assert Tie(a, b, shift=4).slots(3).tolist() == [4, 5, 6]
    assert Tie(a, b, repeat=2).slots(6).tolist() == [0, 0, 1, 1, 2, 2]
    assert Tie(a, b, modulo=2).slots(5).tolist() == [0, 1, 0, 1, 0]
    assert Tie(a, b, shift=1, repeat=2, modulo=2).slots(8).tolist() == [1, 1, 2, 2, 1, 1, 2, 2]


def test_what_is_refitted_has_a_rule() -> None:
    assert set(rules._refits) <= known()
    assert {"Conv", "Reshape", "Split", "Squeeze"} <= set(rules._refits)


def test_an_operator_has_one_rule(tables: None) -> None:
    def other(node: Node) -> Facts:
        yield from ()

    rule("my.Thing")(nothing)
    with pytest.raises(UsageError, match=r"two rules for my\.Thing, in 'test_axes_rules' and 'test_axes_rules'"):
        rule("my.Other", "my.Thing")(other)
    assert "my.Other" not in known()
    refit("my.Thing")(lambda model, node, left: None)
    with pytest.raises(UsageError, match=r"two refits for my\.Thing"):
        refit("my.Thing")(swap)


def test_a_rule_may_be_registered_again_when_its_module_is_imported_again(tables: None) -> None:
    rule("my.Thing")(nothing)
    rule("my.Thing")(nothing)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (lambda node: {}["nothing"], "the rule of 'test_axes_rules' for Relu 'Relu_0' failed: KeyError: 'nothing'"),
        (lambda node: [Pin(Axis("z", 0), "")], "the rule of 'test_axes_rules' for Relu 'Relu_0' speaks of z"),
    ],
)
def test_a_rule_that_fails_or_speaks_of_others_is_named(tables: None, statement: Any, error: str) -> None:
    del rules._rules["Relu"]
    rule("Relu")(statement)
    node = net("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }").nodes[0]
    with pytest.raises(PassError, match=f"^{error}"):
        facts_of(node)


def test_a_control_flow_operator_of_another_domain_has_a_rule_like_any(tables: None) -> None:
    x, y = (Tensor(name, (2, 3), None) for name in "xy")
    rule("my.Loop")(lambda node: iter([Tie(at(node.x(), 1), at(node.y(), 1))]))
    assert Tie(Axis("x", 1), Axis("y", 1)) in facts_of(Node("l", "Loop", "my", 17, (x,), (y,), {}))


def test_a_repair_is_found_by_its_operator(tables: None) -> None:
    seen = []
    refit("Relu")(lambda model, node, left: seen.append((node.name, left.size(Axis("y", 0)))))
    model = net("(float[2] x) => (float[2] y) { y = Relu(x) }")
    refitted(model, model.nodes[0], Left({Axis("y", 0): np.array([1])}, {}))
    assert seen == [("Relu_0", 1)]


def test_an_axis_of_which_a_rule_says_nothing_stays_whole(tables: None) -> None:
    del rules._rules["Relu"]
    rule("Relu")(nothing)
    node = net("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }").nodes[0]
    assert facts_of(node) == [Pin(Axis(name, 1), "kept whole by Relu 'Relu_0'") for name in "xy"]


def test_a_rule_that_refuses_pins_all_axes_for_its_reason() -> None:
    node = net("(float[1,2,8] x) => (float[1,2,7] y, int64[1,2,7] i) { y, i = MaxPool<kernel_shape=[2]>(x) }").nodes[0]
    reason = "MaxPool 'MaxPool_0': its second output counts elements across all channels"
    assert facts_of(node) == [Pin(Axis(name, d), reason) for name in "xyi" for d in range(3)]


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ("Bernoulli(a)", "Bernoulli 'Bernoulli_1': what it draws depends on how much it draws"),
        ("RandomNormalLike(a)", "RandomNormalLike 'RandomNormalLike_1': what it draws depends on how much it draws"),
    ],
)
def test_an_operator_without_a_rule_pins_all_its_axes(op: str, reason: str) -> None:
    assert why(net(CHAIN.format(op)), "w[0]") == reason


def test_an_operator_of_another_domain_is_not_taken_for_its_namesake() -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,1,1] w, int64[8] p = {0,0,0,0,0,0,0,0}>
        { b = Conv(x, w)  y = com.microsoft.Pad(b, p) }""")
    proto.graph.initializer.append(helper.make_tensor("w", 1, [4, 3, 1, 1], [0.5] * 12))
    del proto.graph.value_info[:]
    model = Model.load(proto)
    assert "Pad" in known()
    assert model.tensor("y").shape == (1, 4, 8, 8)
    assert why(model, "w[0]") == "com.microsoft.Pad 'Pad_1': the standard has it too: export with that"


def test_a_rule_from_elsewhere_goes_before_a_barrier(tables: None) -> None:
    x, y = (Tensor(name, (2, 3), None) for name in "xy")
    node = Node("b", "Bernoulli", "", 17, (x,), (y,), {})
    assert all(isinstance(fact, Pin) for fact in facts_of(node))
    rule("Bernoulli")(lambda node: iter([Tie(at(node.x(), 1), at(node.y(), 1))]))
    assert Tie(Axis("x", 1), Axis("y", 1)) in facts_of(node)


def test_an_operator_of_a_local_function_that_stays_is_unknown() -> None:
    model = Model.load(
        onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[1,4] x) => (float[1,4] y) { y = local.Relu(x) }
        <domain: "local", opset_import: ["": 13]> Relu (a) => (b) { c = Neg(a)  b = Relu(c) }""")
    )
    assert [n.kind for n in model.nodes] == ["local.Relu"]
    assert {f.why for f in facts_of(model.nodes[0]) if isinstance(f, Pin)} == {"no rule for local.Relu 'Relu_0'"}
    (y,) = run(model, feeds(model))
    assert (y >= 0).all()


IF = """(float[1,3,8,8] x, bool c) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[4,4,1,1] u, float[2,4,1,1] v>
    { a = Conv(x, w)
      b = If (c) <then_branch = t () => (float[1,4,8,8] p) { p = Conv(a, u) },
                  else_branch = e () => (float[1,4,8,8] q) { q = Relu(a) }>
      y = Conv(b, v) }"""


def test_what_a_subgraph_reads_or_writes_stays() -> None:
    model = net(IF)
    reason = "read or written by the subgraph of If 'If_1'"
    assert [why(model, where) for where in ("w[0]", "u[0]", "u[1]", "v[1]")] == [reason] * 4


def test_what_a_subgraph_reads_in_its_own_subgraph_stays() -> None:
    model = net(
        IF.replace(
            "{ q = Relu(a) }",
            """{
        q = If (c) <then_branch = tt () => (float[1,4,8,8] r) { r = Abs(a) },
                    else_branch = ee () => (float[1,4,8,8] s) { s = Neg(a) }> }""",
        )
        .replace("p = Conv(a, u)", "p = Conv(z, u)")
        .replace("b = If", "z = Exp(a)  b = If")
    )
    assert why(model, "w[0]") == "read or written by the subgraph of If 'If_2'"


def test_a_tensor_of_unknown_rank_pins_the_node() -> None:
    model = net("""(float[1,3,8,8] x, int64[K] t) => (float[1,2,8,8] y) <float[4,3,1,1] w, float[2,4,1,1] v>
        { a = Conv(x, w)  s = Reshape(a, t)  b = Add(a, s)  y = Conv(b, v) }""")
    assert model.tensor("s").rank is None
    assert why(model, "w[0]") == "Reshape 'Reshape_1': the rank of 's' is unknown"
