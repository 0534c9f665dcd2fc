"""A graph run in steps computes what it does in one go, every node once for each sample, whatever is edited ahead."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from generator import random_feeds, random_model
from nets import NETS, OPSETS
from onnx import helper, numpy_helper
from oracle import RTOL, net, net_proto
from prunes import samples, wide

from onnxprune import taps
from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.runtime import Session
from onnxprune.stepwise import Stepwise
from onnxprune.taps import tapped

Values = list[dict[str, Any]]  # of every batch

RESIDUAL = """(float[N,3,6,6] x) => (float[N,4] y)
    <float[8,3,3,3] w, float[8] b, float[8,8,3,3] v, float[8,8,3,3] u, float[8,3,1,1] t, float[8,4] m>
    { a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  c = Conv<pads=[1,1,1,1]>(r, v)  d = Add(c, r)  e = Relu(d)
      f = Conv<pads=[1,1,1,1]>(e, u)  g = Conv(x, t)  h = Add(f, g)  i = Add(h, r)  p = GlobalAveragePool(i)
      q = Flatten(p)  y = MatMul(q, m) }"""
RUNS = "arcdefghipqy"  # the tensors, one for each node


def data_of(model: Model, count: int = 7) -> Calibration:
    return Calibration.load(samples(model, count), model)


def plain(model: Model, names: Sequence[str], data: Calibration, batch: int = 3) -> Values:
    """The tensors in one go, from the graph inputs."""
    session = tapped(model, names)
    return [dict(zip(session.outputs, session(feeds), strict=True)) for feeds in data.batches(batch)]


def walk(model: Model, groups: Sequence[Sequence[str]], data: Calibration, batch: int = 3) -> Iterator[Values]:
    """The tensors of one group after the other, each group in a step of its own."""
    steps = Stepwise(data, batch)
    for number, names in enumerate(groups):
        later = {name for group in groups[number + 1 :] for name in group}
        yield list(steps.batches(model, names, later))


def apart(one: Values, other: Values) -> float:
    """The largest difference, as a share of the largest value of the tensor; what is no number must be the same."""
    assert [list(values) for values in one] == [list(values) for values in other]
    return max((_apart(v[name], o[name]) for v, o in zip(one, other, strict=True) for name in v), default=0.0)


def _apart(one: Any, other: Any) -> float:
    if isinstance(one, list):
        return max((_apart(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    if one.dtype.kind != "f" or not np.isfinite(other).all():
        return 0.0 if np.array_equal(one, other, equal_nan=one.dtype.kind == "f") else np.inf
    scale = float(np.abs(other).max(initial=0)) or 1.0
    return float(np.abs(one.astype(np.float64) - other).max(initial=0)) / scale


def computed(model: Model) -> list[str]:
    """Every tensor that onnxruntime hands out, in the order of the graph."""
    return [t.name for node in model.nodes for t in node.outputs if t is not None and not t.fixed]


def held(steps: Stepwise) -> set[str]:
    return set(steps._boundary)


def files() -> int:
    """The unnamed files that this process holds."""
    gc.collect()
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).endswith("(deleted)") for link in links if os.path.lexists(link))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each node ran in sessions that ``tapped`` made."""
    found: Counter[str] = Counter()

    class Counted(Session):
        def __init__(self, proto: Any, **options: Any) -> None:
            self.nodes = [node.name for node in proto.graph.node]
            super().__init__(proto, **options)

        def __call__(self, *given: Any) -> Any:
            found.update(self.nodes)
            return super().__call__(*given)

    monkeypatch.setattr(taps, "Session", Counted)
    return found


# -- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_every_tensor_is_that_of_a_run_in_one_go(name: str) -> None:
    model = net(NETS[name], opset=OPSETS.get(name, 17))
    groups = [[each] for each in computed(model)]
    data = data_of(model, 2 * max(t.size(0) or 1 for t in model.inputs if t.rank))
    for names, found in zip(groups, walk(model, groups, data, 2), strict=True):
        assert apart(found, plain(model, names, data, 2)) <= RTOL


@pytest.mark.parametrize("seed", range(40))
def test_random_nets_in_random_steps_compute_the_same(seed: int) -> None:
    proto = random_model(seed)
    model, rng = Model.load(proto), np.random.default_rng(seed)
    feeds = [random_feeds(proto, seed + number) for number in range(2)]
    data = Calibration.load({name: np.stack([each[name] for each in feeds]) for name in feeds[0]}, model)
    names = computed(model)
    rng.shuffle(names)
    groups = [names[start : start + 3] for start in range(0, len(names), 3)]
    for group, found in zip(groups, walk(model, groups, data), strict=True):
        assert apart(found, plain(model, group, data)) <= RTOL


