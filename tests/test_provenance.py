"""Every slot knows where it was in the input file."""

from __future__ import annotations

import numpy as np
from cuts import cut_at
from nets import NETS
from oracle import net

from onnxprune.axes.silencing import removed
from onnxprune.node import Axis
from onnxprune.provenance import Provenance, Source

W = Axis("w", 0)


def pairs(sources: tuple[Source, ...]) -> list[tuple[Axis, list[int]]]:
    return [(s.axis, s.slots.tolist()) for s in sources]


def test_an_axis_never_touched_stems_from_itself() -> None:
    provenance = Provenance({"w": (3,)})
    assert pairs(provenance.sources(W, 3)) == [(W, [0, 1, 2])]
    assert provenance.slots(W, 3).tolist() == [0, 1, 2]
    assert provenance.removed({"w": (3,)}) == {}


def test_two_cuts_in_a_row_refer_to_the_input_file() -> None:
    provenance = Provenance({"w": (6, 2)})
    provenance.keep(W, 6, np.array([0, 2, 3, 5]))
    assert provenance.removed({"w": (4, 2)}) == {"w": {0: [1, 4]}}
    provenance.keep(W, 4, np.array([1, 3]))
    assert pairs(provenance.sources(W, 2)) == [(W, [2, 5])]
    assert provenance.removed({"w": (2, 2)}) == {"w": {0: [0, 1, 3, 4]}}


def test_the_axes_of_a_tensor_are_kept_apart() -> None:
    provenance = Provenance({"w": (3, 3)})
    provenance.keep(W, 3, np.array([0, 1]))
    provenance.keep(Axis("w", 1), 3, np.array([1, 2]))
    assert provenance.removed({"w": (2, 2)}) == {"w": {0: [2], 1: [0]}}


def test_a_copy_goes_its_own_way() -> None:
    provenance = Provenance({"w": (3,)})
    twin = provenance.copy()
    twin.keep(W, 3, np.array([0]))
    assert provenance.removed({"w": (3,)}) == {}
    assert twin.removed({"w": (1,)}) == {"w": {0: [1, 2]}}


def test_a_tensor_that_a_pass_made_up_is_new() -> None:
    provenance = Provenance({"w": (3,)})
    new = Axis("new", 0)
    provenance.record(new, ())
    assert provenance.sources(new, 4) == ()
    assert provenance.slots(new, 4) is None
    provenance.keep(new, 4, np.array([0]))
    assert provenance.removed({"w": (3,), "new": (1,)}) == {}


def test_nothing_is_said_of_an_axis_whose_descendants_disagree() -> None:
    provenance = Provenance({"w": (3,)})
    twin = Axis("twin", 0)
    provenance.record(twin, (Source(W, np.arange(3)),))
    provenance.keep(W, 3, np.array([0]))
    provenance.keep(twin, 3, np.array([0, 1]))
    assert provenance.removed({"w": (1,), "twin": (2,)}) == {}
    assert provenance.slots(twin, 2) is None
    provenance.keep(twin, 2, np.array([0]))
    assert provenance.removed({"w": (1,), "twin": (1,)}) == {"w": {0: [1, 2]}}


def test_an_axis_may_stem_from_several() -> None:
    provenance = Provenance({"w": (2, 3)})
    flat = Axis("flat", 0)
    rows, columns = np.divmod(np.arange(6), 3)
    provenance.record(flat, (Source(W, rows), Source(Axis("w", 1), columns)))
    provenance.keep(flat, 6, np.array([0, 2]))
    assert provenance.removed({"flat": (2,)}) == {"w": {0: [1], 1: [1]}}


def test_a_tensor_of_the_file_that_becomes_a_constant_counts_from_then_on() -> None:
    provenance = Provenance({"w": (3,)})
    provenance.adopt("computed", (4,))
    provenance.keep(Axis("computed", 0), 4, np.array([1, 2, 3]))
    provenance.adopt("w", (9,))
    assert provenance.removed({"w": (3,), "computed": (3,)}) == {"computed": {0: [0]}}


CHAIN = """(float[1,3,4,4] x) => (float[1,2,4,4] y) <float[6,3,1,1] w, float[6] b, float[2,6,1,1] v>
    { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v) }"""


def test_a_cut_model_knows_what_it_lacks() -> None:
    model = net(CHAIN)
    once, spec = cut_at(model, "w[0]", 1, 4)
    assert spec == {"b": {0: [1, 4]}, "v": {1: [1, 4]}, "w": {0: [1, 4]}}
    twice, spec = cut_at(once, "w[0]", 1)
    assert spec == {"b": {0: [1, 2, 4]}, "v": {1: [1, 2, 4]}, "w": {0: [1, 2, 4]}}
    assert np.array_equal(twice.tensor("w").value(), model.tensor("w").value()[[0, 3, 5]])
    assert removed(model) == {}


def test_activations_are_followed_too() -> None:
    once, _ = cut_at(net(CHAIN), "w[0]", 1, 4)
    assert once.provenance.slots(Axis("r", 1), 4).tolist() == [0, 2, 3, 5]


def test_what_is_swept_away_is_not_listed() -> None:
    after, spec = cut_at(net(NETS["a loose end"]), "w[0]", 1)
    assert spec.keys() == {"w", "u", "v"}
    after.sweep()
    assert removed(after) == {"w": {0: [1]}, "v": {1: [1]}}
