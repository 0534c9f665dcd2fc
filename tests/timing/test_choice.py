"""Of several drafts the coarsest is taken that meets the goals and harms little more than others."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from contexts import context
from oracle import net

from onnxprune.alignment import Grain
from onnxprune.plan import Plan
from onnxprune.timing.choice import Draft, Draw, chosen

EMPTY = net("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }")


def drawn(harms: Mapping[int, float | None]) -> Draw:
    """Drafts by block; None for one that misses its goal."""

    def draw(grain: Grain, aim: float) -> Draft:
        harm = harms[grain.block]
        plan = Plan({}, {}, missed=() if harm is not None else ("macs",))
        return Draft((("block", grain.block),), plan, {}, EMPTY, harm or 0.0, "")

    return draw


@pytest.mark.parametrize(
    ("harms", "block"),
    [
        ({16: 1.0, 8: 1.0, 4: 1.0}, 16),
        ({16: 1.05, 8: 1.0, 4: 0.99}, 16),
        ({16: 1.5, 8: 1.0, 4: 0.99}, 8),
        ({16: 1.5, 8: 1.4, 4: 1.0}, 4),
        ({16: None, 8: 1.05, 4: 1.0}, 8),
        ({16: None, 8: None, 4: 3.0}, 4),
        ({16: 9.0, 8: None, 4: None}, 16),
        ({16: 0.0, 8: 0.0, 4: 0.0}, 16),
        ({16: None, 8: None, 4: None, 2: 5.0}, 2),
        ({16: None, 8: None, 4: None, 2: None}, 2),
    ],
)
def test_the_coarsest_that_does(harms: Mapping[int, float | None], block: int) -> None:
    rounds = [[Grain(16), Grain(8), Grain(4)], [Grain(2)]]
    assert dict(chosen(drawn(harms), context(EMPTY), rounds, None).amounts)["block"] == block
