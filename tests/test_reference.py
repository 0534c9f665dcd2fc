"""Results held against an original that ran once lose what they lose in runs of their own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from generator import random_model
from oracle import net
from prunes import calibrated, samples

from onnxprune import taps
from onnxprune.axes.cutting import cut
from onnxprune.calibrate import Calibration
from onnxprune.footprints import Family, families
from onnxprune.loss import losses
from onnxprune.model import Model
from onnxprune.reference import Change, Reference, behind
from onnxprune.runtime import Session

DEEP = """(float[N,3,6,6] x) => (float[N,4] y, float[N,8,6,6] early)
    <float[8,3,1,1] w, float[8,8,3,3] v, float[8,8,3,3] u, float[8,4] m>
    { a = Conv(x, w)  early = Tanh(a)  b = Conv<pads=[1,1,1,1]>(early, v)  c = Relu(b)
      d = Conv<pads=[1,1,1,1]>(c, u)  e = Add(d, early)  p = GlobalAveragePool(e)  f = Flatten(p)  y = MatMul(f, m) }"""


def changed(model: Model, family: Family) -> Change:
    return behind(model, {axis.tensor for axis in family.counts})


def less(model: Model, family: Family) -> Model:
    """Without the first atom of the family."""
    result = model.copy()
    cut(result, family.group.slots(family.atoms[:1]))
    return result


@pytest.mark.parametrize("seed", range(12))
def test_what_is_lost_is_the_same_from_what_lies_before_as_from_the_inputs(seed: int) -> None:
    model = Model(random_model(seed))
    ctx = calibrated(model, samples(model, 7))
    assert ctx.calibration is not None
    found = [f for f in families(model, ctx) if not f.group.pinned and len(f.atoms) > 1]
    changes, reference = [changed(model, f) for f in found], Reference(model, ctx.calibration)
    for number, family in enumerate(found):
        results = [less(model, family), model]
        near = reference.losses(results, changes[number], changes[number + 1 :])
        assert near == pytest.approx(losses(model, results, ctx.calibration), rel=1e-3, abs=1e-9)


def test_what_lies_before_a_change_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net(DEEP)
    data, runs = Calibration.load(samples(model, 7), model), Counter[str]()

    class Counted(Session):
        def __init__(self, proto: Any, **options: Any) -> None:
            self.made = [name for node in proto.graph.node for name in node.output]
            super().__init__(proto, **options)

        def __call__(self, *given: Any) -> Any:
            runs.update(self.made)
            return super().__call__(*given)

    monkeypatch.setattr(taps, "Session", Counted)
    reference = Reference(model, data)
    for name, later in (("v", "u"), ("u", "")):
        less = model.copy()
        less.put(name, 0.9 * model.tensor(name).value())
        (lost,) = reference.losses([less], behind(model, name), [behind(model, each) for each in later])
        assert lost == pytest.approx(*losses(model, [less], data), rel=1e-4)
        assert lost > 1e-5
    assert runs["early"] == 2  # for the outputs, and for what lies before the changes
    assert runs["c"] == 3  # the same, and of the first result
    assert runs["d"] == 3  # for the outputs, and of both results


def test_outputs_that_a_change_does_not_reach_are_not_compared() -> None:
    assert behind(net(DEEP), "v") == Change(("early",), ("y",))
    assert behind(net(DEEP), "w").outputs == ("y", "early")
    assert behind(net(DEEP), ["nothing"]) == Change((), ())


def test_a_change_that_reaches_nothing_loses_nothing() -> None:
    model = net(DEEP)
    other = model.copy()
    other.put("m", np.zeros((8, 4), np.float32))
    reference = Reference(model, Calibration.load(samples(model, 7), model))
    assert reference.losses([other], behind(model, [])) == [0.0]
    assert reference.losses([other], behind(model, ["m"]))[0] > 1e-3
    assert reference.losses([other])[0] > 1e-3
