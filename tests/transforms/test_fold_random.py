"""Folding changes the function of no random network, and a cut of the folded one is exact in terms of the file."""

from __future__ import annotations

from functools import cache

import pytest
from cuts import random_cut, shifted
from folds import fold, ops
from generator import random_model
from oracle import assert_different_function, assert_same_function, distance, silenced

from onnxprune.model import Model
from onnxprune.passes import Unchanged
from passes.fold import Fold

CHUNK, CHUNKS = 50, 5


@cache
def folded(seed: int) -> tuple[Model, Model]:
    """A random network and what is left of it."""
    model = Model.load(random_model(seed))
    return model, fold(model)[0]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_folded_net_computes_the_same_and_is_as_far_as_it_gets(chunk: int) -> None:
    changed = 0
    for seed in range(CHUNK * chunk, CHUNK * (chunk + 1)):
        model, after = folded(seed)
        assert_same_function(after, model)
        assert isinstance(Fold().run(after.copy(), None), Unchanged)
        changed += after.fingerprint() != model.fingerprint()
    assert changed >= CHUNK / 2


def test_every_step_is_taken_somewhere() -> None:
    gone = dict.fromkeys(("BatchNormalization", "Mul", "Add", "Identity", "Dropout", "MatMul"), 0)
    for seed in range(CHUNK * CHUNKS):
        model, after = folded(seed)
        for op in gone:
            gone[op] += ops(model).split().count(op) - ops(after).split().count(op)
    assert min(gone.values()) >= 5, gone


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_cut_after_folding_is_exact_in_terms_of_the_file(chunk: int) -> None:
    cuts = 0
    for seed in range(CHUNK * chunk, CHUNK * (chunk + 1)):
        model, after = folded(seed)
        smaller, spec = random_cut(after, seed)
        if spec:
            assert_same_function(smaller, silenced(model, spec))
            cuts += 1
    assert cuts >= 0.6 * CHUNK


def test_the_oracle_would_see_a_cut_in_other_terms() -> None:
    """The control: other slots of the file are not those that were cut."""
    seen, cuts = 0, 0
    for seed in range(60):
        model, after = folded(seed)
        smaller, spec = random_cut(after, seed)
        if spec:
            cuts += 1
            seen += distance(smaller, silenced(model, shifted(model, spec))) > 1e-3
    assert seen >= 0.9 * cuts


def test_the_oracle_would_see_a_weight_that_was_not_folded() -> None:
    """The control: putting back one weight of the file."""
    for seed in range(10, 40):
        model, after = folded(seed)
        same = {t.name for t in model.constants}
        for tensor in after.constants:
            old = model.tensor(tensor.name).value() if tensor.name in same else None
            if old is not None and old.shape == tensor.shape and (old != tensor.value()).any():
                spoilt = after.copy()
                spoilt.put(tensor.name, old)
                assert_different_function(spoilt, model)
                return
    pytest.fail("nothing was folded")
