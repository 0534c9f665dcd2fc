"""What is said of the layers that read channels is what least squares over their rows comes to."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import net
from prunes import calibrated, samples, views
from readings import Rows, rows

from onnxprune.analyses.channels import ChannelGroups
from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.calibrate import Calibration
from onnxprune.healing import store
from onnxprune.model import Model
from onnxprune.moments import read
from onnxprune.node import Array, Axis
from onnxprune.readers import Reader, _ridge, readers_of, readings, rest_of
from onnxprune.stepwise import Stepwise
from onnxprune.taps import tapped

CASES = {
    "one column each": rows(),
    "four columns each": rows(1, channels=5, width=4),
    "without bias": rows(2, biased=False),
    "more columns than outputs, without bias": rows(3, channels=4, width=3, outputs=2, biased=False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_lost_is_the_error_of_least_squares_without_the_first_atoms(case: Rows) -> None:
    atoms = np.unique(case.atoms)
    order = np.random.default_rng(4).permutation(atoms)
    lost, expected = case.reader().lost(order), [case.solved(order[:k])[1] for k in range(len(order) + 1)]
    np.testing.assert_allclose(lost, expected, rtol=1e-8, atol=1e-12)
    other = [case.solved(order[::-1][:k])[1] for k in range(len(order) + 1)]
    assert np.abs(lost - other).max() > 0.01


def test_atoms_that_are_not_ranked_stay() -> None:
    case, order = rows(), np.array([4, 1])
    np.testing.assert_allclose(case.reader().lost(order), [0, case.solved(order[:1])[1], case.solved(order)[1]])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_rest_is_what_least_squares_makes_of_it(case: Rows) -> None:
    gone, reader = np.array([0, 2]), case.reader()
    left, _ = case.solved(gone)
    rest = reader.rest(gone)
    np.testing.assert_allclose(rest[:, :-1], left, rtol=1e-7, atol=1e-9)
    y, z = case.x @ case.w.T + reader.weights[:, -1], case.x[:, ~np.isin(case.atoms, gone)] @ left.T
    if case.biased:
        np.testing.assert_allclose(rest[:, -1], np.mean(y - z, axis=0))
    else:
        np.testing.assert_array_equal(rest[:, -1], 0)
    assert np.abs(left - case.w[:, ~np.isin(case.atoms, gone)]).max() > 0.01


# -- layers of a network ---------------------------------------------------------------------------------------------

CONV = "(float[N,3,5,4] x) => ({} y) <float[8,3,3,3] w, float[8] b, {}> {{ a = Conv(x, w, b)  r = Relu(a)  {} }}"
DENSE = (
    "(float[N,4] x) => (float[N,6] y) <float[4,8] w, float[8,6] v> { a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, v) }"
)
NETS = {
    "Conv": CONV.format("float[N,6,A,B]", "float[6,8,2,1] v, float[6] c", "y = Conv<pads=[1,0,1,0]>(r, v, c)"),
    "grouped Conv": CONV.format("float[N,6,A,B]", "float[6,4,1,1] v", "y = Conv<group=2>(r, v)"),
    "flattened": CONV.format("float[N,6]", "float[48,6] v, float[6] c", "f = Flatten(r)  y = Gemm(f, v, c)"),
    "MatMul": DENSE,
}  # fmt: skip


def found(model: Model, data: dict[str, Array] | None = None) -> tuple[Group, list[Reader], Calibration]:
    """The group of 'w', what reads it, and the data that its sums are taken over."""
    ctx = calibrated(model, data)
    assert ctx.calibration is not None
    axis = Axis("w", 0 if "Conv" in model.nodes[0].op else 1)
    group = next(each for each in model.get(ChannelGroups(), ctx) if axis in each.atoms)
    layers, fit = readers_of(model, model, group), ctx.calibration.split()[0]
    sums = read(model, layers, Stepwise(fit), fit.count, seed=0)
    return group, [r for view, each in zip(layers, sums, strict=True) for r in readings(view, group, each)], fit


def outputs(model: Model, data: Calibration) -> Array:
    """'y' as [rows, channels], by a run of the network."""
    y = np.concatenate([tapped(model, ["y"])(feeds)[0] for feeds in data.batches()]).astype(np.float64)
    return np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])


@pytest.mark.parametrize("text", NETS.values(), ids=NETS.keys())
def test_the_signal_is_the_spread_of_what_the_layer_makes(text: str) -> None:
    model = net(text)
    _, readers, fit = found(model)
    y = outputs(model, fit)
    centre = 0 if "MatMul(r" in text else y.mean(axis=0)
    assert sum(reader.signal for reader in readers) == pytest.approx(np.sum((y - centre) ** 2), rel=1e-5)
    wrong = y.mean(axis=0) - centre
    assert sum(reader.signal for reader in readers) != pytest.approx(np.sum((y - wrong) ** 2), rel=1e-2)


@pytest.mark.parametrize("text", NETS.values(), ids=NETS.keys())
def test_a_network_without_the_channels_is_off_by_what_was_said(text: str) -> None:
    """What a run is off by, and what the ridge holds the weights back by, is what ``lost`` says."""
    model = net(text)
    group, readers, fit = found(model)
    gone = np.array([3, 1])
    less = model.copy()
    cut(less, group.slots(gone))
    raw = outputs(less, fit)
    store(less, rest_of(less, readers, gone))
    held_back = 0.0
    for reader in readers:
        kept = ~np.isin(reader.atoms, gone)
        change = np.zeros((len(reader.weights), len(reader.atoms)))
        change[:, kept] = reader.rest(gone)[:, :-1]
        held_back += _ridge(reader.spread) * float(np.sum((change - reader.weights[:, :-1]) ** 2))
    y, z = outputs(model, fit), outputs(less, fit)
    said = sum(reader.lost(gone)[-1] * reader.signal for reader in readers)
    assert np.sum((y - z) ** 2) == pytest.approx(said - held_back, rel=1e-4)
    assert np.sum((y - raw) ** 2) > 1.2 * said


def test_every_group_of_a_convolution_reads_channels_of_its_own() -> None:
    """An atom holds a channel of each group, so that all stay alike."""
    _, (one, other), _ = found(net(NETS["grouped Conv"]))
    assert one.atoms.tolist() == other.atoms.tolist() == [0, 1, 2, 3]
    assert np.abs(one.spread - other.spread).max() > 0.1 * np.abs(one.spread).max()
    _, (flat,), _ = found(net(NETS["flattened"]))
    assert flat.atoms.tolist() == np.repeat(np.arange(8), 6).tolist()


def test_zeros_are_counted_where_the_layer_reads_them() -> None:
    model = net(NETS["flattened"])
    _, (reader,), fit = found(model)
    values = np.concatenate([tapped(model, ["f"])(feeds)[0] for feeds in fit.batches()])
    np.testing.assert_allclose(reader.zeros, np.mean(values == 0, axis=0))
    assert 0.2 < reader.zeros.mean() < 0.8


def test_channels_that_are_constant_have_no_spread_and_cost_nothing() -> None:
    """The sums over many rows leave a rounding, of either sign, where there is no spread at all."""
    model = net(CONV.format("float[N,6,A,B]", "float[6,8,1,1] v", "y = Conv(r, v)"))
    model.put("w", np.zeros((8, 3, 3, 3), np.float32))
    model.put("b", np.random.default_rng(0).uniform(1, 3, 8).astype(np.float32))
    _, (reader,), _ = found(model, samples(model, 300))
    assert not reader.spread.any()
    assert reader.lost(np.arange(8)).max() < 1e-20
    np.testing.assert_allclose(reader.rest(np.arange(4))[:, -1], reader.weights[:, :4] @ reader.mean[:4], rtol=1e-6)
    assert found(net(CONV.format("float[N,6,A,B]", "float[6,8,1,1] v", "y = Conv(r, v)")))[1][0].spread.all()


@pytest.mark.parametrize(("name", "place"), [("w", (3, 0, 0, 0)), ("v", (3, 0, 0, 0))])
def test_where_numbers_are_not_finite_nothing_is_said(name: str, place: tuple[int, ...]) -> None:
    model = net(NETS["Conv"])
    value = np.array(model.tensor(name).value())
    value[place] = np.nan
    assert found(model)[1]
    model.put(name, value)
    assert not found(model)[1]


def test_layers_that_hand_their_channels_on_and_those_that_cannot_be_refitted_are_no_readers() -> None:
    model = net("""(float[N,3,5,4] x) => (float[N,6,5,4] y, float[N,6,5,4] z)
        <float[8,3,1,1] w, float[8,1,3,3] d, float[6,8,1,1] v>
        { a = Conv(x, w)  r = Relu(a)  e = Conv<group=8, pads=[1,1,1,1]>(r, d)  y = Conv(e, v)  z = Conv(r, v) }""")
    assert not found(model)[1]
    assert [view.weight.name for view in views(model)] == ["w", "d", "v", "v"]
    model.put("u", model.tensor("v").value())
    model.set_input(model.nodes[-1], 1, "u")
    assert len(found(model)[1]) == 2
