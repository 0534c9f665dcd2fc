"""The planner takes the steps that do the least harm per saved cost, until every budget is met."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from oracle import net

from onnxprune.allocation import uniform, weakest_first
from onnxprune.costs import CostModel, Term
from onnxprune.model import Model
from onnxprune.plan import Budget, Candidate, Plan


def nothing(model: Model, amount: int) -> None:
    """Applies nothing."""


def offer(
    where: str, harm: Sequence[float], *, saves: Mapping[str, int] | None = None, steps: Sequence[int] | None = None,
    excludes: Sequence[str] = (),
) -> Candidate:  # fmt: skip
    """A candidate that by default takes 1 from the quantity of its name at every step."""
    steps = range(len(harm)) if steps is None else steps
    return Candidate(where, saves or {where: 1}, np.array(harm, float), np.array(steps), nothing, frozenset(excludes))


def linear_cost(sizes: Mapping[str, int], **prices: float) -> CostModel:
    """Σ price · size."""
    return CostModel(tuple(Term(name, price, (name,)) for name, price in prices.items()), dict(sizes))


def left_of(cost: CostModel, candidates: Sequence[Candidate], amounts: Mapping[str, int]) -> float:
    sizes = dict(cost.sizes)
    for c in candidates:
        for quantity, step in c.saves.items():
            if quantity in sizes:
                sizes[quantity] -= step * amounts[c.where]
    return CostModel(cost.parts, sizes).total()


TEN = {"a": 10, "b": 10}


def test_the_weakest_candidate_goes_first() -> None:
    weak, strong = offer("a", [0, 1, 2, 3]), offer("b", [0, 5, 10, 15])
    cost = linear_cost(TEN, a=1, b=1)
    assert weakest_first([strong, weak], [Budget("macs", cost, 18)]).amounts == {"b": 0, "a": 2}


def test_harm_counts_per_saved_cost() -> None:
    cheap, dear = offer("a", [0, 1, 2, 3]), offer("b", [0, 5, 10, 15])
    cost = linear_cost(TEN, a=1, b=10)
    assert weakest_first([cheap, dear], [Budget("macs", cost, 90)]).amounts == {"a": 0, "b": 2}


def test_rising_harm_spreads_the_cut() -> None:
    curve = [0, 1, 3, 6, 10]
    cost = linear_cost(TEN, a=1, b=1)
    plan = weakest_first([offer("a", curve), offer("b", curve)], [Budget("macs", cost, 16)])
    assert plan.amounts == {"a": 2, "b": 2}


def test_no_more_is_taken_than_the_budget_wants() -> None:
    cost = linear_cost({"a": 10}, a=1)
    assert weakest_first([offer("a", range(10))], [Budget("macs", cost, 6.5)]).amounts == {"a": 4}


def test_a_budget_that_is_met_already_is_an_empty_plan() -> None:
    cost = linear_cost({"a": 10}, a=1)
    plan = weakest_first([offer("a", range(10))], [Budget("macs", cost, 10)])
    assert plan == Plan({"a": 0}, {"macs": 10})
    assert not plan


def test_without_budgets_nothing_is_taken() -> None:
    assert not weakest_first([offer("a", [0, 0, 0])], [])


def test_harmless_steps_are_taken_one_by_one() -> None:
    cost = linear_cost({"a": 10}, a=1)
    assert weakest_first([offer("a", [0] * 9)], [Budget("macs", cost, 7)]).amounts == {"a": 3}


def test_only_permitted_amounts_are_taken() -> None:
    cost = linear_cost({"a": 10}, a=1)
    candidate = offer("a", range(10), steps=[0, 4, 8])
    assert weakest_first([candidate], [Budget("macs", cost, 9)]).amounts == {"a": 4}
    assert weakest_first([candidate], [Budget("macs", cost, 5)]).amounts == {"a": 8}


def test_a_far_step_is_taken_at_once_where_that_harms_less() -> None:
    cost = linear_cost(TEN, a=1, b=1)
    hump = offer("a", [0, 8, 8, 8, 8])
    steady = offer("b", [0, 3, 6, 9, 12])
    assert weakest_first([hump, steady], [Budget("macs", cost, 16)]).amounts == {"a": 4, "b": 0}


def test_a_floor_is_where_the_steps_end_and_the_budget_is_then_missed() -> None:
    cost = linear_cost({"a": 10}, a=1)
    plan = weakest_first([offer("a", range(9), steps=range(6))], [Budget("macs=10%", cost, 1)])
    assert plan == Plan({"a": 5}, {"macs=10%": 5}, missed=("macs=10%",))


def test_a_budget_that_no_candidate_serves_is_missed_and_nothing_is_harmed_for_it() -> None:
    cost = linear_cost(TEN, b=1)
    plan = weakest_first([offer("a", range(9))], [Budget("macs", cost, 5)])
    assert plan == Plan({"a": 0}, {"macs": 10}, missed=("macs",))
    assert not plan


def test_a_missed_budget_does_not_keep_another_from_being_met() -> None:
    macs, size = linear_cost(TEN, a=1), linear_cost(TEN, b=1)
    candidates = [offer("a", range(4)), offer("b", range(9))]
    plan = weakest_first(candidates, [Budget("macs", macs, 1), Budget("params", size, 6)])
    assert plan == Plan({"a": 3, "b": 4}, {"macs": 7, "params": 6}, missed=("macs",))


def test_every_budget_is_met() -> None:
    macs, size = linear_cost(TEN, a=9, b=1), linear_cost(TEN, a=1, b=9)
    candidates = [offer("a", np.arange(10) ** 2), offer("b", np.arange(10) ** 2)]
    plan = weakest_first(candidates, [Budget("macs", macs, 60), Budget("params", size, 80)])
    assert plan.missed == ()
    assert plan.left["macs"] <= 60
    assert plan.left["params"] <= 80


def test_a_step_that_serves_two_budgets_counts_for_both_until_one_is_met() -> None:
    macs, size = linear_cost(TEN, a=1, b=1), linear_cost(TEN, a=1)
    both, one = offer("a", [0, 3, 6, 9, 12]), offer("b", [0, 2, 4, 6, 8])
    plan = weakest_first([both, one], [Budget("macs", macs, 17), Budget("params", size, 9)])
    assert plan.amounts == {"a": 1, "b": 2}


def test_budgets_count_by_share_whatever_their_unit() -> None:
    macs, size = linear_cost(TEN, a=1000, b=500), linear_cost(TEN, b=1)
    a, b = offer("a", [0, 3, 6, 9, 12]), offer("b", [0, 4, 8, 12, 16])
    plan = weakest_first([a, b], [Budget("macs", macs, 14999), Budget("params", size, 9)])
    assert plan.amounts == {"a": 0, "b": 1}  # a saves 1/15 of the macs, b 1/30 and 1/10 of the parameters


def test_a_candidate_rules_out_those_it_excludes() -> None:
    cost = linear_cost(TEN, a=1, b=1)
    merge, prune = offer("a", [0, 1, 2], excludes=["b"]), offer("b", [0, 2, 4, 6], excludes=["a"])
    plan = weakest_first([merge, prune], [Budget("macs", cost, 15)])
    assert plan.amounts == {"a": 2, "b": 0}
    assert plan.missed == ("macs",)


@pytest.mark.parametrize("excluding", ["a", "b"])
def test_it_is_enough_that_one_excludes_the_other(excluding: str) -> None:
    cost = linear_cost(TEN, a=1, b=1)
    first = offer("a", [0, 1, 2], excludes=["b"] if excluding == "a" else [])
    second = offer("b", [0, 2, 4, 6], excludes=["a"] if excluding == "b" else [])
    assert weakest_first([first, second], [Budget("macs", cost, 15)]).amounts == {"a": 2, "b": 0}


def test_exclusion_of_a_candidate_that_is_not_there_is_no_hindrance() -> None:
    cost = linear_cost(TEN, a=1)
    assert weakest_first([offer("a", range(5), excludes=["z"])], [Budget("macs", cost, 8)]).amounts == {"a": 2}


def test_ties_go_to_the_candidate_that_comes_first() -> None:
    cost = linear_cost(TEN, a=1, b=1)
    a, b = offer("a", range(6)), offer("b", range(6))
    assert weakest_first([a, b], [Budget("macs", cost, 17)]).amounts == {"a": 3, "b": 0}
    assert weakest_first([b, a], [Budget("macs", cost, 17)]).amounts == {"a": 0, "b": 3}


def test_a_step_may_take_several_slots_of_several_sizes() -> None:
    cost = CostModel((Term("conv", 2, ("rows", "columns")), Term("next", 1, ("rows",))), {"rows": 12, "columns": 6})
    grouped = offer("a", range(4), saves={"rows": 3, "columns": 1, "elsewhere": 7})
    plan = weakest_first([grouped], [Budget("macs", cost, 80)])
    assert plan.amounts == {"a": 2}
    assert plan.left == {"macs": 2 * (12 - 6) * (6 - 2) + (12 - 6)}


def test_an_unbearable_harm_is_taken_last() -> None:
    cost = linear_cost(TEN, a=1, b=1)
    plan = weakest_first([offer("a", [0, np.inf]), offer("b", range(6))], [Budget("macs", cost, 16)])
    assert plan.amounts == {"a": 0, "b": 4}


# -- against other ways to plan --------------------------------------------------------------------------------------


def network(seed: int, budgets: int = 1) -> tuple[list[Candidate], list[Budget]]:
    """Layers in a chain: channel i makes the rows of layer i and the columns of layer i + 1; harm is convex or not."""
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(2, 6))
    sizes = {f"c{i}": int(rng.integers(4, 16)) for i in range(layers)}
    candidates = []
    for name, size in sizes.items():
        bumps = rng.uniform(0.1, 5, size - 1)
        harm = np.concatenate([[0], np.cumsum(np.sort(bumps) if rng.random() < 0.7 else bumps)])
        steps = np.arange(0, size, int(rng.choice((1, 1, 2, 3))))
        candidates.append(offer(name, harm, steps=steps))
    costs = []
    for _ in range(budgets):
        terms = [
            Term(f"l{i}", float(rng.integers(1, 50)), tuple(c for c in (f"c{i - 1}", f"c{i}") if c in sizes))
            for i in range(layers + 1)
        ]
        costs.append(CostModel(tuple(terms), dict(sizes)))
    return candidates, [Budget(f"b{i}", c, float(rng.uniform(0.02, 0.9)) * c.total()) for i, c in enumerate(costs)]


def plain_greedy(candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> dict[str, int]:
    """The same rule, every price computed anew for every step."""
    amounts = {c.where: 0 for c in candidates}
    while unmet := [b for b in budgets if left_of(b.cost, candidates, amounts) > b.allowed]:
        best = (np.inf, -1, "", 0)
        for rank, c in enumerate(candidates):
            for k in c.steps[c.steps > amounts[c.where]]:
                then = {**amounts, c.where: int(k)}
                saved = sum(
                    (left_of(b.cost, candidates, amounts) - left_of(b.cost, candidates, then)) / b.cost.total()
                    for b in unmet
                )
                if saved > 0:
                    best = min(best, ((c.harm[k] - c.harm[amounts[c.where]]) / saved, rank, c.where, int(k)))
        if not best[2]:
            break
        amounts[best[2]] = best[3]
    return amounts


def spared(candidates: Sequence[Candidate], budgets: Sequence[Budget], amounts: dict[str, int]) -> dict[str, int]:
    """The same amounts without the steps that no budget needs, the most harmful looked at first."""

    def back(c: Candidate) -> int:
        return int(c.steps[c.steps < amounts[c.where]].max(initial=0))

    def relief(c: Candidate) -> float:
        return float(c.harm[amounts[c.where]] - c.harm[back(c)])

    left = {b.name: left_of(b.cost, candidates, amounts) for b in budgets}
    for c in sorted((c for c in candidates if amounts[c.where]), key=lambda c: (-relief(c), c.where)):
        while amounts[c.where]:
            then = {**amounts, c.where: back(c)}
            now = {b.name: left_of(b.cost, candidates, then) for b in budgets}
            if any(now[b.name] > max(b.allowed, left[b.name]) for b in budgets):
                break
            amounts, left = then, now
    return amounts


@pytest.mark.parametrize("seed", range(40))
def test_lazy_evaluation_finds_what_plain_greedy_finds(seed: int) -> None:
    candidates, budgets = network(seed, budgets=1 + seed % 2)
    plan = weakest_first(candidates, budgets)
    assert plan.amounts == spared(candidates, budgets, plain_greedy(candidates, budgets))
    for budget in budgets:
        assert plan.left[budget.name] == pytest.approx(left_of(budget.cost, candidates, plan.amounts))
        assert (budget.name in plan.missed) == (plan.left[budget.name] > budget.allowed)


def test_a_chain_of_layers_is_cut_in_most_of_these_networks() -> None:
    plans = [weakest_first(*network(seed, budgets=1 + seed % 2)) for seed in range(40)]
    assert sum(bool(p) for p in plans) == 40
    assert 0 < sum(bool(p.missed) for p in plans) < 20


@pytest.mark.parametrize("seed", range(25))
def test_with_rising_harm_and_separate_costs_no_other_plan_harms_less(seed: int) -> None:
    """Among all plans that leave as little as greedy steps do, before those that are not needed are undone."""
    rng = np.random.default_rng(seed)
    sizes = dict.fromkeys("abc", 6)
    prices = {name: float(rng.integers(1, 9)) for name in sizes}
    candidates = [offer(n, np.concatenate([[0], np.cumsum(np.sort(rng.uniform(0, 5, 4)))])) for n in sizes]
    cost = linear_cost(sizes, **prices)
    budget = Budget("macs", cost, 0.6 * cost.total())
    plan, greedy = weakest_first(candidates, [budget]), plain_greedy(candidates, [budget])

    def harm(amounts: Mapping[str, int]) -> float:
        return sum(float(c.harm[amounts[c.where]]) for c in candidates)

    every = [dict(zip(sizes, ks, strict=True)) for ks in itertools.product(range(5), repeat=3)]
    as_small = [a for a in every if left_of(cost, candidates, a) <= left_of(cost, candidates, greedy)]
    assert harm(greedy) == pytest.approx(min(harm(a) for a in as_small))
    assert harm(plan.amounts) <= harm(greedy)
    assert plan.left["macs"] <= budget.allowed
    assert len(as_small) < len(every)


def test_a_step_that_a_later_one_makes_needless_is_undone() -> None:
    candidates = [offer("a", [0, 1, 2, 3], steps=[0, 1]), offer("b", [0, 30, 60, 90], steps=[0, 3])]
    cost = linear_cost({"a": 4, "b": 4}, a=10, b=30)
    plan = weakest_first(candidates, [Budget("macs", cost, 100)])
    assert plan.amounts == {"a": 0, "b": 3}  # the cheap step was taken first, and did not suffice


def test_plans_are_repeatable() -> None:
    for seed in range(10):
        assert weakest_first(*network(seed, 2)) == weakest_first(*network(seed, 2))


# -- uniform ---------------------------------------------------------------------------------------------------------


def test_uniform_takes_the_same_share_of_every_candidate() -> None:
    plan = uniform([offer("a", range(11)), offer("b", range(5))], 0.5)
    assert plan == Plan({"a": 5, "b": 2}, {})


def test_uniform_takes_no_more_than_the_share_and_only_permitted_amounts() -> None:
    candidate = offer("a", range(11), steps=[0, 4, 8])
    assert [uniform([candidate], share).amounts["a"] for share in (0, 0.39, 0.4, 0.79, 0.8, 1)] == [0, 0, 4, 4, 8, 8]


def test_uniform_is_not_thrown_by_rounding() -> None:
    assert uniform([offer("a", range(11))], 0.1 + 0.2).amounts == {"a": 3}
    assert uniform([offer("a", range(11))], 0.7).amounts == {"a": 7}


def test_a_plan_of_nothing_is_false() -> None:
    assert not uniform([offer("a", range(11))], 0.05)
    assert uniform([offer("a", range(11))], 0.1)


def test_a_plan_is_carried_out_by_its_candidates() -> None:
    model = net("(float[2] x) => (float[2] y) <float[2] b> { y = Add(x, b) }")
    seen = []
    candidate = Candidate("b", {"n": 1}, np.arange(5.0), np.arange(5), lambda m, k: seen.append((m, k)))
    plan = weakest_first([candidate], [Budget("n", linear_cost({"n": 5}, n=1), 2)])
    candidate.apply(model, plan.amounts["b"])
    assert seen == [(model, 3)]
