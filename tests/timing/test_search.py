"""What is measured corrects what is aimed at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnxprune.timing.search import NOISE, TRIES, within


class Range:
    """Plans are the times that they are aimed at, in steps; a network takes ``truth`` of them."""

    def __init__(self, truth: Callable[[float], float], step: float = 0.01, least: float = 0.0) -> None:
        self.truth, self.step, self.least = truth, step, least
        self.measured: list[float] = []

    def plan(self, aim: float) -> float:
        return max(round(aim / self.step - 0.5) * self.step, self.least)

    def measure(self, draft: float) -> float:
        self.measured.append(draft)
        return self.truth(draft)


@pytest.mark.parametrize("factor", [0.4, 0.7, 0.99, 1.0, 1.3, 2.0])
def test_a_prediction_that_is_wrong_by_a_factor_is_put_right(factor: float) -> None:
    found = Range(lambda t: factor * t)
    shot = within(found.plan, found.measure)
    assert 0.95 <= shot.measured <= NOISE
    assert len(found.measured) <= 4


def test_time_that_no_plan_saves_is_put_right_too() -> None:
    found = Range(lambda t: 0.4 + 0.8 * t)
    assert 0.95 <= within(found.plan, found.measure).measured <= NOISE


def test_of_coarse_steps_the_largest_is_taken_that_is_fast_enough() -> None:
    found = Range(lambda t: 1.1 * t, step=0.3)
    assert within(found.plan, found.measure).draft == pytest.approx(0.9)
    assert within(Range(lambda t: 1.2 * t, step=0.3).plan, lambda t: 1.2 * t).draft == pytest.approx(0.6)


def test_what_is_out_of_reach_ends_at_the_fastest() -> None:
    found = Range(lambda t: 3 * t, least=0.5)
    shot = within(found.plan, found.measure)
    assert shot.draft == 0.5
    assert shot.measured == 1.5
    assert len(found.measured) <= 2


def test_equal_drafts_are_measured_once_and_tries_are_bounded() -> None:
    found = Range(lambda t: 0.2 if t < 0.5 else 2.0, step=0.001)
    shot = within(found.plan, found.measure)
    assert shot.measured == 0.2
    assert len(found.measured) == len(set(found.measured)) <= TRIES
