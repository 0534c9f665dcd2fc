"""The rows X of a linear operator: X·Wᵀ + b is what onnxruntime computes at the positions that were drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from oracle import feeds, net, run

from onnxprune.axes.linear import Linear, linear
from onnxprune.model import Model
from onnxprune.patches import Rows, rows_of

ALL = 10**9
SIGNAL = "(float[3,4,11] x) => (float[3,6,A] y) <float[6,{},3] w, float[6] b>"
IMAGE = "(float[3,4,7,6] x) => (float[3,6,A,B] y) <float[6,{},3,2] w, float[6] b>"
VOLUME = "(float[2,4,5,4,3] x) => (float[2,6,A,B,C] y) <float[6,{},2,3,1] w, float[6] b>"
CONVS = {
    "signal": (SIGNAL, 4, [""]),
    "signal, padded": (SIGNAL, 4, ["pads=[2,1]", "strides=[2]", "dilations=[3]"]),
    "signal, of two groups": (SIGNAL, 2, ["group=2", "strides=[3]"]),
    "image": (IMAGE, 4, [""]),
    "image, its kernel written out": (IMAGE, 4, ["kernel_shape=[3,2]"]),
    "image, padded on one side": (IMAGE, 4, ["pads=[0,2,1,0]"]),
    "image, strided": (IMAGE, 4, ["strides=[2,3]"]),
    "image, dilated": (IMAGE, 4, ["dilations=[2,3]"]),
    "image, all of it": (IMAGE, 4, ["pads=[3,1,0,2]", "strides=[1,2]", "dilations=[2,1]"]),
    "image, of two groups": (IMAGE, 2, ["group=2", "pads=[1,1,1,1]"]),
    "volume": (VOLUME, 4, [""]),
    "volume, all of it": (VOLUME, 2, ["group=2", "pads=[0,1,0,1,0,1]", "strides=[2,1,1]", "dilations=[1,1,2]"]),
}
AUTO = [
    [f'auto_pad="{mode}"', f"strides={list(strides)}", f"dilations={list(dilations)}"]
    for mode, strides, dilations in itertools.product(
        ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"], [(1, 1), (2, 1), (3, 4)], [(1, 1), (2, 3)]
    )
    if mode in ("VALID", "NOTSET") or dilations == (1, 1)  # else onnxruntime refuses it
]


def conv(text: str, width: int, attributes: list[str]) -> Model:
    written = f"<{', '.join(attributes)}>" if attributes != [""] else ""
    return net(f"{text.format(width)} {{ y = Conv{written}(x, w, b) }}".replace(" ]", "]"))


def seen(model: Model) -> Linear:
    view = linear(model.nodes[0])
    assert view is not None
    return view


def sampled(model: Model, limit: int, seed: int = 0, batch: int = 2) -> Rows:
    """Rows of the model's inputs and outputs."""
    inputs = feeds(model, batch=batch)
    (y,) = run(model, inputs)
    return rows_of(seen(model), inputs["x"], y, limit, np.random.default_rng(seed))


def computed(model: Model, x: np.ndarray) -> np.ndarray:
    """X·Wᵀ + b, per group, by the definition of the operators."""
    view, attrs = seen(model), model.nodes[0].attrs
    weight = model.tensor("w").value().astype(np.float64)
    bias = model.tensor("b").value().astype(np.float64) if len(model.nodes[0].inputs) > 2 else np.zeros(1)
    if view.node.op == "Conv":
        groups = attrs.get("group", 1)
        weight, bias = weight.reshape(groups, len(weight) // groups, -1), bias.reshape(groups, 1, -1)
    else:
        weight = (weight if attrs.get("transB", 0) else weight.T)[None] * attrs.get("alpha", 1.0)
        bias = np.broadcast_to(bias, (1, weight.shape[1])) * attrs.get("beta", 1.0)
    return x @ weight.swapaxes(1, 2) + bias


def check(model: Model, limit: int = ALL) -> Rows:
    rows = sampled(model, limit)
    assert (rows.x.dtype, rows.y.dtype) == (np.float64, np.float64)
    np.testing.assert_allclose(computed(model, rows.x), rows.y, rtol=1e-4, atol=1e-5)
    return rows


# -- convolutions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "width", "attributes"), CONVS.values(), ids=CONVS.keys())
@pytest.mark.parametrize("limit", [ALL, 5])
def test_windows_of_every_convolution(text: str, width: int, attributes: list[str], limit: int) -> None:
    check(conv(text, width, attributes), limit)


@pytest.mark.parametrize("attributes", AUTO, ids=" ".join)
def test_windows_where_the_padding_is_worked_out(attributes: list[str]) -> None:
    check(conv(IMAGE, 4, attributes))


@pytest.mark.parametrize("bias", ["", ", b"])
def test_a_bias_makes_no_difference_to_the_windows(bias: str) -> None:
    text = f"{IMAGE.format(4)} {{ y = Conv(x, w{bias}) }}"
    np.testing.assert_array_equal(check(net(text)).x, check(conv(IMAGE, 4, [""])).x)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("pads=[1,0,0,0]", "pads=[0,0,1,0]", id="pads"),
        pytest.param("strides=[2,1]", 'strides=[2,1], auto_pad="VALID", dilations=[1,2]', id="dilations"),
        pytest.param('auto_pad="SAME_UPPER"', 'auto_pad="SAME_LOWER"', id="auto_pad"),
        pytest.param("strides=[2,2]", "strides=[2,2], pads=[1,1,0,0]", id="where it starts"),
    ],
)
def test_windows_of_another_convolution_are_seen(one: str, other: str) -> None:
    """The control."""
    model = conv(IMAGE, 4, [one])
    inputs = feeds(model)
    (y,) = run(model, inputs)
    rows = rows_of(seen(conv(IMAGE, 4, [other])), inputs["x"], y[:, :, :2, :2], ALL, np.random.default_rng(0))
    assert np.abs(computed(model, rows.x) - rows.y).max() > 0.1


