"""The oracle of the tests can tell: it passes what is equal, and fails what is not."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import assert_different_function, assert_same_function, distance, feeds, net, run, silenced

DENSE = (
    "(float[N,3] x) => (float[N,2] y) <float[3,6] w, float[6,2] v> { a = MatMul(x, w)  r = Tanh(a)  y = MatMul(r, v) }"
)
PLAIN = "(float[2,3] x) => (float[2,3] y) { y = Identity(x) }"
ROUNDED = "(float[2,3] x) => (float[2,3] y) <float c = {%s}, float d = {%s}> { a = Add(x, c)  y = Sub(a, d) }"


def test_what_is_declared_without_a_value_is_a_weight_from_a_fixed_seed() -> None:
    one, again, other = net(DENSE), net(DENSE), net(DENSE, seed=1)
    assert np.array_equal(one.tensor("w").value(), again.tensor("w").value())
    assert not np.array_equal(one.tensor("w").value(), other.tensor("w").value())
    assert one.tensor("w").value().std() > 0


def test_variances_and_scales_are_positive() -> None:
    model = net(
        "(float[9] x) => (float[9] y) <float[9] scale1, float[9] var1> { a = Mul(x, scale1)  y = Mul(a, var1) }"
    )
    assert min(model.tensor(name).value().min() for name in ("scale1", "var1")) > 0


def test_feeds_have_the_shapes_of_the_inputs_and_repeat() -> None:
    model = net("(float[N,3] x, int64[2] i) => (float[N,3] y, int64[2] z) { y = Relu(x)  z = Abs(i) }")
    one, again, other = feeds(model), feeds(model), feeds(model, seed=1)
    assert {name: (value.shape, value.dtype.name) for name, value in one.items()} == {
        "x": ((2, 3), "float32"),
        "i": ((2,), "int64"),
    }
    assert np.array_equal(one["x"], again["x"])
    assert not np.array_equal(one["x"], other["x"])


def test_a_model_computes_what_it_computes() -> None:
    model = net(DENSE)
    assert distance(model.copy(), model) == 0
    assert_same_function(model.copy(), model)
    with pytest.raises(AssertionError):
        assert_different_function(model.copy(), model)


@pytest.mark.parametrize("change", [1e-3, 1e-4])
def test_a_small_change_of_one_weight_is_seen(change: float) -> None:
    model, after = net(DENSE), net(DENSE)
    value = model.tensor("v").value().copy()
    value[0, 0] += change
    after.put("v", value)
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(after, model)


def test_a_change_of_the_second_output_is_seen() -> None:
    text = "(float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Tanh(x)  z = %s(x) }"
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(net(text % "Relu"), net(text % "Abs"))


def test_outputs_of_another_shape_are_no_equals() -> None:
    with pytest.raises(AssertionError):
        assert_same_function(net(DENSE.replace("[6,2] v", "[6,1] v").replace("[N,2] y", "[N,1] y")), net(DENSE))


def test_rounding_is_told_from_a_difference_in_double_precision() -> None:
    rounded, plain = net(ROUNDED % ("30000", "30000")), net(PLAIN)
    assert distance(rounded, plain) > 1e-4
    assert_same_function(rounded, plain)
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(net(ROUNDED % ("30000", "30000.01")), plain)


def test_a_cast_to_single_precision_does_not_round_in_double_precision() -> None:
    text = ROUNDED.replace("a = Add(x, c)", "b = Add(x, c)  a = Cast<to=1>(b)")
    assert_same_function(net(text % ("30000", "30000")), net(PLAIN))


def test_silencing_changes_the_function() -> None:
    model = net(DENSE)
    quiet = silenced(model, {"v": {0: [1]}})
    assert_different_function(quiet, model)
    (y,) = run(quiet, feeds(model))
    hidden = np.tanh(feeds(model)["x"] @ model.tensor("w").value())
    hidden[:, 1] = 0
    np.testing.assert_allclose(y, hidden @ model.tensor("v").value(), rtol=1e-5, atol=1e-6)


def test_an_output_that_is_zero_up_to_rounding_is_zero() -> None:
    """The mean of what is left without its mean: in float32 noise, which two graphs of one function do not share."""
    text = """(float[1,3,8,8] x) => (float[1,6,1,1] y) <float[6,3,3,3] w, float three = {3.0}, float shift = {SHIFT}>
        { MADE  m = GlobalAveragePool(a)  s = Sub(a, m)  g = GlobalAveragePool(s)  y = Add(g, shift) }"""
    plain = net(text.replace("MADE", "a = Conv(x, w)").replace("SHIFT", "0.0"))
    thrice = text.replace("MADE", "h = Mul(x, three)  b = Conv(h, w)  a = Div(b, three)")
    assert distance(net(thrice.replace("SHIFT", "0.0")), plain) > 1e-2
    assert_same_function(net(thrice.replace("SHIFT", "0.0")), plain)
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_same_function(net(thrice.replace("SHIFT", "0.0000001")), plain)
