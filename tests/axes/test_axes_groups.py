"""From facts to groups: which slots fall into one atom, and which atoms are pinned."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from cuts import group
from oracle import net

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.facts import Approximate, Either, Fact, Pin, Tie
from onnxprune.axes.groups import collect, settle
from onnxprune.axes.reasons import Reason
from onnxprune.node import Axis

A, B, C, D = (Axis(name, 0) for name in "abcd")


def partition(facts: list[Fact], sizes: dict[Axis, int | None]) -> set[frozenset[tuple[Axis, int]]]:
    """The atoms of all groups, each as a set of slots."""
    atoms: dict[tuple[int, int], set[tuple[Axis, int]]] = {}
    for index, found in enumerate(settle(facts, sizes)):
        for axis, labels in found.atoms.items():
            for slot, label in enumerate(labels):
                atoms.setdefault((index, int(label)), set()).add((axis, slot))
    return {frozenset(members) for members in atoms.values()}


def by_hand(facts: list[Fact], sizes: dict[Axis, int]) -> set[frozenset[tuple[Axis, int]]]:
    """The same by connecting slots one by one."""
    slots = nx.Graph()
    for fact in facts:
        if isinstance(fact, Tie):
            for axis in (fact.a, fact.b):
                slots.add_nodes_from((axis, s) for s in range(sizes[axis]))
            slots.add_edges_from(((fact.a, int(s)), (fact.b, j)) for j, s in enumerate(fact.slots(sizes[fact.b])))
    return {frozenset(part) for part in nx.connected_components(slots)}


def random_facts(seed: int) -> tuple[list[Fact], dict[Axis, int]]:
    """Ties of every kind between axes of small sizes, all within bounds."""
    rng = np.random.default_rng(seed)
    sizes = {Axis(f"t{i}", 0): int(rng.choice((1, 2, 3, 4, 6, 8, 12, 24))) for i in range(8)}
    facts: list[Fact] = []
    for _ in range(rng.integers(3, 12)):
        a, b = (list(sizes)[i] for i in rng.integers(len(sizes), size=2))
        repeat = int(rng.choice((1, 1, 2, 3)))
        modulo = int(rng.integers(1, sizes[a] + 1)) if rng.random() < 0.5 else None
        reach = min((sizes[b] - 1) // repeat + 1, modulo or 99)
        if reach <= sizes[a]:
            facts.append(Tie(a, b, int(rng.integers(sizes[a] - reach + 1)), repeat, modulo))
    return facts, sizes


@pytest.mark.parametrize("seed", range(100))
def test_atoms_are_the_connected_slots(seed: int) -> None:
    facts, sizes = random_facts(seed)
    assert partition(facts, dict(sizes)) == by_hand(facts, sizes)


def test_a_long_chain_is_one_group() -> None:
    chain = [Axis(f"t{i:03}", 0) for i in range(300)]
    (found,) = settle([Tie(a, b) for a, b in pairwise(chain)], dict.fromkeys(chain, 5))
    assert (len(found.atoms), found.size) == (300, 5)


def test_axes_without_a_common_tie_are_groups_of_their_own() -> None:
    found = settle([Tie(A, B), Tie(C, D)], dict.fromkeys((A, B, C, D), 3))
    assert [sorted(g.atoms) for g in found] == [[A, B], [C, D]]


def test_only_the_groups_that_are_wanted_are_made() -> None:
    facts = [Tie(A, B), Tie(C, D), Pin(D, "because")]
    (found,) = settle(facts, dict.fromkeys((A, B, C, D), 3), lambda axis: axis == D)
    assert sorted(found.atoms) == [C, D]
    assert found.why(C) == "because"


def test_an_axis_without_slots_is_tied_to_none() -> None:
    found = settle([Tie(A, B), Tie(C, D, table=(0, 0))], {A: 0, B: 0, C: 0, D: 2})
    assert [(g.size, g.why(D)) for g in found if D in g.atoms] == [(2, "its size does not match what it is tied to")]
    assert [g.size for g in found if A in g.atoms] == [0]


def test_a_tie_is_plain_where_every_slot_meets_its_own_number() -> None:
    ties = [Tie(A, B), Tie(A, B, modulo=4), Tie(A, B, 1), Tie(A, B, repeat=2), Tie(A, B, modulo=3)]
    assert [tie.plain(4) for tie in ties] == [tie.slots(4).tolist() == [0, 1, 2, 3] for tie in ties]
    assert not Tie(A, B, table=(0, 1)).plain(2)


def test_the_same_pair_may_be_tied_twice() -> None:
    (found,) = settle([Tie(A, B), Tie(A, B, shift=4)], {A: 8, B: 4})
    assert found.size == 4
    assert found.atoms[A].tolist() == [*range(4), *range(4)]


def test_a_pin_holds_every_slot_it_is_tied_to_and_only_those() -> None:
    (found,) = settle([Tie(A, B), Tie(A, C, shift=3), Pin(B, "because")], {A: 6, B: 3, C: 3})
    assert found.free.tolist() == sorted(set(found.atoms[C]))
    assert set(found.pinned.values()) == {Reason("operator", "because", None, B)}
    assert found.why(B) == "because"
    assert found.why(A) is None
    assert found.why(C) is None


def test_the_first_reason_is_told() -> None:
    (found,) = settle([Tie(A, B), Pin(A, "one"), Pin(A, "two")], {A: 2, B: 2})
    assert found.why(B) == "one"


def test_an_approximate_cut_is_marked_and_not_taken_for_exact() -> None:
    (found,) = settle([Tie(A, B), Approximate(B, "mixes")], {A: 2, B: 2})
    assert found.approximate == dict.fromkeys((0, 1), Reason("approximate", "mixes", None, B))
    assert found.pinned == {}
    assert found.free.tolist() == []
    assert found.why(A) == "mixes"


def test_axes_of_unknown_size_stay_whole() -> None:
    found = settle([Tie(A, B), Tie(B, C)], {A: None, B: 2, C: 2})
    assert [g.free.tolist() for g in found if B in g.atoms] == [[]]
    assert {g.why(B) for g in found if B in g.atoms} == {"its size is known at run time only"}


@pytest.mark.parametrize("tie", [Tie(A, B), Tie(A, B, shift=2, modulo=2), Tie(A, B, repeat=2, shift=1)])
def test_axes_of_sizes_that_do_not_match_stay_whole(tie: Tie) -> None:
    found = settle([tie, Tie(C, D)], {A: 3, B: 6, C: 2, D: 2})
    assert {g.why(axis) for g in found for axis in (A, B) if axis in g.atoms} == {
        "its size does not match what it is tied to"
    }
    assert [g.size for g in found if C in g.atoms] == [2]


def test_slots_of_doomed_atoms_are_listed_where_there_are_any() -> None:
    (found,) = settle([Tie(A, B), Tie(A, C, shift=2)], {A: 4, B: 2, C: 2})
    assert found.slots(found.atoms[B][[1]]).keys() == {A, B}
    assert found.slots(found.atoms[A][[1, 2]])[A].tolist() == [1, 2]
    assert found.slots(np.array([], int)) == {}


def merge(*dims: Axis, product: Axis, sizes: dict[Axis, int]) -> Either:
    options = []
    for k, dim in enumerate(dims):
        repeat = int(np.prod([sizes[d] for d in dims[k + 1 :]]))
        options.append((Tie(dim, product, repeat=repeat, modulo=sizes[dim]), tuple(d for d in dims if d != dim)))
    return Either(tuple(options), "kept whole")


SIZES = {A: 3, B: 4, C: 12, D: 3}


def test_of_two_options_the_one_with_most_slots_is_taken() -> None:
    (found,) = (g for g in settle([merge(A, B, product=C, sizes=SIZES)], dict(SIZES)) if C in g.atoms)
    assert found.size == 4
    assert B in found.atoms


def test_an_option_that_is_pinned_already_is_not_taken() -> None:
    facts = [merge(A, B, product=C, sizes=SIZES), Pin(B, "input")]
    (found,) = (g for g in settle(facts, dict(SIZES)) if C in g.atoms)
    assert (found.size, len(found.free)) == (3, 3)


def test_a_pin_further_on_is_seen_too() -> None:
    facts = [merge(A, B, product=C, sizes=SIZES), Tie(B, Axis("e", 0)), Pin(Axis("e", 0), "input")]
    (found,) = (g for g in settle(facts, {**SIZES, Axis("e", 0): 4}) if C in g.atoms)
    assert A in found.atoms


def test_the_option_that_is_not_taken_stays_whole() -> None:
    found = settle([merge(A, B, product=C, sizes=SIZES), Tie(A, D)], dict(SIZES))
    assert {g.why(D) for g in found if D in g.atoms} == {"kept whole"}


def test_where_all_options_are_pinned_all_stays() -> None:
    facts = [merge(A, B, product=C, sizes=SIZES), Pin(A, "one"), Pin(B, "two")]
    assert all(not len(g.free) for g in settle(facts, dict(SIZES)))


def test_an_option_tied_to_a_pinned_axis_counts_as_pinned_when_the_next_is_decided() -> None:
    e, f, g, h = (Axis(name, 0) for name in "efgh")
    sizes = {**SIZES, e: 4, f: 2, g: 8, h: 4}
    facts = [
        merge(A, B, product=C, sizes=sizes), Pin(C, "output"), Tie(B, h), Tie(B, e), merge(e, f, product=g, sizes=sizes)
    ]  # fmt: skip
    found = {axis: group for group in settle(facts, dict(sizes)) for axis in group.atoms}
    assert found[B].why(B) == "output"
    assert f in found[g].atoms
    assert len(found[g].free) == 2


def test_a_product_of_pinned_options_counts_as_pinned_when_the_next_is_decided() -> None:
    e, f, g = (Axis(name, 0) for name in "efg")
    sizes = {**SIZES, e: 12, f: 2, g: 24}
    facts = [merge(A, B, product=C, sizes=sizes), Pin(A, "one"), Pin(B, "two"), Tie(C, e)]
    found = {
        axis: group
        for group in settle([*facts, merge(e, f, product=g, sizes=sizes)], dict(sizes))
        for axis in group.atoms
    }
    assert not len(found[C].free)
    assert f in found[g].atoms
    assert len(found[g].free) == 2


TWICE = """(float[1,3,4,4] x) => (float[1,5] y, float[1,2,4,4] z)
    <float[4,3,1,1] w, int64[2] t = {1,64}, float[64,5] v, float[2,4,1,1] u>
    { a = Conv(x, w)  f = Reshape(a, t)  y = Gemm(f, v)  z = Conv(a, u) }"""


def test_facts_of_a_model_include_its_signature() -> None:
    facts = collect(net(TWICE))
    assert Pin(Axis("x", 1), "graph input 'x'") in facts
    assert Pin(Axis("z", 1), "graph output 'z'") in facts
    assert Tie(Axis("w", 0), Axis("a", 1)) in facts


def test_groups_come_in_the_order_of_the_graph_and_hold_constants() -> None:
    model = net(TWICE)
    found = ChannelGroups().compute(model)
    constants = {t.name for t in model.constants}
    assert all(any(axis.tensor in constants for axis in g.atoms) for g in found)
    first = [
        next(i for i, g in enumerate(found) if Axis(*where) in g.atoms) for where in (("w", 1), ("w", 0), ("v", 1))
    ]
    assert first == sorted(first)
    again = ChannelGroups().compute(net(TWICE))
    assert [sorted(g.atoms) for g in found] == [sorted(g.atoms) for g in again]


def test_channels_reach_a_dense_layer_and_a_convolution_at_once() -> None:
    found = group(net(TWICE), "w[0]")
    assert found.size == 4
    assert found.slots(np.array([3]))[Axis("v", 0)].tolist() == list(range(48, 64))
    assert found.slots(np.array([3]))[Axis("u", 1)].tolist() == [3]
