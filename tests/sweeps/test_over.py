"""What may be written after --sweep, and which pass is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from toys import Scale

from onnxprune.errors import UsageError
from onnxprune.options import option
from onnxprune.recipe import Call
from onnxprune.sweeps.over import Over


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A pass with the option of another."""

    name: ClassVar[str] = "shift"
    by: float = option(0.5, "how far")
    up: bool = option(True, "where to")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("macs=30..90%:step=10%", "30% 40% 50% 60% 70% 80% 90%"),
        ("macs=30%..90%:step=10", "30% 40% 50% 60% 70% 80% 90%"),
        ("macs = 0.3 .. 0.9 : step = 0.2", "0.3 0.5 0.7 0.9"),
        ("macs=30..85%:step=20%", "30% 50% 70%"),
        ("bytes=1M..3M:step=500K", "1M 1.5M 2M 2.5M 3M"),
        ("bytes=100..300K:step=100", "100K 200K 300K"),
        ("params=500K..1.5M:step=500K", "0.5M 1M 1.5M"),
        ("latency=2..4ms:step=1", "2ms 3ms 4ms"),
        ("ratio=12.5..37.5%:step=12.5%", "12.5% 25% 37.5%"),
        ("macs=50..50%:step=1%", "50%"),
        ("macs=30%,50%,1.2M", "30% 50% 1.2M"),
        ("importance=l1,l2", "l1 l2"),
        ("macs=50%", "50%"),
    ],
)
def test_values_are_a_span_or_a_list(text: str, values: str) -> None:
    over = Over.parse(text)
    assert over.values == tuple(values.split())
    assert over.option == text.partition("=")[0].strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macs", "cannot read the sweep 'macs': write a sweep as macs=30..90%:step=10% or macs=30%,50%,70%"),
        ("macs=", "cannot read the sweep"),
        ("=30%", "cannot read the sweep"),
        ("macs=30%,,50%", "cannot read the sweep"),
        ("macs=30..90%", "cannot read the sweep"),
        ("macs=30..90%:by=10%", "cannot read the sweep"),
        ("macs=90..30%:step=10%", "'90..30%:step=10%' is not a span"),
        ("macs=30..90%:step=0%", "is not a span"),
        ("macs=30..90%:step=-10%", "'-10%' is not a span"),
        ("macs=1..100%:step=0.5%", "at most 100 steps"),
        ("macs=30%..1.2M:step=10%", "mixes shares, counts and times"),
        ("macs=a..b:step=c", "'a' is not a span"),
        ("macs=50%,50%", "takes 50% twice"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Over.parse(text)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "called", "place"),
    [
        pytest.param("by=1", [(Scale, {})], 0, id="the one that has it"),
        pytest.param("up=yes", [(Scale, {}), (Shift, {})], 1, id="the one that has it, of two"),
        pytest.param("by=1", [(Scale, {}), (Shift, {"by": "3"})], 1, id="the one in which it is given"),
        pytest.param("shift.by=1", [(Scale, {"by": "2"}), (Shift, {"by": "3"})], 1, id="by name"),
        pytest.param("1.by=1", [(Scale, {"by": "2"}), (Scale, {"by": "3"})], 0, id="by place"),
    ],
)
def test_the_pass_that_has_the_option_gets_the_value(text: str, called: list[Call], place: int) -> None:
    over = Over.parse(text)
    assert over.place(called) == place
    filled = over.fill(over.values[0], called)
    assert [options.get(over.option) == over.values[0] for _, options in filled] == [
        k == place for k in range(len(called))
    ]
    assert [cls for cls, _ in filled] == [cls for cls, _ in called]


@pytest.mark.parametrize(
    ("text", "called", "message"),
    [
        pytest.param("ups=1", [(Shift, {})], "the passes have no option 'ups'; did you mean 'up'?", id="misspelt"),
        pytest.param("by=1", [], "the passes have no option 'by'", id="no passes"),
        pytest.param("shfit.by=1", [(Shift, {})], "no pass 'shfit'; did you mean 'shift'?", id="misspelt pass"),
        pytest.param("by=1", [(Shift, {}), (Scale, {})], "say which: 1.by=… or 2.by=…", id="two have it"),
        pytest.param("by=1", [(Scale, {"by": 1}), (Scale, {"by": 2})], "2 passes have the option", id="given twice"),
    ],
)
def test_an_option_of_no_pass_or_of_several_is_refused(text: str, called: list[Call], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Over.parse(text).place(called)
    assert message in str(refusal.value)
