"""What rules say of data movement is what running the operators shows: not a slot more, not a slot less."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from moves import MOVES, PLACES, moved, tied

from onnxprune.axes.facts import Either, Fact, Pin, Tie
from onnxprune.axes.rules import facts_of
from onnxprune.node import Axis, Node

SEEDS = 40


def disagreements(node: Node, facts: Iterable[Fact], places: bool = False) -> list[str]:
    """The pairs of axes of which facts say something else than running the node shows.

    A pinned axis may be tied to anything. Of a pair that is not tied, any slot must meet any other that takes part,
    unless both are tied to another axis of the other's tensor, so that none goes without what it meets.
    What is placed into (``a``, with ``places``) is tied as a whole, though some of its elements are replaced.
    """
    ties, pinned = [f for f in facts if isinstance(f, Tie)], {f.axis for f in facts if isinstance(f, Pin)}
    pairs = [(a, b, met, tied(ties, a, b, met.shape)) for a, b, met in moved(node) if not {a, b} & pinned]
    covered = {pair for a, b, _, said in pairs if said.any() for pair in ((a, b.tensor), (b, a.tensor))}
    wrong = []
    for a, b, met, said in pairs:
        if places and a.tensor == "a":
            agree = a.dim != b.dim or not (met & ~said).any()
        elif said.any():
            agree = np.array_equal(met, said)
        else:
            agree = {(a, b.tensor), (b, a.tensor)} <= covered or met[np.ix_(met.any(1), met.any(0))].all()
        if not agree:
            wrong.append(f"{a} and {b} of {node.op}")
    return wrong


def chosen(node: Node, seed: int) -> list[Fact]:
    """The facts of a node, with one option taken of every alternative."""
    rng, found = np.random.default_rng(seed), list[Fact]()
    for fact in facts_of(node):
        if isinstance(fact, Either):
            tie, whole = fact.options[rng.integers(len(fact.options))]
            found += [tie, *(Pin(axis, fact.why) for axis in whole)]
        else:
            found.append(fact)
    return found


@pytest.mark.parametrize("name", MOVES | PLACES)
def test_what_a_rule_says_is_what_running_the_operator_shows(name: str) -> None:
    followed = 0
    for seed in range(SEEDS):
        node = (MOVES | PLACES)[name](np.random.default_rng(seed))
        facts = chosen(node, seed)
        assert disagreements(node, facts, name in PLACES) == [], seed
        followed += any(isinstance(fact, Tie) for fact in facts)
    assert followed > SEEDS // 3


@pytest.mark.parametrize("name", MOVES)
def test_a_tie_that_is_missing_or_of_other_slots_is_noticed(name: str) -> None:
    noticed = 0
    for seed in range(SEEDS):
        node = MOVES[name](np.random.default_rng(seed))
        facts = chosen(node, seed)
        for fact in (fact for fact in facts if isinstance(fact, Tie)):
            slots, others = fact.slots(_size(node, fact.b)), [other for other in facts if other != fact]
            if len(set(slots[slots >= 0])) > 1:  # else all slots meet all that take part
                assert disagreements(node, others), (seed, fact)
                rolled = Tie(fact.a, fact.b, table=tuple(np.roll(slots, 1)))
                assert disagreements(node, [*others, rolled]), (seed, fact)
                noticed += 1
    assert noticed > SEEDS // 4


def _size(node: Node, axis: Axis) -> int:
    return next(t.size(axis.dim) or 0 for t in node.tensors() if t.name == axis.tensor)
