"""What is declared of an operator is what the operator does: on the node cases of onnx, slot by slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import pytest
from corpora.cases import Case

from onnxprune.axes.facts import Facts, Free, Tie, at
from onnxprune.axes.families.elementwise import same
from onnxprune.axes.rules import declarations, facts_of
from onnxprune.node import Node
from onnxprune.normal import OPSETS

from .cutting import cut_each
from .forms import Rule, forms
from .more import case
from .perturb import Findings, perturbed, runner

FEW, MANY = 2, 1000  # slots of an axis, atoms of a group
RULED = [each.operator for each in declarations() if each.rule is not None]
SCHEMAS = onnx.defs.get_all_schemas_with_history()


def checked(cases: Iterable[Case], most: int = FEW, rule: Rule = facts_of) -> Findings:
    """Both checks on all forms of some cases."""
    findings = Findings()
    for one in cases:
        for form in forms(one, rule):
            run = runner(form.proto, form.inputs)
            perturbed(form, run, most, findings)
            cut_each(form, run, most, findings)
            findings.forms += 1
    return findings


def since(name: str) -> int:
    """The first opset that has an operator of the standard; 1 for any other."""
    return min((s.since_version for s in SCHEMAS if (s.domain, s.name) == ("", name)), default=1)


def judged(name: str, cases: Mapping[str, list[Case]], counts: Counter[str], most: int) -> None:
    """All that is known of an operator."""
    if since(name) > OPSETS[-1]:
        pytest.skip(f"{name} came after opset {OPSETS[-1]}, the last that is read")
    found = checked(cases[name], most)
    assert (found.stray, found.unequal) == ([], [])
    assert found.slots + found.atoms > 0, "there is no case with something to cut"
    assert found.confirmed or not found.approximate, "it is approximate, and yet nothing changes but what is cut"
    counts.update(operators=1, forms=found.forms, slots=found.slots, atoms=found.atoms)


@pytest.mark.parametrize("name", RULED)
def test_a_rule_says_what_the_operator_does(name: str, cases: Mapping[str, list[Case]], counts: Counter[str]) -> None:
    judged(name, cases, counts, FEW)


@pytest.mark.operators
@pytest.mark.parametrize("name", RULED)
def test_a_rule_is_right_slot_by_slot(name: str, cases: Mapping[str, list[Case]], counts: Counter[str]) -> None:
    judged(name, cases, counts, MANY)


# -- the controls: what is wrong is found ------------------------------------------------------------------------------


def nothing_tied(node: Node) -> Facts:
    """Every slot can go by itself."""
    for axis in dict.fromkeys(axis for tensor in node.tensors() for axis in tensor.axes()):
        yield Free(axis)


@pytest.mark.parametrize("name", RULED)
def test_an_operator_whose_slots_were_not_tied_would_be_found_out(name: str, cases: Mapping[str, list[Case]]) -> None:
    if since(name) > OPSETS[-1]:
        pytest.skip(f"{name} came after opset {OPSETS[-1]}, the last that is read")
    found = checked(cases[name][:3], 1, nothing_tied)
    assert found.stray or found.unequal


def elementwise(node: Node) -> Facts:
    """As if it were a Relu."""
    yield from same(node.x(), node.y())


def swapped(node: Node) -> Facts:
    """A Split whose outputs come in the other order."""
    start = 0
    for part in reversed(node.outputs):
        assert part is not None
        yield Tie(at(node.x(), 0), at(part, 0), shift=start)
        start += part.size(0) or 0


def unscaled(node: Node) -> Facts:
    """A quantisation that has one scale for all."""
    yield from elementwise(node)
    yield from map(Free, node.x(1).axes())


def whole_groups(node: Node) -> Facts:
    """A GroupNormalization that is an InstanceNormalization."""
    yield from elementwise(node)
    yield from (Tie(at(node.x(), 1), at(node.x(k), 0)) for k in (1, 2))


RNG = np.random.default_rng(0)
CUBE = RNG.normal(size=(4, 4, 4)).astype(np.float32)
VECTOR = np.arange(1, 5).astype(np.float32)
WRONG: dict[str, tuple[Rule, Case]] = {
    "a Transpose that is elementwise": (elementwise, case("Transpose", {"x": CUBE}, perm=[1, 0, 2])),
    "a Split in the wrong order": (
        swapped,
        case("Split", {"x": CUBE, "n": np.array([1, 3])}, 13, ("y", "z"), axis=0),
    ),
    "a Softmax whose channels pass": (elementwise, case("Softmax", {"x": CUBE})),
    "a CumSum whose channels pass": (elementwise, case("CumSum", {"x": CUBE, "a": np.int64(1)})),
    "an LRN that is exact": (elementwise, case("LRN", {"x": CUBE[None]}, size=3, alpha=1.0)),
    "groups that are channels": (
        whole_groups,
        case("GroupNormalization", {"x": CUBE, "s": VECTOR, "b": VECTOR}, 21, num_groups=2),
    ),
    "scales that stay": (unscaled, case("QuantizeLinear", {"x": CUBE, "s": VECTOR}, axis=1)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_rule_is_found_out(wrong: str) -> None:
    rule, one = WRONG[wrong]
    assert checked([one]).stray == []
    assert checked([one]).unequal == []
    found = checked([one], FEW, rule)
    assert found.unequal
    assert found.stray or wrong == "scales that stay"