def test_inputs_and_constants_can_be_asked_for_too() -> None:
    model = net(RESIDUAL)
    data, steps = data_of(model), Stepwise(data_of(model), 3)
    assert apart(list(steps.batches(model, ["x", "w"])), plain(model, ["x", "w"], data)) == 0
    assert apart(list(steps.batches(model, ["m", "e", "x"], ["h"])), plain(model, ["m", "e", "x"], data)) <= RTOL
    assert apart(list(steps.batches(model, ["e", "h"])), plain(model, ["e", "h"], data)) <= RTOL


@pytest.mark.parametrize("groups", ["r d h i y", "i y", "e f g y", "rcd dei iy", "y d a", "g f e d"])
def test_steps_may_be_long_overlap_and_go_back(groups: str, runs: Counter[str]) -> None:
    model = net(RESIDUAL)
    data = data_of(model)
    found = list(walk(model, groups.split(), data))
    assert set(runs.values()) == {3}
    for names, values in zip(groups.split(), found, strict=True):
        assert apart(values, plain(model, names, data)) <= RTOL


def test_a_step_that_nobody_asked_for_is_made_up_for() -> None:
    model = net(RESIDUAL)
    data, steps = data_of(model), Stepwise(data_of(model), 3)
    list(steps.batches(model, "r", "dhy"))
    assert apart(list(steps.batches(model, "y", "")), plain(model, "y", data)) <= RTOL
    assert apart(list(steps.batches(model, "d", "")), plain(model, "d", data)) <= RTOL


# -- how often it runs -----------------------------------------------------------------------------------------------


def test_every_node_runs_once_a_batch(runs: Counter[str]) -> None:
    model = net(RESIDUAL)
    for _ in walk(model, RUNS, data_of(model)):
        pass
    assert runs == {node.name: 3 for node in model.nodes}
    runs.clear()
    for name in RUNS:
        plain(model, name, data_of(model))
    assert max(runs.values()) > 20


@pytest.mark.parametrize("depth", [4, 12])
def test_a_network_may_be_as_deep_as_it_likes(depth: int, runs: Counter[str]) -> None:
    """Nodes that no group asks for but that lie between those run once too, and the boundary stays as narrow."""
    blocks = "  ".join(
        f"a{k} = MatMul(s{k}, w)  r{k} = Relu(a{k})  m{k} = MatMul(r{k}, v)  s{k + 1} = Add(m{k}, s{k})"
        for k in range(depth)
    )
    model = net(f"(float[N,4] s0) => (float[N,4] y) <float[4,6] w, float[6,4] v> {{ {blocks}  y = Tanh(s{depth}) }}")
    groups = [[f"{kind}{k}"] for k in range(depth) for kind in "sr"]
    steps, data = Stepwise(data_of(model), 3), data_of(model)
    for number, names in enumerate(groups):
        found = list(steps.batches(model, names, {name for group in groups[number + 1 :] for name in group}))
        assert len(held(steps)) <= 2
    assert runs == {node.name: 3 for node in taps.part_of(model, groups[-1]).nodes}
    assert apart(found, plain(model, groups[-1], data)) <= RTOL


def test_of_the_boundary_only_what_is_needed_is_kept() -> None:
    model = net(RESIDUAL)
    steps = Stepwise(data_of(model), 3)
    for names, later, boundary in [("a", "dhy", "a"), ("d", "hy", "dr"), ("e", "y", "er"), ("g", "gy", "erg"),
                                   ("h", "y", "hr"), ("i", "y", "i"), ("q", "qy", "q"), ("y", "", "")]:  # fmt: skip
        list(steps.batches(model, names, later))
        assert held(steps) == set(boundary)


# -- what is edited ahead --------------------------------------------------------------------------------------------


def edited(model: Model, factor: float, *names: str) -> None:
    for name in names:
        model.put(name, factor * np.array(model.tensor(name).value()))


