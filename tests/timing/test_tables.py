"""Layer times are measured where somebody asks, by whole blocks, once for each place that they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from clocks import FakeClock
from contexts import context
from nets import NETS, OPSETS
from oracle import net
from prunes import views

from onnxprune.cache import Cache
from onnxprune.model import Model
from onnxprune.runtime import Session
from onnxprune.shapes import concrete
from onnxprune.timing.clock import Onnxruntime, Run
from onnxprune.timing.layers import Layer, layer_of
from onnxprune.timing.tables import Table

ONE = """(float[1,32,8,8] x) => (float[1,48,8,8] y) <float[48,32,3,3] w, float[48] b>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  y = Relu(a) }"""
DEPTHWISE = """(float[1,32,8,8] x) => (float[1,32,8,8] y) <float[32,1,3,3] w>
    { y = Conv<group=32, pads=[1,1,1,1]>(x, w) }"""


@dataclass
class Counting:
    """The fake clock, which notes down what it was asked for: (rows, columns) of the weights."""

    inner: FakeClock = field(default_factory=FakeClock)
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def block(self) -> int:
        """That of the inner clock."""
        return self.inner.block

    def fingerprint(self) -> str:
        """That of the inner clock."""
        return self.inner.fingerprint()

    def milliseconds(self, runs: Sequence[Run], seconds: float = 1.0) -> list[float]:
        """Note down, and ask the inner clock."""
        weights = [{t.name: t.dims for t in proto.graph.initializer}["w"] for proto, _ in runs]
        self.asked += [(dims[0], dims[1]) for dims in weights]
        return self.inner.milliseconds(runs, seconds)


def layer(text: str) -> Layer:
    model = net(text)
    found = layer_of(model, views(model)[0], concrete(model, {}))
    assert found is not None
    return found


def table(text: str = ONE, clock: Counting | None = None, cache: Cache | None = None) -> Table:
    return Table(layer(text), clock or Counting(), cache or Cache(None))


def test_a_time_is_that_of_whole_blocks() -> None:
    times = table().at(np.array([48, 47, 41, 40, 33]), 32)
    assert times.tolist() == pytest.approx([6 * 4 * 9 / 1000 + 2e-3] * 3 + [5 * 4 * 9 / 1000 + 2e-3] * 2)


def test_between_the_lines_of_the_grid_time_is_linear_in_blocks() -> None:
    clock = Counting()
    wide = table(ONE.replace("48", "512"), clock)
    rows = np.arange(8, 520, 8)
    assert wide.at(rows, 32).tolist() == pytest.approx((rows // 8 * 4 * 9 / 1000 + 2e-3).tolist())
    assert len(clock.asked) < 14


def test_rows_and_columns_may_both_be_many_and_one() -> None:
    one, many = table(), table()
    pairs = [(r, c) for r in (8, 24, 48) for c in (8, 16, 32)]
    grid = many.at(np.array([8, 24, 48])[:, None], np.array([8, 16, 32]))
    assert grid.ravel().tolist() == pytest.approx([float(one.at(*pair)) for pair in pairs])


def test_nothing_is_measured_that_nobody_asks_for_and_nothing_twice() -> None:
    clock = Counting()
    asked = table(clock=clock)
    asked.at(48, 32)
    asked.at(np.array([48, 47]), np.array([31, 32]))
    assert clock.asked == [(48, 32)]
    asked.at(np.array([48, 40]), 32)
    assert clock.asked == [(48, 32), (40, 32)]


def test_times_are_kept_for_the_same_layer_on_the_same_machine_only(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    table(clock=Counting(), cache=cache).at(48, 32)
    same, threads, other = Counting(), Counting(FakeClock(other=3.0)), Counting()
    table(clock=same, cache=cache).at(48, 32)
    table(clock=threads, cache=cache).at(48, 32)
    table(ONE.replace("8,8]", "9,9]"), clock=other, cache=cache).at(48, 32)
    assert not same.asked
    assert threads.asked
    assert other.asked


def test_the_channels_of_a_depthwise_layer_are_its_groups() -> None:
    proto, feeds = layer(DEPTHWISE).run(16, 1)
    (y,) = Session(proto)(feeds)
    assert y.shape == (1, 16, 8, 8)


def test_an_activation_behind_a_layer_is_measured_with_it() -> None:
    assert layer(ONE).activation == "Relu"
    assert len(layer(ONE).run(48, 32)[0].graph.node) == 2
    assert layer(ONE.replace("y = Relu(a)", "y = Neg(a)")).activation is None


@pytest.mark.parametrize("name", NETS)
def test_layers_run_on_their_own_in_fewer_channels(name: str) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    shapes = concrete(model, context(model).shapes)
    for view in views(model):
        if (found := layer_of(model, view, shapes)) is not None:
            rows, columns = found.sizes
            for size in {(rows, columns), (max(rows // 2, 1), columns), (rows, max(columns // 2, 1))}:
                proto, feeds = found.run(*size)
                Session(proto)(feeds)


def test_layers_of_one_network_have_the_shapes_that_they_have_there() -> None:
    model: Model = net(ONE)
    proto, feeds = layer(ONE).run(48, 32)
    assert feeds["x"].shape == model.inputs[0].shape
    assert Session(proto)(feeds)[0].shape == model.outputs[0].shape


def test_onnxruntime_takes_longer_for_more() -> None:
    clock, wide = Onnxruntime(), layer(ONE.replace("8,8]", "40,40]"))
    one, four = clock.milliseconds([wide.run(16, 8), wide.run(48, 32)], seconds=0.05)
    assert 0 < one < four


def test_a_clock_says_what_times_depend_on() -> None:
    assert Onnxruntime(1).fingerprint() != Onnxruntime(2).fingerprint()
    assert Onnxruntime(1).block in (8, 16)
