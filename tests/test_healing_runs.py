"""How healing goes about it: what it leaves alone and why, batch by batch, kept on disk; and what it is worth."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from contexts import context
from nets import NETS
from onnx import helper
from oracle import net
from prunes import IMAGE, calibrated, quarter, redundant, samples, sqnr, unseen

from onnxprune import healing, moments
from onnxprune.aims import Aim
from onnxprune.axes.linear import Linear
from onnxprune.cache import Cache
from onnxprune.calibrate import Calibration
from onnxprune.errors import PassError
from onnxprune.evaluate import Evaluator
from onnxprune.healing import Wave, heal, refit
from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.moments import Moments
from onnxprune.node import Axis
from onnxprune.patches import Rows
from onnxprune.recipe import Recipe
from onnxprune.ridge import Healed

MODELS = Path(__file__).parents[1] / "models"
CONV = IMAGE.format("float[6,8,3,3] v", "y = Conv(r, v)")
CHAIN = """(float[N,3,14,14] x) => (float[N,6,A,B] y)
    <float[8,3,3,3] w, float[8] b, float[8,8,3,3] u, float[8] c, float[6,8,1,1] v>
    { a = Conv(x, w, b)  r = Tanh(a)  d = Conv(r, u, c)  s = Tanh(d)  y = Conv(s, v) }"""
BRANCHES = """(float[N,3,14,14] x) => (float[N,6,A,B] y)
    <float[8,3,3,3] w, float[8] b, float[6,8,3,3] v, float[6,8,3,3] u, float[6] c>
    { a = Conv(x, w, b)  r = Tanh(a)  d = Conv(r, v)  e = Conv(r, u, c)  y = Mul(d, e) }"""


# -- what is left alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        pytest.param(NETS["shared readers"], "Conv_3", "weight 'v' is shared", id="a shared weight"),
        pytest.param(NETS["batched weight"], "MatMul_3", "its weight is batched", id="a batched weight"),
        pytest.param(NETS["bias per sample"], "Gemm_2", "its bias 'c' is no constant of one value per channel",
                     id="a bias per sample"),
        pytest.param("""(float[N,4] x) => (float[N,6] y) <float[4,8] w, float[8,6] v, float[4,6] k>
            { a = MatMul(x, w)  r = Relu(a)  g = MatMul(x, k)  y = Gemm(r, v, g) }""",
            "Gemm_3", "its bias 'g' is no constant of one value per channel", id="a bias computed at run time"),
    ],
)  # fmt: skip
def test_what_cannot_be_refitted_is_left_with_the_reason(text: str, where: str, why: str) -> None:
    model = net(text)
    ctx = calibrated(model)
    raw, (after, record) = quarter(model, ctx, ratio="50%", heal="none")[0], quarter(model, ctx, ratio="50%")
    assert (where, f"not healed: {why}") in {(s.where, s.why) for s in record.skipped}
    assert record.note.endswith("; nothing to heal")
    assert after.fingerprint() == raw.fingerprint()


@pytest.mark.parametrize(("widest", "few"), [(54, True), (55, False)])
def test_a_layer_that_is_too_wide_for_sums_is_healed_from_a_sample_and_the_note_says_so(
    widest: int, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = redundant(CONV)  # 6 channels are left, 3 × 3 positions
    whole = quarter(model, calibrated(model))[0]
    monkeypatch.setattr(moments, "WIDEST", widest)
    after, record = quarter(model, calibrated(model))
    assert ("healed 1 of 1 layers (1 of them wide, from a sample of what they read), outputs" in record.note) is few
    assert "healed 1 of 1 layers" in record.note
    np.testing.assert_allclose(after.tensor("v").value(), whole.tensor("v").value(), rtol=1e-4, atol=1e-6)
    assert unseen(after, model) < 1e-3


def test_what_reads_nothing_that_was_cut_is_not_touched() -> None:
    model = net(BRANCHES)
    ctx = calibrated(model)
    before = model.fingerprint()
    assert heal(model, ctx, set()).note == "nothing to heal"
    assert heal(model, ctx, {Axis("v", 0), Axis("u", 0)}).note == "nothing to heal"
    assert model.fingerprint() == before
    assert model.skipped == {}


def test_without_data_nothing_is_healed() -> None:
    model = net(BRANCHES)
    before = model.fingerprint()
    assert heal(model, context(model), {Axis("v", 1)}).note == "nothing to heal"
    assert model.fingerprint() == before
    with pytest.raises(PassError, match="healing needs calibration data: give --calib, or heal=none"):
        refit(model, ("Conv_2",), context(model))


def test_a_shared_bias_stays_as_the_other_reads_it() -> None:
    model = redundant("""(float[N,3,9,8] x) => (float[N,6,A,B] y, float[N,6,A,B] z)
        <float[8,3,3,3] w, float[8] b, float[6,8,1,1] v, float[6,3,3,3] u, float[6] c>
        { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v, c)  z = Conv(x, u, c) }""")
    ctx = calibrated(model)
    after, record = quarter(model, ctx)
    assert "healed 1 of 1" in record.note
    assert np.array_equal(after.tensor("c").value(), model.tensor("c").value())


def test_a_function_of_another_opset_on_the_way_is_run_too() -> None:
    """It cannot be inlined, and pins what it touches; what lies behind it is pruned and healed."""
    text = IMAGE.format("float[6,8,3,3] v", "y = Conv(r, v)").replace("a = Conv(x,", "z = Abs(x)  a = Conv(z,")
    proto = redundant(text).proto()
    proto.graph.node[0].op_type, proto.graph.node[0].domain = "Act", "acme"
    act = helper.make_node("Abs", ["X"], ["Y"])
    proto.functions.append(helper.make_function("acme", "Act", ["X"], ["Y"], [act], [helper.make_opsetid("", 15)]))
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    del proto.graph.value_info[:]
    model = Model.load(proto)
    assert model.nodes[0].kind == "acme.Act"
    ctx = calibrated(model)
    after, record = quarter(model, ctx)
    assert "healed 1 of 1" in record.note
    assert unseen(after, model) < 1e-3


# -- batch by batch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [pytest.param(CHAIN, id="one after the other"), pytest.param(BRANCHES, id="at once")])
@pytest.mark.parametrize("fixed", [1, 4])
def test_the_batch_size_of_the_graph_makes_no_difference(text: str, fixed: int) -> None:
    """12 × 12 windows a sample: which of them are drawn must not depend on how many samples come at once."""
    one, many = net(text.replace("N,", f"{fixed},")), net(text)
    data = samples(many, 80)
    found = [quarter(model, calibrated(model, data))[0] for model in (one, many)]
    assert [t.name for t in found[0].constants] == [t.name for t in found[1].constants]
    for tensor in found[0].constants:
        again = found[1].tensor(tensor.name).value()
        np.testing.assert_allclose(tensor.value(), again, rtol=1e-3, atol=1e-4, err_msg=tensor.name)
    other = quarter(many, calibrated(many, data, seed=1))[0]  # the control: other rows, other weights
    assert np.abs(other.tensor("v").value() - found[1].tensor("v").value()).max() > 1e-3


def test_memory_does_not_grow_with_the_samples() -> None:
    peaks = []
    for count in (160, 960):
        model = redundant(CONV)
        ctx = calibrated(model, samples(model, count))
        after = quarter(model, ctx, heal="none")[0]
        Wave((Aim("Conv_2", "y"),)).compute(after, ctx)  # onnxruntime and numpy are warm
        tracemalloc.start()
        Wave((Aim("Conv_2", "y"),)).compute(after, ctx)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0], peaks


def test_moments_are_sums() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50, 7)), rng.normal(size=(2, 50, 3))
    whole, parts = Moments(), Moments()
    whole.add(Rows(x, y))
    for start in range(0, 50, 10):
        parts.add(Rows(x[:, start : start + 10], y[:, start : start + 10]))
    ones = np.concatenate([x, np.ones((2, 50, 1))], axis=2)
    np.testing.assert_allclose(whole.h, np.einsum("grc,grd->gcd", ones, ones))
    np.testing.assert_allclose(whole.g, np.einsum("grn,grc->gnc", y, ones))
    assert whole.energy == pytest.approx(np.sum(y**2))
    np.testing.assert_allclose(parts.h, whole.h)
    np.testing.assert_allclose(parts.g, whole.g)
    weights = rng.normal(size=(2, 3, 8))
    expected = np.sum((y - ones @ weights.swapaxes(1, 2)) ** 2) / np.sum(y**2)
    assert parts.error(weights) == pytest.approx(expected)


def test_what_is_not_finite_is_left_with_the_reason() -> None:
    """The layer behind the cut reads infinities; nothing fails, and its weights stay."""
    model = redundant("""(float[N,3,9,8] x) => (float[N,6,A,B] y, float[N,6,A,B] z)
        <float[8,3,3,3] w, float[8] b, float[6,8,1,1] v, float huge = {1e30}, float[6,8,1,1] u>
        { a = Conv(x, w, b)  r = Relu(a)  s = Mul(r, huge)  t = Mul(s, huge)  y = Conv(t, v)  z = Conv(r, u) }""")
    ctx = calibrated(model)
    raw, (after, record) = quarter(model, ctx, heal="none")[0], quarter(model, ctx)
    why = "not healed: what it reads or makes is not finite on the calibration data"
    blamed = "'Mul_3' (Mul) makes the first such value, in 't'"
    assert [s.where for s in record.skipped if s.why == f"{why}: {blamed}"] == ["Conv_4"]
    assert np.array_equal(after.tensor("v").value(), raw.tensor("v").value())


def test_a_lone_batch_is_fitted_and_checked_on_and_the_note_says_so() -> None:
    model = redundant(CONV.replace("N,", "4,"))
    note = {count: quarter(model, calibrated(model, samples(model, count)))[1].note for count in (4, 8)}
    assert note[4].endswith(" dB, chosen on the very samples they were fitted to")
    assert note[8].endswith(" dB")


# -- chance ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_other_ones() -> None:
    model = net(BRANCHES)
    runs = [quarter(model, calibrated(model, seed=seed))[0].proto().SerializeToString() for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


# -- kept on disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The layers of every time that healing is really computed."""
    computed: list[tuple[str, ...]] = []
    compute = Wave.compute

    def counted(self: Wave, model: Model, ctx: object) -> object:
        computed.append(tuple(aim.node for aim in self.aims))
        return compute(self, model, ctx)  # type: ignore[arg-type]

    monkeypatch.setattr(Wave, "compute", counted)
    return computed