# -- matrix products -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attributes", [[], ["alpha=0.5"], ["beta=2.0"], ["alpha=0.3", "beta=0.7"]], ids=" ".join)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", ["[6]", "[1,6]", "[1]", "", None])
def test_rows_of_every_gemm(attributes: list[str], transposed: bool, bias: str | None) -> None:
    given = [*attributes, *(["transB=1"] if transposed else [])]
    weight, written = "[6,4]" if transposed else "[4,6]", f"<{', '.join(given)}>" if given else ""
    declared, read = ("", "") if bias is None else (f", float{bias} b", ", b")
    model = net(f"(float[N,4] x) => (float[N,6] y) <float{weight} w{declared}> {{ y = Gemm{written}(x, w{read}) }}")
    check(model)


@pytest.mark.parametrize("axes", ["", "5,", "5,2,", "N,", "N,3,", "2,M,"])
def test_rows_of_a_matmul_of_any_rank(axes: str) -> None:
    model = net(f"(float[{axes}4] x) => (float[{axes}6] y) <float[4,6] w> {{ y = MatMul(x, w) }}")
    rows = check(model)
    assert rows.x.shape[1] == np.prod([int(a) if a.isdigit() else 2 for a in axes.split(",") if a], dtype=int)


# -- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (7, 7), (29, 29), (30, 30), (31, 30), (ALL, 30)])
def test_no_more_rows_are_drawn_per_sample_than_the_limit_nor_than_there_are(limit: int, expected: int) -> None:
    model = conv(IMAGE, 4, ["pads=[0,0,0,1]"])  # 5 × 6 positions
    rows = sampled(model, limit)
    assert rows.x.shape == (1, 3 * expected, 4 * 3 * 2)
    assert rows.y.shape == (1, 3 * expected, 6)
    assert len(np.unique(rows.x[0], axis=0)) == 3 * expected


def test_rows_are_drawn_by_the_generator_alone() -> None:
    model = conv(IMAGE, 4, [""])
    one, again, other = (sampled(model, 5, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.x, again.x)
    assert not np.array_equal(one.x, other.x)


def test_every_position_is_drawn_equally_often() -> None:
    model = net("(float[N,1,3,4] x) => (float[N,1,3,4] y) <float[1,1,1,1] w> { y = Conv(x, w) }")
    x = np.broadcast_to(np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4), (600, 1, 3, 4))
    rows = rows_of(seen(model), x, x, 4, np.random.default_rng(0))
    counts = np.bincount(rows.x.ravel().astype(int), minlength=12)
    assert counts.sum() == 600 * 4
    assert 160 <= counts.min() <= counts.max() <= 240  # 200 expected, standard deviation 12


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(IMAGE.format(4) + "{ y = Conv(x, w, b) }", id="Conv"),
        pytest.param("(float[3,20,4] x) => (float[3,20,6] y) <float[4,6] w> { y = MatMul(x, w) }", id="MatMul"),
    ],
)
def test_samples_one_by_one_give_the_same_rows_as_all_at_once(text: str) -> None:
    model = net(text)
    inputs = feeds(model)["x"]
    (y,) = run(model, {"x": inputs})
    rng = np.random.default_rng(0)
    singles = [rows_of(seen(model), inputs[i : i + 1], y[i : i + 1], 5, rng) for i in range(3)]
    whole = rows_of(seen(model), inputs, y, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(np.concatenate([r.x for r in singles], axis=1), whole.x)
    np.testing.assert_array_equal(np.concatenate([r.y for r in singles], axis=1), whole.y)
