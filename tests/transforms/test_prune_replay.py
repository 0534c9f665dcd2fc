"""``spec=prune.json`` does what the file says, to the byte what was done before, or says why it cannot be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contexts import context
from cuts import cut_at
from generator import random_model
from nets import NETS, OPSETS
from oracle import assert_same_function, net, silenced
from prunes import calibrated, channels, pruning, samples

from onnxprune.axes.silencing import removed
from onnxprune.cli import main
from onnxprune.errors import UsageError
from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.recipe import Recipe
from passes.fold import Fold
from passes.prune import PruneChannels

FREE = {"align": "1", "min": "1"}
CHAIN = """(float[2,3,6,6] x) => (float[2,2,A,B] y) <float[6,3,3,3] w, float[6] b, float[6] scale, float[6] o,
    float[6] mean, float[6] var, float[6,6,1,1] u, float[2,6,1,1] v>
    { a = Conv(x, w, b)  n = BatchNormalization(a, scale, o, mean, var)  r = Relu(n)  c = Conv(r, u)  s = Relu(c)
      y = Conv(s, v) }"""


def run(model: Model, ctx: Context, *passes: Any) -> tuple[Model, PassRecord]:
    after = model.copy()
    return after, PassManager(passes).run(after, ctx, verify_each=True)[-1]


def written(folder: Path, spec: object) -> Path:
    path = folder / "prune.json"
    path.write_text(json.dumps(spec))
    return path


def obey(folder: Path, spec: object, model: Model, *before: Any, **options: Any) -> tuple[Model, PassRecord]:
    return run(model, context(model), *before, pruning(spec=str(written(folder, spec)), **options))


def refused(folder: Path, spec: object, model: Model, *before: Any) -> str:
    with pytest.raises(UsageError) as caught:
        obey(folder, spec, model, *before)
    said = str(caught.value)
    assert said.startswith(f"{folder / 'prune.json'}: ")
    assert "\n" not in said
    return said.removeprefix(f"{folder / 'prune.json'}: ")


def again(folder: Path, model: Model, ctx: Context, *before: Any, heal: str = "none") -> bool:
    """Whether something was cut; a run with what it wrote gives the same bytes and the same file."""
    first, record = run(model, ctx, *before, pruning(ratio="50%", heal=heal, **FREE))
    spec = removed(first)
    second, repeated = run(model, ctx, *before, pruning(spec=str(written(folder, spec)), heal=heal))
    assert second.proto().SerializeToString() == first.proto().SerializeToString()
    assert removed(second) == spec
    assert repeated.changed == record.changed
    return record.changed


# -- the same again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_what_a_run_wrote_gives_the_same_bytes(tmp_path: Path, name: str, folded: bool) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    assert again(tmp_path, model, context(model), *[Fold()] * folded)


@pytest.mark.parametrize("name", ["chain", "grouped", "residual", "flattened pixels"])
def test_a_healed_network_is_the_same_too(tmp_path: Path, name: str) -> None:
    model = net(NETS[name], OPSETS.get(name, 17))
    assert again(tmp_path, model, calibrated(model, samples(model, 30)), Fold(), heal="auto")


def test_random_networks_are_the_same_again(tmp_path: Path) -> None:
    models = [Model.load(random_model(seed)) for seed in range(40)]
    assert sum(again(tmp_path, m, context(m), *[Fold()] * (k % 2)) for k, m in enumerate(models)) >= 20


def test_what_the_file_does_not_name_follows_by_the_ties(tmp_path: Path) -> None:
    model = net(CHAIN)
    after, record = obey(tmp_path, {"w": {"0": [1, 4]}}, model)
    by_hand, spec = cut_at(model, "w[0]", 1, 4)
    assert removed(after) == spec
    assert_same_function(after, by_hand)
    assert record.note == "removed 2 channels, as the prune spec says"
    assert [(s.where, s.why) for s in record.skipped if s.where == "Conv_3"] == [
        ("Conv_3", "not pruned: the prune spec keeps it")
    ]


def test_an_activation_may_be_named_and_slots_of_the_file_are_found_after_other_passes(tmp_path: Path) -> None:
    model = net(CHAIN)
    earlier = pruning(ratio="40%", keep=["Conv_3"], **FREE)
    gone = removed(run(model, context(model), Fold(), earlier)[0])["w"][0]
    more = next(slot for slot in range(6) if slot not in gone)
    after, _ = obey(tmp_path, {"r": {"1": [*gone, more]}}, model, Fold(), earlier)
    assert removed(after)["w"] == {0: sorted([*gone, more])}
    assert_same_function(after, silenced(model, removed(after)))


def test_align_min_and_the_floor_have_no_say(tmp_path: Path) -> None:
    after, _ = obey(tmp_path, {"w": {"0": [0, 1, 2, 3, 5]}}, net(CHAIN), align=8, min=4)
    assert channels(after) == {"w": 1, "u": 6, "v": 2}


@pytest.mark.parametrize("spec", [{}, {"w": {}}, {"w": {"0": []}}])
def test_a_spec_that_removes_nothing_changes_nothing(tmp_path: Path, spec: object) -> None:
    model = net(CHAIN)
    after, record = obey(tmp_path, spec, model)
    assert not record.changed
    assert record.note == "the prune spec removes nothing"
    assert after.fingerprint() == model.fingerprint()


def test_layers_that_share_a_vector_are_cut_apart_again(tmp_path: Path) -> None:
    text = """(float[2,3,6,6] x) => (float[2,8,6,6] y) <float[8,3,1,1] w, float[8,8,1,1] v, float[8,8,1,1] u,
        float[8] b> { a = Conv(x, w, b)  p = Relu(a)  d = Conv(p, v, b)  q = Relu(d)  y = Conv(q, u, b) }"""
    model = net(text)
    assert again(tmp_path, model, context(model))
    assert again(tmp_path, model, context(model), Fold())
    assert "b" not in json.loads((tmp_path / "prune.json").read_text())


# -- what cannot be done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec", "why"),
    [
        pytest.param(CHAIN, {"w": {"0": [1]}, "u": {"1": [2]}},
                     "u[1] slot 2 lives or dies with w[0] slot 2, which the spec keeps; list both or neither",
                     id="a tie"),
        pytest.param(NETS["grouped"], {"g": {"1": [1]}, "w": {"0": [1]}},
                     "g[1] slot 1 lives or dies with w[0] slot 4, which the spec keeps; list both or neither",
                     id="groups"),
        pytest.param(CHAIN, {"v": {"0": [1]}}, "v[0] slot 1 cannot be removed: graph output 'y'", id="a pin"),
        pytest.param(CHAIN, {"x": {"1": [0]}}, "x[1] slot 0 cannot be removed: graph input 'x'", id="an input"),
        pytest.param("""(float[2,3] x) => (float[2,4] y) <float[3,6] w, float[6,4] v, float[6,2] m>
                        { a = MatMul(x, w)  b = Reshape(a, s)  c = Relu(b)  d = Reshape(c, t)  y = MatMul(d, v) }"""
                     .replace("float[6,2] m", "int64[3] s = {2, 2, 3}, int64[2] t = {2, 6}"),
                     {"b": {"1": [0]}, "v": {"0": [3]}},
                     "v[0] slot 3 lives or dies with v[0] slot 0, which the spec keeps", id="a reshape"),
    ],
)  # fmt: skip
def test_what_breaks_a_tie_or_a_pin_is_refused(tmp_path: Path, text: str, spec: object, why: str) -> None:
    model = net(text)
    before = model.fingerprint()
    assert refused(tmp_path, spec, model).startswith(why)
    assert model.fingerprint() == before


def test_what_would_leave_nothing_of_an_axis_is_refused(tmp_path: Path) -> None:
    text = """(float[2,3] x) => (float[2,4] y) <float[3,2] w, float[3,2] u, float[4,4] v>
        { a = MatMul(x, w)  b = MatMul(x, u)  c = Concat<axis=1>(a, b)  y = MatMul(c, v) }"""
    said = refused(tmp_path, {"v": {"0": [0, 1]}}, net(text))
    assert said == "nothing would be left of a[1], which v[0] slot 0 takes along; keep at least one slot"


def test_what_an_earlier_pass_folded_away_is_refused_unless_nothing_of_it_goes(tmp_path: Path) -> None:
    model = net(CHAIN)
    spec = {"w": {"0": [1]}, "scale": {"0": [1]}}
    said = refused(tmp_path, spec, model, Fold())
    assert said.startswith("there is no 'scale' any more after the passes before 'prune'; leave it out, or run the")
    assert obey(tmp_path, spec, model)[1].changed
    assert obey(tmp_path, {"w": {"0": [1]}, "scale": {"0": []}}, model, Fold())[1].changed


def test_what_an_earlier_pass_removed_cannot_be_kept(tmp_path: Path) -> None:
    model = net(CHAIN)
    earlier = pruning(ratio="20%", keep=["Conv_3"], **FREE)
    (gone,) = removed(run(model, context(model), earlier)[0])["w"][0]
    assert refused(tmp_path, {"w": {"0": [(gone + 1) % 6]}}, model, earlier) == (
        f"w[0] slot {gone} went before 'prune', and the spec keeps it; list it"
    )


def test_names_and_slots_that_are_not_in_the_file_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, {"uu": {"0": [1]}}, net(CHAIN)) == "no tensor 'uu'; did you mean 'u'?"
    assert refused(tmp_path, {"u": {"0": [6]}}, net(CHAIN)) == "u[0] has no slot 6; its slots are 0 to 5"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"macs": "50%"}, "give either budgets"),
        ({"ratio": "50%"}, "give either budgets"),
        ({"keep": "Conv_0"}, "spec= says what is kept; leave out keep="),
    ],
)
def test_a_spec_stands_alone(options: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        pruning(spec="prune.json", **options)


# -- as a file among files -------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a network, data, and what a first run wrote into ``first``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    model = net(CHAIN)
    model.save("net.onnx")
    np.savez("calib.npz", **samples(model, 30))
    assert main(["net.onnx", "--passes=fold,prune:ratio=50%:align=1", "--calib=calib.npz", "-q", "-o", "first"]) == 0
    return tmp_path


def test_the_command_gives_the_same_files_and_tells_make_of_the_spec(work: Path) -> None:
    words = ["--passes=fold,prune:spec=first/prune.json", "--calib=calib.npz", "-q"]
    assert main(["net.onnx", *words, "-o", "second", "--depfile=rule.d"]) == 0
    for name in ("model.onnx", "prune.json"):
        assert Path("second", name).read_bytes() == Path("first", name).read_bytes()
    assert "first/prune.json" in Path("rule.d").read_text().split()


def test_the_file_that_is_obeyed_is_not_written_over(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["net.onnx", "--passes=prune:spec=first/prune.json", "-q", "-o", "first"]) == 2
    assert "'first/prune.json' is read and would be overwritten" in capsys.readouterr().err


def test_in_a_recipe_the_path_starts_at_its_folder(work: Path) -> None:
    Path("conf").mkdir()
    Path("first/prune.json").rename("conf/prune.json")
    text = 'schema = 1\ncalib = "../calib.npz"\n[[pass]]\nuse = "fold"\n[[pass]]\nuse = "prune"\nspec = "prune.json"\n'
    Path("conf/recipe.toml").write_text(text)
    assert main(["net.onnx", "--recipe=conf/recipe.toml", "-q", "-o", "second"]) == 0
    assert Path("second/model.onnx").read_bytes() == Path("first/model.onnx").read_bytes()
    recipe = Recipe.from_toml("conf/recipe.toml")
    assert recipe.passes[1] == PruneChannels(spec=Path("conf/prune.json"))
    assert 'spec = "../conf/prune.json"' in recipe.to_toml("second")


def test_a_changed_file_gives_another_network_in_the_same_cache(work: Path) -> None:
    """The control: were it known by its name alone, the second run would be the first."""
    words = ["net.onnx", "--passes=fold,prune:spec=mine.json", "--calib=calib.npz", "-q", "-o"]
    found = []
    for slots in ([1], [1, 2]):
        Path("mine.json").write_text(json.dumps({"w": {"0": slots}}))
        assert main([*words, "out"]) == 0
        found.append(json.loads(Path("out/prune.json").read_text())["w"]["0"])
    assert found == [[1], [1, 2]]


@pytest.mark.parametrize("text", ["{", '{"w": {"0": [7]}}', '{"w": {"0": [0]}, "u": {"1": [1]}}'])
def test_a_bad_file_ends_with_exit_code_2_and_nothing_is_written(
    work: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    Path("mine.json").write_text(text)
    assert main(["net.onnx", "--passes=fold,prune:spec=mine.json", "-q", "-o", "out"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("onnxprune: error: mine.json: ")
    assert said.count("\n") == 1
    assert not Path("out").exists()