def test_a_second_run_takes_the_answer_from_disk(tmp_path: Path, once: list[tuple[str, ...]]) -> None:
    model = net(BRANCHES)
    first, note = quarter(model, calibrated(model, cache=Cache(tmp_path)))
    again, same = quarter(net(BRANCHES), calibrated(model, cache=Cache(tmp_path)))
    assert once == [("Conv_2", "Conv_3")]
    assert first.proto() == again.proto()
    assert note.note == same.note
    plain, _ = quarter(model, calibrated(model))
    assert len(once) == 2
    assert plain.proto() == first.proto()


def test_a_run_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, once: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, refitted = net(CHAIN), healing.refitted

    def killed(view: Linear, *moments: Moments) -> Healed:
        if len(once) == 2:
            raise KeyboardInterrupt
        return refitted(view, *moments)

    with monkeypatch.context() as during:
        during.setattr(healing, "refitted", killed)
        with pytest.raises(KeyboardInterrupt):
            quarter(model, calibrated(model, cache=Cache(tmp_path)))
    resumed, _ = quarter(model, calibrated(model, cache=Cache(tmp_path)))
    assert once == [("Conv_2",), ("Conv_4",), ("Conv_4",)]
    undisturbed, _ = quarter(model, calibrated(model))
    assert len(once) == 5
    assert resumed.proto() == undisturbed.proto()


