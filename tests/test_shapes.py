"""Shapes that the file leaves open: read off a run, given, sampled, or taken for one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from oracle import net

from onnxprune.errors import UsageError
from onnxprune.model import Model
from onnxprune.shapes import concrete, input_shapes


def contributed(text: str, **weights: tuple[int, ...]) -> Model:
    """A model with operators of com.microsoft; weights are given by their shapes."""
    header = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]> net '
    proto = onnx.parser.parse_model(header + text)
    for name, shape in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    return Model.load(proto)


FUSED = """(float[N,3,8,8] x) => (float[N,2,8,8] y)
    { a = com.microsoft.FusedConv<activation="Relu">(x, w)  b = Relu(a)  y = Conv(b, v) }"""


def test_the_shape_of_a_contributed_operator_is_read_off_a_run() -> None:
    model = contributed(FUSED, w=(4, 3, 1, 1), v=(2, 4, 1, 1))
    assert model.tensor("a").shape == (None, 4, 8, 8)
    assert model.tensor("a").dtype == np.float32


def test_what_follows_it_has_a_shape_too() -> None:
    batch, *rest = contributed(FUSED, w=(4, 3, 1, 1), v=(2, 4, 1, 1)).tensor("b").shape
    assert not isinstance(batch, int)
    assert rest == [4, 8, 8]


def test_shapes_are_read_again_after_an_edit() -> None:
    model = contributed(FUSED, w=(4, 3, 1, 1), v=(2, 4, 1, 1))
    model.put("w", np.ones((5, 3, 1, 1), np.float32))
    model.put("v", np.ones((2, 5, 1, 1), np.float32))
    assert model.tensor("a").shape == (None, 5, 8, 8)
    assert any(v.name == "a" for v in model.proto().graph.value_info)


def test_what_cannot_be_run_stays_unknown() -> None:
    model = contributed("(float[1,4] x) => (float[1,4] y) { a = com.microsoft.NoSuchThing(x)  y = Relu(a) }")
    assert model.tensor("a").shape is None


def test_a_size_that_depends_on_the_values_stays_open() -> None:
    model = contributed("""(float[4] x) => (float[K] y)
        { i = NonZero(x)  t = Transpose(i)  g = GatherND(x, t)  y = com.microsoft.Gelu(g) }""")
    assert model.tensor("y").shape in ((None,), ("K",))


def test_so_does_one_that_happens_to_be_the_same_in_both_runs() -> None:
    """As the number of boxes that a detector finds in nothing, which may be the most it ever finds."""
    model = contributed("""(float[4] x) => (float[K] y) <float seven = {7.0}>
        { s = Sub(x, seven)  i = NonZero(s)  t = Transpose(i)  g = GatherND(x, t)  h = com.microsoft.Gelu(g)
          r = Relu(h)  y = Neg(r) }""")
    for name in "ghr":
        assert not isinstance((model.tensor(name).shape or (None,))[0], int)


def test_so_is_that_of_the_one_standard_operator_that_onnx_infers_nothing_of() -> None:
    model = net(
        """(float[N,4,8] x) => (float[A,B,C] y) <float[4] s, float[4] b>
        { g = GroupNormalization<num_groups=2>(x, s, b)  y = Relu(g) }""",
        opset=21,
    )
    assert model.tensor("g").shape == (None, 4, 8)


def test_other_standard_operators_are_never_run() -> None:
    model = net("(float[4] x, int64[K] t) => (float[A,B] y) { y = Reshape(x, t) }")
    assert model.tensor("y").shape == ("A", "B")


CHAIN = """(float[N,3,H,W] x) => (float[N,2,H,W] y) <float[4,3,3,3] w, float[2,4,1,1] v>
    { a = Conv<pads=[1,1,1,1]>(x, w)  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)
      u = Resize<mode="nearest">(p, , scales)  y = Conv(u, v) }"""


def chain() -> Model:
    text = CHAIN.replace("v>", "v, float[4] scales = {1, 1, 2, 2}>")
    return net(text)


def test_every_tensor_has_a_shape_once_the_inputs_have() -> None:
    shapes = concrete(chain(), {"x": (5, 3, 8, 6)})
    assert {n: shapes[n] for n in "xwapuy"} == {
        "x": (5, 3, 8, 6),
        "w": (4, 3, 3, 3),
        "a": (5, 4, 8, 6),
        "p": (5, 4, 4, 3),
        "u": (5, 4, 8, 6),
        "y": (5, 2, 8, 6),
    }


def test_what_stays_open_counts_as_one() -> None:
    model = net("(float[2,6] x, int64[2] t) => (float[A,B] y) { y = Reshape(x, t) }")
    assert concrete(model, {"x": (2, 6), "t": (2,)})["y"] == (1, 1)


def test_scalars_have_the_empty_shape() -> None:
    model = net("(float[2] x) => (float[2] y) <float s> { y = Mul(x, s) }")
    assert concrete(model, {"x": (2,)})["s"] == ()


def test_an_open_shape_of_a_shape_computed_in_the_graph_is_found() -> None:
    model = net("""(float[N,3,4] x) => (float[N,12] y) <int64[1] first = {0}, int64[1] rest = {-1}>
        { s = Shape(x)  n = Gather(s, first)  t = Concat<axis=0>(n, rest)  y = Reshape(x, t) }""")
    assert concrete(model, {"x": (5, 3, 4)})["y"] == (5, 12)


def test_open_sizes_come_from_what_is_given_then_from_a_sample_then_are_one() -> None:
    model = net("(float[N,3] x, float[N,M] z) => (float[N,3] y, float[N,M] t) { y = Relu(x)  t = Relu(z) }")
    assert input_shapes(model, {}) == {"x": (1, 3), "z": (1, 1)}
    assert input_shapes(model, {}, {"x": (7, 3), "z": (7, 9)}) == {"x": (7, 3), "z": (7, 9)}
    assert input_shapes(model, {"x": (4, 3)}, {"x": (7, 3), "z": (7, 9)}) == {"x": (4, 3), "z": (7, 9)}


def test_fixed_sizes_stand_above_a_sample() -> None:
    model = net("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    assert input_shapes(model, {}, {"x": (7, 3)}) == {"x": (2, 3)}
    assert input_shapes(model, {}, {"x": (7, 3, 1)}) == {"x": (2, 3)}


@pytest.mark.parametrize("wrong", [(2, 3), (1, 3, 4), (0, 4), (-1, 4)])
def test_a_given_shape_that_does_not_fit_is_refused(wrong: tuple[int, ...]) -> None:
    model = net("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    with pytest.raises(UsageError, match=r"--shape x=\[.*\] does not fit the model's \['N', 4\]"):
        input_shapes(model, {"x": wrong})


def test_a_shape_given_for_no_input_is_refused_and_the_nearest_named() -> None:
    model = net("(float[N,4] image) => (float[N,4] y) { y = Relu(image) }")
    with pytest.raises(UsageError, match=r"--shape: no graph input 'imag'; did you mean 'image'\?"):
        input_shapes(model, {"imag": (1, 4)})


def test_constants_listed_as_inputs_are_no_inputs() -> None:
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "c"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", 1, ["N"]), helper.make_tensor_value_info("c", 1, [1])],
            [helper.make_tensor_value_info("y", 1, ["N"])],
            [numpy_helper.from_array(np.ones(1, np.float32), "c")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    assert input_shapes(Model.load(proto), {}) == {"x": (1,)}