def test_nodes_run_with_the_weights_that_they_have_then() -> None:
    model = net(RESIDUAL)
    data, before, steps = data_of(model), model.copy(), Stepwise(data_of(model), 3)
    found = {"r": list(steps.batches(model, "r", "ehy"))}
    edited(model, 3, "v")
    found["e"] = list(steps.batches(model, "e", "hy"))
    edited(model, -2, "u", "t")
    found["h"] = list(steps.batches(model, "h", "y"))
    model.put("bias", np.ones(4, np.float32))
    model.insert("Add", ["y", "bias"], ["z"], name="biased")
    edited(model, 5, "m")
    found["z"] = list(steps.batches(model, "z"))
    for name, values in found.items():
        assert apart(values, plain(model, name, data)) <= RTOL
    assert all(apart(found[name], plain(before, name, data)) > 0.1 for name in "eh")


def test_a_bias_may_be_added_ahead() -> None:
    model = net(RESIDUAL)
    data, steps = data_of(model), Stepwise(data_of(model), 3)
    list(steps.batches(model, "e", "hy"))
    model.put("bias", np.arange(8, dtype=np.float32))
    model.set_input(model.node("Conv_5"), 2, "bias")
    assert apart(list(steps.batches(model, "h")), plain(model, "h", data)) <= RTOL


def test_what_has_run_does_not_run_again_with_other_weights() -> None:
    """The control: weights of a node that has run are not to be seen, and these tests would tell."""
    model = net(RESIDUAL)
    data, before, steps = data_of(model), model.copy(), Stepwise(data_of(model), 3)
    list(steps.batches(model, "r", "e"))
    edited(model, 3, "w")
    found = list(steps.batches(model, "e"))
    assert apart(found, plain(model, "e", data)) > 0.1
    assert apart(found, plain(before, "e", data)) <= RTOL


def test_a_weight_that_is_computed_from_another_is_computed_anew() -> None:
    model = net("""(float[N,4] x) => (float[N,4] y) <float[4,4] s, float[4,4] t>
                   { u = Transpose(s)  v = Add(u, t)  a = MatMul(x, u)  b = MatMul(a, v)  y = MatMul(b, t) }""")
    data, before, steps = data_of(model), model.copy(), Stepwise(data_of(model), 3)
    list(steps.batches(model, "au", "by"))
    assert held(steps) == {"a"}
    edited(model, 3, "t")
    assert apart(list(steps.batches(model, "yb")), plain(model, "yb", data)) <= RTOL
    assert apart(plain(before, "yb", data), plain(model, "yb", data)) > 0.1


# -- tensors of every kind -------------------------------------------------------------------------------------------


def check(model: Model, data: Calibration, names: Sequence[str], batch: int = 3) -> None:
    """Each in a step of its own is what it is in one go."""
    for name, found in zip(names, walk(model, [[name] for name in names], data, batch), strict=True):
        assert apart(found, plain(model, [name], data, batch)) <= RTOL


def test_what_a_subgraph_reads_is_kept_for_it(runs: Counter[str]) -> None:
    model = net("""(float[N,3] x, bool[N] c) => (float[M,2] y) <float[3,4] w, float[4,2] v, float[3,2] u>
        { a = MatMul(x, w)  h = Tanh(a)  p = ReduceSum(x)  z = Sub(p, p)  g = Greater(p, z)
          y = If (g) <then_branch = t () => (float[M,2] q) { q = MatMul(h, v) },
                      else_branch = e () => (float[M,2] o) { n = Neg(x)  o = MatMul(n, u) }> }""")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 3)).astype(np.float32)
    data = Calibration.load({"x": x, "c": np.ones(9, bool)}, model)
    steps = Stepwise(data, 2)
    list(steps.batches(model, ["h", "g"], ["y"]))
    assert held(steps) == {"h", "g"}
    edited(model, 3, "v", "u")
    found = list(steps.batches(model, ["y"]))
    assert set(runs.values()) == {5}
    assert apart(found, plain(model, ["y"], data, 2)) <= RTOL
    taken = {bool(values["g"]) for values in plain(model, ["g"], data, 2)}
    assert taken == {True, False}