def test_another_question_is_computed_anew(tmp_path: Path, once: list[tuple[str, ...]]) -> None:
    model, cache = net(BRANCHES), Cache(tmp_path)
    other = net(BRANCHES.replace("Tanh", "Sigmoid"))
    quarter(model, calibrated(model, cache=cache))
    quarter(model, calibrated(model, cache=cache, seed=1))
    quarter(model, calibrated(model, samples(model, seed=1), cache=cache))
    quarter(model, calibrated(model, cache=cache), ratio="50%")
    quarter(other, calibrated(other, cache=cache))
    assert len(once) == 5
    quarter(model, calibrated(model, cache=cache))
    assert len(once) == 5


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-7], lambda data: data[:50] + b"?" + data[51:], lambda data: b""]
)
def test_a_damaged_entry_is_computed_anew(tmp_path: Path, once: list[tuple[str, ...]], damage: object) -> None:
    model = net(BRANCHES)
    first, _ = quarter(model, calibrated(model, cache=Cache(tmp_path)))
    for entry in tmp_path.glob("*.entry"):
        entry.write_bytes(damage(entry.read_bytes()))  # type: ignore[operator]
    again, _ = quarter(model, calibrated(model, cache=Cache(tmp_path)))
    assert len(once) == 2
    assert again.proto() == first.proto()
    quarter(model, calibrated(model, cache=Cache(tmp_path)))
    assert len(once) == 2


