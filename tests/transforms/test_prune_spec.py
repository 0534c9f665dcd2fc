"""The prune spec speaks of the input file, and every layer is cut or says why it is not."""

from __future__ import annotations

import re

import pytest
from contexts import context
from generator import random_model
from nets import NETS, OPSETS
from oracle import assert_different_function, assert_same_function, net, silenced

from onnxprune import compress
from onnxprune.axes.silencing import removed
from onnxprune.constants import constants_behind
from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.options import Share
from passes.fold import Fold
from passes.prune import PruneChannels

PIPELINE = PassManager((Fold(), PruneChannels(ratio=Share("50%"), align=1, heal="none")))
MODELS = [pytest.param(lambda name=name: net(NETS[name], OPSETS.get(name, 17)), id=name) for name in NETS]
MODELS += [pytest.param(lambda seed=seed: Model.load(random_model(seed)), id=f"random {seed}") for seed in range(150)]


@pytest.mark.parametrize("load", MODELS)
def test_what_is_listed_is_what_the_file_has_more(load) -> None:
    original = load()
    result = original.copy()
    PIPELINE.run(result, context(original))
    constants = {t.name: t for t in result.constants}
    for name, axes in removed(result).items():
        before = original.tensor(name)
        for dim, slots in axes.items():
            assert 0 <= min(slots) <= max(slots) < before.shape[dim]
            assert slots == sorted(set(slots))
            if name in constants:
                assert constants[name].shape[dim] == before.shape[dim] - len(slots)


@pytest.mark.parametrize("load", MODELS)
def test_every_layer_with_weights_is_cut_or_explained(load) -> None:
    original = load()
    result = original.copy()
    _, record = PIPELINE.run(result, context(original))
    explained = {skip.where for skip in record.skipped}
    constant = constants_behind(result)
    for node in result.nodes:
        weights = [t for t in node.inputs if t is not None and t.name in constant]
        if re.search("Conv|Gemm|MatMul", node.op) and weights and node.name not in explained:
            before = original.tensor(weights[0].name)
            assert before.shape is None or before.shape != weights[0].shape, node.name


def test_a_scalar_bias_that_was_widened_is_not_listed() -> None:
    text = """(float[4,3] x) => (float[4,2] y) <float[3,6] w, float[1] b, float[6] s, float[6,2] v>
        { a = Gemm(x, w, b)  c = Mul(a, s)  r = Relu(c)  y = Gemm(r, v) }"""
    result = net(text)
    PIPELINE.run(result, context(net(text)))
    assert set(removed(result)) == {"w", "v"}


def test_a_file_whose_shapes_only_a_run_tells_is_silenced_all_the_same() -> None:
    """Folding finds the shapes that inference does not follow; the spec speaks of the file as it came."""
    before = net("""(float[1,3,4,4] x) => (float[1,2,R,S] y) <float[8,3,1,1] w, float[2,8,1,1] v, int64 one = {1}>
        { c = Conv(x, w)  s = Shape(c)  i = Abs(s)  r = Reshape(c, i)  y = Conv(r, v) }""")
    assert before.tensor("r").size(1) is None
    after = compress(before, passes="fold,prune:ratio=50%:align=1:heal=none").model
    assert after.tensor("v").shape == (2, 4, 1, 1)
    assert_same_function(after, silenced(before, removed(after)))
    assert_different_function(after, before)