def test_shapes_may_differ_from_batch_to_batch(runs: Counter[str]) -> None:
    model = net("""(float[N,5] x) => (float[M] y) <float zero = {0}, int64[1] all = {-1}>
        { f = Reshape(x, all)  g = Greater(f, zero)  n = NonZero(g)  t = Transpose(n)  v = GatherND(f, t)
          s = Shape(v)  c = Cast<to=1>(s)  e = Exp(v)  k = Size(v)  l = Cast<to=1>(k)
          m = Div(e, c)  y = Mul(m, l) }""")
    data, names = data_of(model, 11), "fgntvsceklmy"
    found = dict(zip(names, walk(model, names, data), strict=True))
    assert runs == {node.name: 4 for node in model.nodes}
    assert len({values["v"].shape for values in found["v"]}) > 1
    assert {values["k"].shape for values in found["k"]} == {()}
    assert all(apart(values, plain(model, name, data)) <= RTOL for name, values in found.items())


def test_an_empty_tensor_is_kept_as_such() -> None:
    model = net("""(float[N,5] x) => (int64[2,M] y) <float far = {1000}>
                   { g = Greater(x, far)  n = NonZero(g)  y = Neg(n) }""")
    check(model, data_of(model), ["g", "n", "y"])


KINDS = {"float": 1, "half": 10, "double": 11, "int32": 6, "int64": 7, "uint8": 2, "int8": 3, "bool": 9}
OTHERS = {"bfloat16": 16, "float8": 19, "string": 8}


@pytest.mark.parametrize("kind", [*KINDS.values(), *OTHERS.values()], ids=[*KINDS, *OTHERS])
def test_numbers_of_numpys_types_are_kept_and_others_computed_anew(kind: int) -> None:
    model = net(f"""(float[N,4] x) => (float[N,4] y) <float[4,4] w>
        {{ a = MatMul(x, w)  b = Abs(a)  h = Cast<to={kind}>(b)  c = Cast<to=1>(h)  i = Identity(h)
           y = Cast<to=1>(i) }}""", opset=19)  # fmt: skip
    data, steps = data_of(model), Stepwise(data_of(model), 3)
    for names, later, boundary in [("b", "cy", "b"), ("c", "y", "h" if kind in KINDS.values() else "b"), ("y", "", "")]:
        found = list(steps.batches(model, names, later))
        assert held(steps) == set(boundary)
        assert apart(found, plain(model, names, data)) <= RTOL


def test_a_sparse_weight_is_not_kept() -> None:
    """Nor could it be: onnxruntime gives it out as no array."""
    proto = net_proto("""(float[N,4] x) => (float[N,4] y) <float[4,4] w>
                         { a = MatMul(x, s)  b = MatMul(a, w)  y = MatMul(b, s) }""")
    parts = numpy_helper.from_array(np.array([2, 3], np.float32), "s"), numpy_helper.from_array(np.array([1, 6]))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(*parts, [4, 4]))
    model = Model.load(proto)
    steps, data = Stepwise(data_of(model), 3), data_of(model)
    list(steps.batches(model, "a", "by"))
    list(steps.batches(model, "b", "y"))
    assert held(steps) == {"b"}
    assert apart(list(steps.batches(model, "y")), plain(model, "y", data)) <= RTOL


def test_before_a_sequence_the_boundary_stays() -> None:
    model = net("""(float[N,4] x) => (float[N,4] y) <float[4,4] w, int64 one = {1}, float[2,4] v>
        { a = MatMul(x, w)  b = Tanh(a)  s = SplitToSequence<axis=1>(b)  e = SequenceAt(s, one)  n = Neg(e)
          t = SequenceInsert(s, n)  c = ConcatFromSequence<axis=1>(t)  l = SequenceLength(t)
          f = Cast<to=1>(l)  y = Mul(c, f) }""")
    data, steps = data_of(model), Stepwise(data_of(model), 3)
    for names, later, boundary in [("a", "bety", "a"), ("e", "tny", "be"), ("n", "cy", "bn"), ("t", "cy", "bn"),
                                   ("l", "yc", "bnl"), ("c", "y", "cl"), ("y", "", "")]:  # fmt: skip
        found = list(steps.batches(model, names, later))
        assert held(steps) == set(boundary)
        assert apart(found, plain(model, names, data)) <= RTOL


def test_a_node_of_several_outputs_of_which_some_are_kept_runs_once(runs: Counter[str]) -> None:
    model = net("""(float[N,6] x) => (float[N,2] y) <float[6,6] w, int64[3] parts = {2,2,2}>
        { a = MatMul(x, w)  b, c, d = Split<axis=1>(a, parts)  e = Exp(b)  f = Add(c, e)  y = Mul(f, d) }""")
    data = data_of(model)
    found = list(walk(model, "befy", data))
    assert runs == {node.name: 3 for node in model.nodes}
    assert all(apart(values, plain(model, name, data)) <= RTOL for name, values in zip("befy", found, strict=True))
    steps = Stepwise(data, 3)
    list(steps.batches(model, "b", "c"))
    assert held(steps) == {"c"}
    assert apart(list(steps.batches(model, "y")), plain(model, "y", data)) <= RTOL


