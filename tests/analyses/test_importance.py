"""How much of a layer each channel is: shares of its weights, whatever the layer's form and scale."""

from __future__ import annotations

import numpy as np
import pytest
from contexts import context
from nets import NETS, OPSETS
from oracle import net

from onnxprune.analyses.importance import Magnitude
from onnxprune.axes.linear import linear
from onnxprune.model import Model
from onnxprune.node import Axis


def magnitude(model: Model, norm: str = "l2") -> dict[Axis, np.ndarray]:
    return dict(Magnitude(norm).compute(model))  # type: ignore[arg-type]


def test_shares_are_squares_of_the_norms() -> None:
    model = net("(float[N,2] x) => (float[N,3] y) <float[2,3] w> { y = MatMul(x, w) }")
    model.put("w", np.array([[3, 0, 1], [4, 0, -2]], np.float32))
    np.testing.assert_allclose(magnitude(model)[Axis("w", 1)], [25 / 30, 0, 5 / 30])
    np.testing.assert_allclose(magnitude(model, "l1")[Axis("w", 1)], [7 / 10, 0, 3 / 10])


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        pytest.param("(float[1,4,5,5] x) => (float[1,6,A,B] y) <float[6,4,3,3] w> { y = Conv(x, w) }", 0, id="Conv"),
        pytest.param("(float[1,4,5,5] x) => (float[1,6,A,B] y) <float[6,2,3,3] w> { y = Conv<group=2>(x, w) }", 0,
                     id="a grouped Conv"),
        pytest.param("(float[1,6,5,5] x) => (float[1,6,A,B] y) <float[6,1,3,3] w> { y = Conv<group=6>(x, w) }", 0,
                     id="a depthwise Conv"),
        pytest.param("(float[N,4] x) => (float[N,6] y) <float[4,6] w> { y = Gemm(x, w) }", 1, id="Gemm"),
        pytest.param("(float[N,4] x) => (float[N,6] y) <float[6,4] w> { y = Gemm<transB=1>(x, w) }", 0,
                     id="a transposed Gemm"),
        pytest.param("(float[3,5,4] x) => (float[3,5,6] y) <float[3,4,6] w> { y = MatMul(x, w) }", 2,
                     id="a batched MatMul"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_it_is_the_axis_that_makes_channels_that_is_measured(text: str, axis: int, norm: str) -> None:
    model = net(text)
    (found,) = magnitude(model, norm).items()
    weight = np.moveaxis(model.tensor("w").value().astype(np.float64), axis, 0).reshape(6, -1)
    power = {"l1": 1, "l2": 2}[norm]
    expected = (np.abs(weight) ** power).sum(axis=1)
    assert found[0] == Axis("w", axis)
    np.testing.assert_allclose(found[1], expected / expected.sum())
    other = (np.abs(weight) ** (3 - power)).sum(axis=1)
    assert np.abs(found[1] - other / other.sum()).max() > 0.005


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_shares_of_a_layer_are_positive_and_sum_to_one(name: str, norm: str) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    found = magnitude(model, norm)
    made = {view.made for node in model.nodes if (view := linear(node)) is not None}
    assert found.keys() == made
    for axis, shares in found.items():
        assert shares.dtype == np.float64
        assert shares.shape == (model.tensor(axis.tensor).size(axis.dim),)
        assert shares.min() > 0
        assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_scale_of_a_layer_does_not_count(norm: str) -> None:
    model = net(NETS["chain"])
    before = magnitude(model, norm)
    model.put("w", -1000 * model.tensor("w").value())
    after = magnitude(model, norm)
    for axis, shares in before.items():
        np.testing.assert_allclose(after[axis], shares, rtol=1e-5)
    value = np.array(model.tensor("w").value())
    value[0] *= 2
    model.put("w", value)
    assert magnitude(model, norm)[Axis("w", 0)][0] > 1.2 * before[Axis("w", 0)][0]


def test_a_layer_of_zeros_has_no_shares_to_give() -> None:
    model = net(NETS["chain"])
    model.put("w", np.zeros((6, 3, 3, 3), np.float32))
    assert not magnitude(model)[Axis("w", 0)].any()


def test_half_precision_is_summed_in_double() -> None:
    model = net("(float16[N,2] x) => (float16[N,3] y) <float16[2,3] w> { y = MatMul(x, w) }")
    model.put("w", np.full((2, 3), 60000, np.float16))
    np.testing.assert_allclose(magnitude(model)[Axis("w", 1)], [1 / 3] * 3)


def test_a_weight_in_two_layers_is_measured_once_per_axis() -> None:
    shared = magnitude(net(NETS["shared by branches"]))
    assert len(shared) == 3
    both = net("""(float[N,4] x) => (float[N,4] y) <float[4,4] w>
                  { a = Gemm(x, w)  r = Relu(a)  y = Gemm<transB=1>(r, w) }""")
    assert magnitude(both).keys() == {Axis("w", 0), Axis("w", 1)}


def test_equal_questions_share_one_answer() -> None:
    model = net(NETS["chain"])
    ctx = context(model)
    assert model.get(Magnitude("l1"), ctx) is model.get(Magnitude("l1"), ctx)
    assert model.get(Magnitude("l1"), ctx) is not model.get(Magnitude("l2"), ctx)