def test_what_is_kept_comes_back_as_it_was() -> None:
    whole = Healed(0.5, 0.25, np.arange(6.0).reshape(2, 3), np.arange(2.0))
    found = {"/a/b:0": whole, "plain": Healed(0.5, 0.5), "no bias": Healed(1.0, 0.5, np.ones((2, 2)))}
    back = Wave(()).unpack(Wave(()).pack(found))
    assert back.keys() == found.keys()
    for name, layer in found.items():
        assert (back[name].before, back[name].after) == (layer.before, layer.after)
        for one, other in ((back[name].weight, layer.weight), (back[name].bias, layer.bias)):
            assert (one is None) is (other is None)
            assert one is None or np.array_equal(one, other)


def test_layers_of_any_name_are_kept(tmp_path: Path, once: list[tuple[str, ...]]) -> None:
    proto = net(BRANCHES).proto()
    for node, name in zip(proto.graph.node, ("/stem/conv", "act", "weight:a/../b", "C:\\x.npy", "mul"), strict=True):
        node.name = name
    model = Model.load(proto)
    first, _ = quarter(model, calibrated(model, cache=Cache(tmp_path)))
    again, record = quarter(model, calibrated(model, cache=Cache(tmp_path)))
    assert len(once) == 1
    assert "healed 2 of 2" in record.note
    assert first.proto() == again.proto()


# -- what it is worth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet", "digits_mobile"])
def test_digits_are_read_again_after_half_of_the_work_is_gone(name: str) -> None:
    model = Model.load(MODELS / f"{name}.onnx")
    test = Calibration.load(MODELS / "digits.test.npz", model)
    ctx = context(model, calibration=Calibration.load(MODELS / "digits.calib.npz", model), evaluator=Evaluator(test))
    accuracy = {}
    for heal_how in ("none", "auto"):
        after = model.copy()
        passes = Recipe.from_passes(f"fold,prune:macs=50%:heal={heal_how}").passes
        records = PassManager(passes).run(after, ctx, verify_each=True)
        assert records[-1].missed == ()
        accuracy[heal_how] = ctx.evaluator.score(after, test)
    assert accuracy["auto"] >= 0.95
    assert accuracy["none"] <= accuracy["auto"] - 0.1


def test_a_second_pruning_heals_towards_the_original() -> None:
    model = Model.load(MODELS / "digits_resnet.onnx")
    ctx = context(model, calibration=Calibration.load(MODELS / "digits.calib.npz", model))
    found = {}
    for heal_how in ("none", "auto"):
        after = model.copy()
        text = f"fold,prune:macs=75%:heal={heal_how},prune:macs=50%:heal={heal_how}"
        PassManager(Recipe.from_passes(text).passes).run(after, ctx)
        found[heal_how] = sqnr(after, ctx)
    assert found["auto"] > found["none"] + 6


def test_layers_that_were_cut_twice_are_made_good_in_terms_of_the_file() -> None:
    """The second cut leaves slots of slots; what they stem from is still there to be expressed."""
    model = redundant(IMAGE.format("float[6,8,1,1] v, float[6] c", "y = Conv(r, v, c)"))
    ctx = calibrated(model)
    once, _ = quarter(model, ctx, ratio="13%")
    assert once.tensor("w").size(0) == 7
    again, _ = quarter(once, ctx, ratio="15%")
    assert again.tensor("w").size(0) == 6
    assert unseen(again, model) < 1e-3
