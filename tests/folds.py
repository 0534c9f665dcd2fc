"""Folding a small network for the tests of ``fold``: always under ``verify_each``, with what the report says."""

from __future__ import annotations

import numpy as np
from contexts import context
from oracle import assert_different_function, assert_same_function, net

from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from passes.fold import Fold


def fold(model: Model) -> tuple[Model, PassRecord]:
    """A folded copy and the record of the pass."""
    after = model.copy()
    (record,) = PassManager((Fold(),)).run(after, context(model), verify_each=True)
    return after, record


def ops(model: Model) -> str:
    """The operators in order, as one text."""
    return " ".join(node.op for node in model.nodes)


def assert_folds(text: str, expected: str, opset: int = 17, rtol: float = 1e-5) -> Model:
    """The net becomes these operators, computes the same, and is then as far as it gets; the folded net."""
    before = net(text, opset)
    after, record = fold(before)
    assert ops(after) == expected
    assert record.changed
    assert_same_function(after, before, rtol)
    read = {t.name for t in after.outputs} | {t.name for node in after.nodes for t in node.tensors()}
    assert {t.name for t in after.constants} <= read
    again = fold(after)[1]
    assert (again.changed, again.note) == (False, "nothing to fold")
    return after


def assert_stays(text: str, opset: int = 17) -> PassRecord:
    """Nothing is folded, and the record says so."""
    record = fold(net(text, opset))[1]
    assert (record.changed, record.note) == (False, "nothing to fold")
    return record


def assert_every_weight_counts(after: Model, before: Model) -> None:
    """The control: no new weight could be that of the original, or zero, without being seen."""
    held = {t.name: t.value() for t in before.constants}
    new = [t for t in after.constants if not np.array_equal(t.value(), held.get(t.name))]
    assert new
    for tensor in new:
        spoilt = after.copy()
        old = held.get(tensor.name)
        fits = old is not None and old.shape == tensor.shape
        spoilt.put(tensor.name, old if fits else np.zeros_like(tensor.value()))
        assert_different_function(spoilt, before)