def test_a_tensor_that_is_drawn_is_drawn_once() -> None:
    model = net("""(float[N,4] x) => (float[N,4] y)
        { r = RandomNormal<shape=[4,4], seed=1.0>()  a = MatMul(x, r)  b = MatMul(a, r)  y = Tanh(b) }""")
    steps = Stepwise(data_of(model), 3)
    first = list(steps.batches(model, "ra", "ry"))
    assert held(steps) == {"a", "r"}
    second = list(steps.batches(model, "ry"))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["r"], other["r"])
        np.testing.assert_allclose(np.tanh(one["a"] @ one["r"]), other["y"], rtol=1e-5, atol=1e-6)


# -- batches ---------------------------------------------------------------------------------------------------------


def test_a_graph_of_fixed_batch_gets_whole_batches() -> None:
    model = net(RESIDUAL.replace("N,", "2,"))
    check(model, data_of(model, 7), list("adhy"), 32)


def test_inputs_without_a_sample_axis_are_fed_one_by_one() -> None:
    model = net("""(float[5,4] x, float n) => (float[5,3] y) <float[4,4] w, float[4,3] v>
                   { a = MatMul(x, w)  m = Neg(n)  b = Mul(a, m)  y = MatMul(b, v) }""")
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=(4, 5, 4)), "n": rng.normal(size=4)}
    data = Calibration.load({name: value.astype(np.float32) for name, value in given.items()}, model)
    assert (data.bare, [len(values) for values in walk(model, "ab", data)]) == ({"x", "n"}, [4, 4])
    check(model, data, list("amby"))


def test_the_parts_of_a_split_are_run_apart() -> None:
    model = net(RESIDUAL)
    fit, tested = data_of(model, 10).split()
    for part in (fit, tested):
        check(model, part, list("dhy"))


# -- memory and disk -------------------------------------------------------------------------------------------------


def test_nothing_is_left_on_disk() -> None:
    model = net(RESIDUAL)
    data = data_of(model)
    before, steps = files(), Stepwise(data, 3)
    for names, later, count in (("a", "dhy", 1), ("d", "hy", 2), ("h", "hy", 2), ("y", "", 0)):
        for _ in steps.batches(model, names, later):
            assert files() > before
        assert files() == before + count
    list(steps.batches(model, "a", "dhy"))
    del steps
    assert files() == before


def test_a_step_that_was_broken_off_is_as_if_it_had_not_begun() -> None:
    model = net(RESIDUAL)
    data, before = data_of(model), files()
    steps = Stepwise(data, 3)
    list(steps.batches(model, "d", "hy"))
    broken = steps.batches(model, "h", "y")
    next(broken)
    broken.close()
    assert held(steps) == {"d", "r"}
    assert files() == before + 2
    assert apart(list(steps.batches(model, "h", "y")), plain(model, "h", data)) <= RTOL


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    model, found = wide(), {128: sys.maxsize, 2048: sys.maxsize}
    for count in (*found, *found):  # what else goes on in the process only adds
        found[count] = min(found[count], _peak(model, data_of(model, count)))
    assert found[2048] < 1.05 * found[128]


def _peak(model: Model, data: Calibration) -> int:
    steps = Stepwise(data, 64)
    tracemalloc.start()
    for names, later in (("a", "efy"), ("e", "fy"), ("f", "y"), ("y", "")):
        for values in steps.batches(model, names, later):
            del values
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_the_memory_of_one_batch_is_enough() -> None:
    """Where the caller drops a batch, none of it is there when the next is made."""
    model = net("(float[N,1000] x) => (float[N,1000] y) { a = Neg(x)  b = Exp(a)  y = Tanh(b) }")
    data = data_of(model, 200)
    one, ten = (_peak_of_a_step(model, data, batch) for batch in (200, 20))
    assert ten < 0.12 * one


def _peak_of_a_step(model: Model, data: Calibration, batch: int) -> int:
    steps = Stepwise(data, batch)
    list(steps.batches(model, "a", "by"))
    found = steps.batches(model, "b", "y")
    tracemalloc.start()
    for values in found:
        del values
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most
