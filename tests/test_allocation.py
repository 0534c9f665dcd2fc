"""Ways to share a cut among candidates: what each promises, and that searches find what the curves do not tell."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from test_plan import TEN, left_of, linear_cost, network, offer

from onnxprune.allocation import ALLOCATIONS, SEARCHES, Trials, weakest_first
from onnxprune.allocation.bees import projected
from onnxprune.allocation.dynamic import solved
from onnxprune.allocation.levels import same_share, same_threshold
from onnxprune.plan import Amounts, Budget, Candidate, Plan

SEEDS = range(6)


def every_plan(candidates: Sequence[Candidate]) -> list[dict[str, int]]:
    names = [c.where for c in candidates]
    return [dict(zip(names, map(int, ks), strict=True)) for ks in itertools.product(*(c.steps for c in candidates))]


def meets(candidates: Sequence[Candidate], budgets: Sequence[Budget], amounts: Amounts) -> bool:
    return all(left_of(b.cost, candidates, amounts) <= b.allowed for b in budgets)


@pytest.mark.parametrize("way", [*ALLOCATIONS, *SEARCHES])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_way_meets_the_budgets_that_can_be_met_and_takes_permitted_amounts(way: str, seed: int) -> None:
    candidates, budgets = network(seed, budgets=1 + seed % 2)
    plan = (
        ALLOCATIONS[way](candidates, budgets) if way in ALLOCATIONS else SEARCHES[way](*searching(candidates, budgets))
    )
    most = {c.where: int(c.steps[-1]) for c in candidates}
    reachable = [b.name for b in budgets if left_of(b.cost, candidates, most) <= b.allowed]
    assert set(plan.missed) == {b.name for b in budgets} - set(reachable)
    assert all(plan.amounts[c.where] in c.steps for c in candidates)
    for budget in budgets:
        assert plan.left[budget.name] == pytest.approx(left_of(budget.cost, candidates, plan.amounts))


def searching(
    candidates: list[Candidate], budgets: list[Budget], most: int = 12
) -> tuple[list[Candidate], list[Budget], Trials]:
    return candidates, budgets, Trials(lambda amounts: float(sum(amounts.values())), most)


# -- one number for all ----------------------------------------------------------------------------------------------


def test_the_same_share_goes_of_every_candidate_until_the_budget_is_met() -> None:
    cost = linear_cost({"a": 10, "b": 20}, a=1, b=1)
    a, b = offer("a", range(11)), offer("b", range(21))
    assert same_share([a, b], [Budget("macs", cost, 21)]).amounts == {"a": 3, "b": 6}
    assert same_share([a, b], [Budget("macs", cost, 20)]).amounts == {"a": 3, "b": 7}


def test_what_the_last_share_took_too_much_is_given_back() -> None:
    cost = linear_cost(TEN, a=1, b=1)
    a, b = offer("a", [0, 1, 2, 3, 4], steps=[0, 4]), offer("b", [0, 2, 4, 6, 8], steps=[0, 4])
    assert same_share([a, b], [Budget("macs", cost, 16)]).amounts == {"a": 4, "b": 0}


def test_one_threshold_goes_for_the_steps_of_all_candidates() -> None:
    cost = linear_cost(TEN, a=1, b=1)
    a, b = offer("a", [0, 1, 3, 6, 10]), offer("b", [0, 2, 4, 6, 8])
    assert same_threshold([a, b], [Budget("macs", cost, 19)]).amounts == {"a": 1, "b": 0}
    assert same_threshold([a, b], [Budget("macs", cost, 14)]).amounts == {"a": 2, "b": 4}
    assert same_threshold([a, b], [Budget("macs", cost, 13)]).amounts == {"a": 3, "b": 4}


def test_a_threshold_knows_nothing_of_costs_and_greedy_steps_do() -> None:
    cost = linear_cost(TEN, a=1, b=10)
    candidates, budgets = [offer("a", range(9)), offer("b", 2.0 * np.arange(9))], [Budget("macs", cost, 102)]
    assert same_threshold(candidates, budgets).amounts == {"a": 8, "b": 0}
    assert weakest_first(candidates, budgets).amounts == {"a": 0, "b": 1}


# -- dynamic programming ---------------------------------------------------------------------------------------------


def separate(seed: int) -> tuple[list[Candidate], list[Budget]]:
    """Three candidates of any harm, whose costs add up."""
    rng = np.random.default_rng(seed)
    sizes = dict.fromkeys("abc", 7)
    cost = linear_cost(sizes, **{name: float(rng.integers(1, 9)) for name in sizes})
    offers = [offer(n, np.concatenate([[0], np.cumsum(rng.uniform(0, 5, 6))]), steps=[0, 2, 3, 6]) for n in sizes]
    return offers, [Budget("macs", cost, 0.55 * cost.total())]


def harm(candidates: Sequence[Candidate], amounts: Amounts, weights: Mapping[str, float] | None = None) -> float:
    return sum((weights or {}).get(c.where, 1.0) * float(c.harm[amounts[c.where]]) for c in candidates)


@pytest.mark.parametrize("seed", range(25))
def test_where_costs_add_up_no_plan_that_meets_the_budget_harms_less(seed: int) -> None:
    candidates, budgets = separate(seed)
    weights = dict(zip("abc", np.random.default_rng(seed).uniform(0.2, 3, 3), strict=True))
    plan = solved(candidates, budgets, weights, weakest_first(candidates, budgets).amounts)
    good = [a for a in every_plan(candidates) if meets(candidates, budgets, a)]
    assert harm(candidates, plan.amounts, weights) == pytest.approx(min(harm(candidates, a, weights) for a in good))
    assert 0 < len(good) < len(every_plan(candidates))


def test_greedy_steps_find_less_good_plans() -> None:
    """The control."""
    found = []
    for seed in range(25):
        candidates, budgets = separate(seed)
        greedy = weakest_first(candidates, budgets)
        best = solved(candidates, budgets, dict.fromkeys("abc", 1.0), greedy.amounts)
        found.append(harm(candidates, best.amounts) < harm(candidates, greedy.amounts) - 1e-9)
    assert sum(found) >= 3


# -- searches --------------------------------------------------------------------------------------------------------


def misjudged(seed: int) -> tuple[list[Candidate], list[Budget], Trials, list[Amounts]]:
    """A network whose candidates do up to twenty times the harm that their curves tell, and what was tried out."""
    rng = np.random.default_rng(seed)
    cost = linear_cost(dict.fromkeys("abcdef", 13), **{name: float(rng.integers(1, 9)) for name in "abcdef"})
    candidates = [offer(n, np.concatenate([[0], np.cumsum(np.sort(rng.uniform(0, 5, 12)))])) for n in "abcdef"]
    budgets, truth = [Budget("macs", cost, 0.5 * cost.total())], np.exp(rng.normal(0, 1.5, 6))
    tried = list[Amounts]()

    def loss(amounts: Amounts) -> float:
        tried.append(amounts)
        return harm(candidates, amounts, {c.where: float(t) for c, t in zip(candidates, truth, strict=True)})

    return candidates, budgets, Trials(loss, 30, seed), tried


@pytest.mark.parametrize("way", SEARCHES)
def test_a_search_is_never_worse_than_greedy_steps_and_often_better(way: str) -> None:
    better = []
    for seed in SEEDS:
        candidates, budgets, trials, tried = misjudged(seed)
        plan = SEARCHES[way](candidates, budgets, trials)
        greedy = weakest_first(candidates, budgets)
        assert tried[0] == greedy.amounts
        assert trials.loss(plan.amounts) <= trials.loss(greedy.amounts)
        better.append(trials.loss(plan.amounts) < 0.98 * trials.loss(greedy.amounts))
    assert sum(better) > len(SEEDS) // 2


@pytest.mark.parametrize("way", SEARCHES)
def test_a_search_tries_so_many_plans_at_most_and_none_of_them_twice(way: str) -> None:
    counts = []
    for seed in SEEDS:
        candidates, budgets, trials, tried = misjudged(seed)
        SEARCHES[way](candidates, budgets, trials)
        assert len({tuple(sorted(each.items())) for each in tried}) == len(tried) <= trials.most
        counts.append(len(tried))
    assert max(counts) == 30


@pytest.mark.parametrize("way", SEARCHES)
def test_a_search_is_repeatable_and_the_seed_decides(way: str) -> None:
    def tried(seed: int) -> list[Amounts]:
        candidates, budgets, trials, seen = misjudged(5)
        trials.seed = seed
        SEARCHES[way](candidates, budgets, trials)
        return seen

    assert tried(1) == tried(1)
    assert tried(1) != tried(2)


@pytest.mark.parametrize("way", SEARCHES)
def test_where_nothing_meets_the_budget_all_is_taken_without_a_search(way: str) -> None:
    cost = linear_cost(TEN, a=1, b=1)
    candidates, budgets, trials = searching([offer("a", range(5)), offer("b", range(5))], [Budget("macs", cost, 1)])
    assert SEARCHES[way](candidates, budgets, trials) == Plan({"a": 4, "b": 4}, {"macs": 12}, ("macs",))
    assert trials.left == trials.most - 1


def test_shares_are_followed_to_where_the_budget_is_met() -> None:
    cost = linear_cost(TEN, a=1, b=1)
    candidates, budgets = [offer("a", range(9)), offer("b", range(9))], [Budget("macs", cost, 12)]
    assert projected(candidates, budgets, np.array([1.0, 0.0])).amounts == {"a": 8, "b": 0}
    assert projected(candidates, budgets, np.array([0.5, 0.5])).amounts == {"a": 4, "b": 4}
    assert projected(candidates, budgets, np.array([0.0, 0.01])).missed == ()


# -- where a plan begins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*ALLOCATIONS, *SEARCHES])
def test_a_plan_begins_with_the_first_amounts_and_never_gives_them_back(way: str) -> None:
    cost = linear_cost(TEN, a=1, b=1)
    candidates, budgets = [offer("a", range(9), steps=[5]), offer("b", range(9))], [Budget("macs", cost, 13)]
    find = ALLOCATIONS.get(way) or (lambda *given: SEARCHES[way](*searching(*given)))
    assert find(candidates, budgets).amounts == {"a": 5, "b": 2}
    assert find(candidates, [Budget("macs", cost, 19)]).amounts == {"a": 5, "b": 0}
