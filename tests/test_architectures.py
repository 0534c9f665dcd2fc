"""Real architectures: exported graphs, their weights seeded, are pruned by half and held against silenced originals."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from oracle import net_proto

from benchmarks.architectures import stripped
from benchmarks.architectures.check import FOLDED, PLAIN, verdict
from benchmarks.architectures.comparison import RTOL, Comparison
from benchmarks.architectures.isolated import isolated
from benchmarks.architectures.listed import NETWORKS, SETTINGS, graphs

FOLDER = Path(__file__).parent / "architectures"
INDEX: dict[str, int] = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
SMALL = 2_800_000  # parameters of the graphs that every run checks


EVERY = [(name, passes) for name in INDEX for passes in (PLAIN, FOLDED)]
QUICK = [each for number, each in enumerate(EVERY) if INDEX[each[0]] <= SMALL and number % 4 in (0, 3)]  # in turns


@pytest.mark.parametrize(("name", "passes"), QUICK)
def test_a_small_architecture_pruned_by_half_is_its_silenced_original(name: str, passes: str) -> None:
    check(name, passes)


@pytest.mark.architectures
@pytest.mark.parametrize(("name", "passes"), [each for each in EVERY if each not in QUICK])
def test_an_architecture_pruned_by_half_is_its_silenced_original(name: str, passes: str) -> None:
    check(name, passes)


def check(name: str, passes: str) -> None:
    """A network of which nothing can go must say why, of every layer."""
    found = verdict(stripped.loaded(FOLDER / f"{name}.onnx.xz"), passes)
    assert found["status"] in ("equal", "whole"), found["why"]
    assert found["status"] == "equal" or found["skipped"]
    assert all(layer["why"] for layer in found["skipped"])


def test_the_corpus_holds_graphs_of_the_list_in_every_setting() -> None:
    listed = {str(graph): str(graph.setting) for graph in graphs()}
    assert len(listed) == len(graphs()) >= 200
    assert INDEX.keys() <= listed.keys()
    assert {f"{name}.onnx.xz" for name in INDEX} == {path.name for path in FOLDER.glob("*.xz")}
    assert {listed[name] for name in INDEX} == set(map(str, SETTINGS))


def test_all_settings_come_about_as_often_and_first_comes_one_graph_of_every_network() -> None:
    counts = Counter(graph.setting for graph in graphs() if graph.network.task != "detect")
    assert len(counts) == len(SETTINGS)
    assert max(counts.values()) - min(counts.values()) <= 3
    assert {graph.network for graph in graphs()} == set(NETWORKS)
    assert len({graph.network for graph in graphs()[:150]}) == 150


NET = """(float[1,3,8,8] x) => (float[1,32] y)
    <float[32,3,3,3] w, float[32] scale, float[32] b, float[32] m, float[32] var, float[32,32] u, float[3] few> {
    a = Conv<pads=[1,1,1,1]>(x, w)  n = BatchNormalization(a, scale, b, m, var)  r = Relu(n)
    g = GlobalAveragePool(r)  f = Flatten(g)  z = Gemm<transB=1>(f, u)  y = Add(z, b) }"""


def test_a_stripped_graph_is_filled_with_weights_of_the_same_kind() -> None:
    proto = net_proto(NET)
    before = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    stripped.strip(proto)
    assert proto.ByteSize() < 2000 < sum(value.nbytes for value in before.values())
    other = onnx.ModelProto.FromString(proto.SerializeToString())
    stripped.fill(proto)
    stripped.fill(other)
    assert proto == other
    after = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert np.array_equal(after["few"], before["few"])
    assert not np.array_equal(after["w"], before["w"])
    for name, value in before.items():
        assert (after[name].shape, after[name].dtype) == (value.shape, value.dtype)
        assert value.min() * (1 - 1e-3) - 1e-3 <= after[name].min() <= after[name].max() <= value.max() * (1 + 1e-3)
        assert after[name].std() == pytest.approx(value.std(), rel=0.5)
    assert [list(node.input) for node in proto.graph.node] == [list(node.input) for node in other.graph.node]
    assert verdict(proto, PLAIN)["status"] == "equal"


SELECTS = """(float[1,6] x) => (float[2,4] y, float[1,2] best)
    <float[6,40] s, float[6,160] w, int64[1] k, int64[2] shape> {
    scores = MatMul(x, s)  boxes = MatMul(x, w)  many = Reshape(boxes, shape)  best, index = TopK(scores, k)
    flat = Squeeze(index)  y = Gather(many, flat) }"""


def selecting(**shifts: float) -> onnx.ModelProto:
    """Two boxes of forty, whose two best scores are equal up to what ``shifts`` adds to one weight of a tensor."""
    proto = net_proto(SELECTS)
    tensors = {t.name: t for t in proto.graph.initializer}
    values = {name: np.array(onnx.numpy_helper.to_array(t)) for name, t in tensors.items()}
    values |= {"k": np.array([2]), "shape": np.array([40, 4])}
    values["s"][:, :2] = values["s"].max()
    for name, shift in shifts.items():
        values[name][:, 1] += shift
    for name, value in values.items():
        tensors[name].CopyFrom(onnx.numpy_helper.from_array(value, name))
    return onnx.shape_inference.infer_shapes(proto)


def test_a_selection_that_rounding_turns_is_given_to_both_graphs() -> None:
    feeds = {"x": np.ones((1, 6), np.float32)}
    reference = Comparison.with_(selecting(), feeds)
    turned = selecting(s=1e-6)
    assert not np.allclose(Comparison.with_(turned, feeds).outputs["y"], reference.outputs["y"], rtol=0.1)
    assert reference.distance(turned) <= RTOL
    assert reference.exact(turned, selecting()) <= RTOL


@pytest.mark.parametrize("weight", ["s", "w"])
def test_a_difference_before_and_behind_a_selection_is_seen(weight: str) -> None:
    reference = Comparison.with_(selecting(), {"x": np.ones((1, 6), np.float32)})
    wrong = selecting(**{weight: 0.01})
    assert reference.distance(wrong) > 10 * RTOL
    assert reference.exact(wrong, selecting()) > 10 * RTOL


def test_a_graph_that_cannot_be_read_is_refused_and_one_of_which_nothing_can_go_is_whole() -> None:
    odd = net_proto("(float[1,4] x) => (float[1,4] y) { y = Softmax(x) }")
    odd.graph.node[0].op_type = "NoSuchOperator"
    assert verdict(odd, PLAIN)["status"] == "refused"
    whole = verdict(net_proto("(float[1,4] x) => (float[1,5] y) <float[4,5] w> { y = MatMul(x, w) }"), PLAIN)
    assert whole["status"] == "whole"
    assert [(layer["parameters"], layer["kind"]) for layer in whole["skipped"]] == [(20, "signature")]


def test_work_that_raises_dies_or_takes_too_long_is_told_of() -> None:
    assert isolated(lambda: {"two": 1 + 1}, 60, 8) == {"two": 2}
    assert isolated(lambda: {"never": 1 // 0}, 60, 8)["error"].startswith("ZeroDivisionError")
    assert "within 0.2 s" in isolated(forever, 0.2, 8)["error"]
    assert "exit code 7" in isolated(dies, 60, 8)["error"]


def forever() -> dict[str, int]:
    """Never returns."""
    while True:
        pass


def dies() -> dict[str, int]:
    """Ends the process."""
    os._exit(7)
