"""What ``prune`` reports: what it did, and for every layer that it left as it was the reason why."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from generator import random_model
from nets import NETS, OPSETS
from oracle import net
from prunes import calibrated, channels, prune, wide

from benchmarks.data import MODELS
from onnxprune.axes.linear import linear
from onnxprune.axes.reasons import KINDS
from onnxprune.manager import PassRecord
from onnxprune.model import Model


def reasons(record: PassRecord) -> dict[str, list[str]]:
    """Why the nodes named were left."""
    found: dict[str, list[str]] = {}
    for skip in record.skipped:
        found.setdefault(skip.where, []).append(skip.why)
    return found


def uncut(after: Model, before: Model) -> set[str]:
    """The nodes that make as many channels as before."""
    views = [view for node in after.nodes if (view := linear(node)) is not None]
    sizes = channels(before)
    return {v.node.name for v in views if v.weight.size(v.rows) == sizes[v.weight.name]}


@pytest.mark.parametrize("goal", [{"ratio": "40%"}, {"macs": "70%"}, {"macs": "1%"}])
@pytest.mark.parametrize("name", NETS)
def test_every_layer_that_keeps_all_its_channels_has_a_reason(name: str, goal: dict[str, str]) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    after, record = prune(model, **goal, align=1)
    assert uncut(after, model) <= reasons(record).keys()
    for why in (why for each in reasons(record).values() for why in each):
        assert re.fullmatch(r"(\d+ of \d+ channels )?not pruned: \S.*", why)


def test_every_layer_of_a_random_net_that_keeps_all_its_channels_has_a_reason() -> None:
    layers = 0
    for seed in range(60):
        model = Model.load(random_model(seed))
        after, record = prune(model, macs="60%", align=1)
        assert not record.changed or uncut(after, model) <= reasons(record).keys(), seed
        layers += len(uncut(after, model))
    assert layers >= 60


NETWORKS = [pytest.param(lambda name=name: net(NETS[name], OPSETS.get(name, 17)), id=name) for name in NETS]
NETWORKS += [pytest.param(lambda path=path: Model.load(path), id=path.stem) for path in sorted(MODELS.glob("*.onnx"))]


@pytest.mark.parametrize("load", NETWORKS)
def test_every_layer_left_whole_has_a_reason_for_programs_and_what_is_to_blame(load: Callable[[], Model]) -> None:
    model = load()
    after, record = prune(model, macs="1%")
    read = {node.name: {t.name for t in node.tensors()} for node in model.nodes}
    signature = {t.name for t in (*model.inputs, *model.outputs)}
    assert uncut(after, model) <= {skip.where for skip in record.skipped}
    for skip in record.skipped:
        assert skip.kind in KINDS
        if skip.kind in ("align", "floor"):
            assert skip.node is skip.tensor is None
        elif skip.kind == "signature":
            made = model.producer(skip.tensor)
            assert skip.tensor in signature
            assert skip.node == (made and made.name)
        else:
            assert skip.tensor in read[skip.node] or skip.tensor is None


@pytest.mark.parametrize(
    ("kind", "name", "options", "layer", "node", "tensor"),
    [
        ("signature", "chain", {"macs": "1%"}, "Conv_2", "Conv_2", "y"),
        ("subgraph", "a branch beside", {"macs": "1%"}, "Conv_1", "If_2", "b"),
        ("operator", "channels mixed over positions", {"macs": "1%"}, "MatMul_1", "Conv_2", "b"),
        ("recipe", "chain", {"macs": "1%", "keep": ["Conv_0"]}, "Conv_0", None, None),
        ("align", "chain", {"macs": "1%", "align": 8}, "Conv_0", None, None),
        ("floor", "chain", {"macs": "1%", "min": 6}, "Conv_0", None, None),
        ("goal", "joined", {"macs": "95%"}, "Conv_0", None, None),
    ],
)
def test_a_reason_says_what_kind_it_is_and_where_it_lies(
    kind: str, name: str, options: dict[str, str], layer: str, node: str | None, tensor: str | None
) -> None:
    record = prune(net(NETS[name]), **{"align": 1, **options})[1]
    found = [skip for skip in record.skipped if skip.where == layer]
    assert [(skip.kind, skip.node, skip.tensor) for skip in found] == [(kind, node, tensor)]


@pytest.mark.parametrize("name", NETS)
def test_a_layer_that_is_cut_is_not_said_to_be_whole(name: str) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    after, record = prune(model, ratio="50%", align=1, min=1)
    cut = {n.name for n in after.nodes if linear(n) is not None} - uncut(after, model)
    whole = {where for where, why in reasons(record).items() if any(each.startswith("not pruned") for each in why)}
    assert cut
    assert not cut & whole


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        pytest.param(NETS["chain"], "Conv_2", "not pruned: graph output 'y'", id="an output"),
        pytest.param(NETS["channels mixed over positions"], "MatMul_1", "not pruned: spatial: read by a kernel window",
                     id="a window"),
        pytest.param(NETS["a branch beside"], "Conv_1", "not pruned: read or written by the subgraph of If 'If_2'",
                     id="a subgraph"),
        pytest.param(NETS["part of it is an output"], "Conv_0", "3 of 6 channels not pruned: graph output 'z'",
                     id="a part of it"),
        pytest.param(
            """(float[2,3,6,6] x) => (float[2,2,6,6] y) <float[6,3,1,1] w, float[2,6,1,1] v>
               { a = Conv(x, w)  b = Bernoulli(a)  y = Conv(b, v) }""",
            "Conv_0", "not pruned: Bernoulli 'Bernoulli_1': what it draws depends on how much it draws",
            id="a barrier"),
    ],
)  # fmt: skip
def test_the_reason_is_what_is_in_the_way(text: str, where: str, why: str) -> None:
    assert why in reasons(prune(net(text), ratio="50%", align=1)[1])[where]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        pytest.param("""(float[2,6,5,5] x) => (float[2,2,A,B] y) <float[6,8,2,2] w, float[2,8,1,1] v>
                        { a = ConvTranspose(x, w)  b = Softmax<axis=1>(a)  y = Conv(b, v) }""", "ConvTranspose_0",
                     id="ConvTranspose"),
        pytest.param("(float[2,1,3] x) => (float[2,1,1,4] y) <float[1,16,3] w, float[1,16,4] r> "
                     "{ y = LSTM<hidden_size=4>(x, w, r) }", "LSTM_0", id="LSTM"),
        pytest.param("""(float[2,3,5,5] x) => (float[2,2,5,5] y) <float[8,3,1,1] s, float[2,8,1,1] v>
                        { w = Softmax<axis=0>(s)  a = Conv(x, w)  y = Conv(a, v) }""", "Conv_1",
                     id="a weight that is computed"),
        pytest.param("""(float[2,3,5,5] x, float[8,3,1,1] w) => (float[2,2,5,5] y) <float[8] b, float[2,8,1,1] v>
                        { a = Conv(x, w, b)  y = Conv(a, v) }""", "Conv_0", id="a weight that is an input"),
    ],
)  # fmt: skip
def test_operators_with_weights_that_cannot_be_pruned_have_a_reason_too(text: str, where: str) -> None:
    (why,) = reasons(prune(net(text), ratio="50%", align=1)[1])[where]
    assert re.fullmatch(r"not pruned: \S.*", why)


def test_a_layer_that_the_plan_leaves_is_told_so() -> None:
    record = prune(wide(), macs="95%", align=1)[1]
    assert reasons(record) == {
        "Conv_2": ["not pruned: others do less harm for what they save"],
        "Conv_4": ["not pruned: others do less harm for what they save"],
        "MatMul_7": ["not pruned: graph output 'y'"],
    }
    record = prune(wide(), ratio="20%", align=8)[1]
    assert reasons(record)["Conv_0"] == ["not pruned: ratio=20% of its channels is less than may go with align=8"]


def test_the_note_counts_channels_and_groups() -> None:
    assert prune(wide(), ratio="50%", align=1)[1].note == "removed 52 of 104 channels in 3 of 3 groups"
    assert prune(wide(), ratio="20%", align=8)[1].note == "removed 8 of 104 channels in 1 of 3 groups"
    model = wide()
    healed = prune(model, calibrated(model), ratio="50%", align=1, heal="auto")[1].note
    assert re.fullmatch(
        r"removed 52 of 104 channels in 3 of 3 groups; "
        r"healed 3 of 3 layers, outputs -?[\d.]+ → [\d.]+ dB; "
        r"1 layers have more unknowns than rows: give about 384 samples instead of 60",
        healed,
    )


def test_without_data_there_is_no_word_of_healing_but_one() -> None:
    assert prune(wide(), ratio="50%", heal="auto")[1].note.endswith("; nothing to heal")


def test_a_record_shows_the_options_that_were_given() -> None:
    record = prune(wide(), macs="50%", keep=["Conv_0"], align=4)[1]
    assert record.options == {"macs": "50%", "align": 4, "keep": ["Conv_0"], "heal": "none"}


def test_what_is_replaced_does_not_stay_behind() -> None:
    text = """(float[N,3,4,4] x) => (float[N,2] y)
        <float[6,3,1,1] w, int64[4] s = {0,6,4,4}, int64[2] t = {-1,96}, float[96,2] v>
        { a = Conv(x, w)  b = Reshape(a, s)  r = Relu(b)  c = Reshape(r, t)  y = MatMul(c, v) }"""
    after, _ = prune(net(text), ratio="50%", align=1)
    read = {t.name for node in after.nodes for t in node.tensors()}
    assert {t.name for t in after.constants} <= read
    assert len(after.constants) == 4


@pytest.mark.parametrize(
    "options", [{"ratio": "50%"}, {"macs": "60%", "align": 1}, {"params": "60%", "keep": "Conv_2"}]
)
def test_equal_inputs_give_equal_bytes(options: dict[str, str]) -> None:
    runs = [prune(wide(), **options) for _ in range(2)]
    one, other = (after.proto().SerializeToString(deterministic=True) for after, _ in runs)
    assert one == other
    assert runs[0][1].note == runs[1][1].note
    assert runs[0][1].skipped == runs[1][1].skipped
