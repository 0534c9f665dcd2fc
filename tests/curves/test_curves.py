"""Sensitivity curves: an estimate is what prune plans with, a measurement what the very network loses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from contexts import context
from oracle import net

import onnxprune as op
from onnxprune.analyses.sensitivity import Sensitivity
from onnxprune.axes.cutting import cut
from onnxprune.cache import Cache
from onnxprune.calibrate import Calibration
from onnxprune.curves import chart
from onnxprune.curves.curves import Curve, Curves, Spot, at, schema
from onnxprune.errors import UsageError
from onnxprune.footprints import families
from onnxprune.loss import losses
from onnxprune.model import Model

MODELS = Path(__file__).parents[2] / "models"
WIDE = """(float[N,6] x) => (float[N,5] y) <float[6,16] w, float[16,8] v, float[8,5] u>
    { a = MatMul(x, w)  r = Relu(a)  b = MatMul(r, v)  s = Relu(b)  y = MatMul(s, u) }"""


def samples(count: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)}


def sensitivity(model: Any = None, **given: Any) -> Curves:
    """``onnxprune.sensitivity`` with nothing kept on disk."""
    model = net(WIDE) if model is None else model
    return op.sensitivity(model, **{"cache": Cache(None), "calib": samples(), **given})


def spots(curve: Curve) -> dict[int, Spot]:
    return {spot.atoms: spot for spot in curve.spots}


@pytest.fixture(scope="module")
def mobile() -> Curves:
    """A network of digits, measured."""
    calib = {name: array[:60] for name, array in np.load(MODELS / "digits.calib.npz").items()}
    test = {name: array[:100] for name, array in np.load(MODELS / "digits.test.npz").items()}
    return sensitivity(MODELS / "digits_mobile.onnx", calib=calib, test=test, exact=True)


# -- what is found -----------------------------------------------------------------------------------------------------


def test_a_curve_tells_of_layers_widths_and_shares() -> None:
    first, second = sensitivity().curves
    assert (first.layers, first.readers) == (("MatMul_0",), ("MatMul_2",))
    assert (second.layers, second.readers) == (("MatMul_2",), ("MatMul_4",))
    assert (first.channels, first.atoms, first.free) == (16, 16, 16)
    assert [spot.atoms for spot in first.spots] == [at(tenths, 16) for tenths in range(1, 10)]
    assert [spot.share for spot in first.spots] == [spot.atoms / 16 for spot in first.spots]
    assert {spot.measured for spot in first.spots} == {spot.drop for spot in first.spots} == {None}


def test_an_estimate_is_what_prune_plans_with() -> None:
    model = net(WIDE)
    fit, _ = Calibration.load(samples(), model).split()
    for criterion in ("obs", "l2"):
        ranked = model.get(Sensitivity(criterion, approximate=True), context(model, calibration=fit))
        for curve in sensitivity(importance=criterion).curves:
            harm = ranked[curve.family].harm
            assert [spot.estimated for spot in curve.spots] == [harm[spot.atoms] for spot in curve.spots]
    assert sensitivity(importance="l2").curves != sensitivity().curves  # the control


def test_a_measurement_at_half_is_the_probe_that_estimates_hang_on(mobile: Curves) -> None:
    for curve in (*sensitivity(exact=True).curves, *mobile.curves):
        half = spots(curve)[max(round(0.5 * curve.atoms), 1)]
        assert half.measured == pytest.approx(half.estimated, rel=1e-5)
        assert any(spot.measured != pytest.approx(spot.estimated, rel=1e-3) for spot in curve.spots)  # the control


def test_a_measurement_counts_what_the_refit_cannot_make_up_for() -> None:
    """Nothing for channels that no one reads, and for others less than the cut alone."""
    text = """(float[N,6] x) => (float[N,5] y) <float[6,8] w, float[1,8] c, float[8,5] v>
        { a = MatMul(x, w)  r = Mul(a, c)  y = MatMul(r, v) }"""
    model = net(text)
    model.put("v", np.zeros((8, 5), np.float32) + np.eye(8, 5, dtype=np.float32))
    fit, check = Calibration.load(samples(400), model).split()[0].split()
    (curve,) = sensitivity(model, calib=samples(400), exact=True).curves
    ctx = context(model, calibration=fit)
    (family,) = (f for f in families(model, ctx) if f.where == curve.family)
    wide = Calibration.load(samples(400), model).split()[0]
    order = model.get(Sensitivity("obs", approximate=True), context(model, calibration=wide))[family.where].order
    assert set(order[:3]) == {5, 6, 7}
    assert max(spots(curve)[k].measured or 0.0 for k in (1, 2)) < 1e-9
    raw = model.copy()
    cut(raw, family.group.slots(order[:5]))
    (worst,) = losses(model, [raw], check)
    measured = spots(curve)[5].measured
    assert measured is not None
    assert 1e-9 < measured < worst


def test_the_drop_is_that_of_the_metric_on_test_data(mobile: Curves) -> None:
    assert mobile.metric == "top1"
    drops = [spot.drop for curve in mobile.curves for spot in curve.spots]
    assert all(drop is not None for drop in drops)
    assert max(drop for drop in drops if drop is not None) > 5  # some cut hurts
    last = mobile.curves[0].spots[-1]
    assert last.measured is not None
    unlabelled = sensitivity(exact=True, test=samples(20, 1))
    assert unlabelled.metric == "agreement"


def test_families_of_which_nothing_can_go_are_named() -> None:
    found = sensitivity()
    assert [name for name in found.fixed if name.startswith("MatMul_4")] == list(found.fixed)
    assert len(found.fixed) == 1


@pytest.mark.parametrize("exact", [False, True])
def test_a_network_without_free_channels_has_no_curves(exact: bool) -> None:
    found = sensitivity(net("(float[N,6] x) => (float[N,5] y) <float[6,5] w> { y = MatMul(x, w) }"), exact=exact)
    assert (found.curves, len(found.fixed)) == ((), 1)
    assert "nothing can go: 1" in found.text()
    assert found.to_svg().startswith("<?xml")


def test_the_model_stays_as_it_is() -> None:
    model = net(WIDE)
    before = model.fingerprint()
    sensitivity(model, exact=True)
    assert model.fingerprint() == before


def test_another_process_with_another_hash_seed_says_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from curves.test_curves import sensitivity;"
        "found = sensitivity(exact=True); print(found.to_json(), found.to_svg())"
    )
    here = [sys.executable, "-c", code, str(Path(__file__).parents[1])]
    env = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
    said = [subprocess.check_output(here, env={**env, "PYTHONHASHSEED": seed}, text=True) for seed in "12"]
    found = sensitivity(exact=True)
    assert said == [f"{found.to_json()} {found.to_svg()}\n"] * 2


def test_jobs_change_nothing() -> None:
    alone, both = (sensitivity(exact=True, test=samples(20, 1), jobs=jobs) for jobs in (1, 2))
    assert alone.to_json() == both.to_json()
    assert alone.to_json() != sensitivity(exact=True, test=samples(20, 2)).to_json()  # the control


# -- what is told ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_json_follows_its_schema_with_sorted_keys(exact: bool) -> None:
    text = sensitivity(exact=exact).to_json()
    told = json.loads(text)
    jsonschema.Draft202012Validator(schema()).validate(told)
    assert text == json.dumps(told, indent=2, sort_keys=True) + "\n"
    told["curves"][0]["spots"][0]["estimated"] = "much"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(told)


def test_the_schema_lists_every_key() -> None:
    told, top = sensitivity(exact=True).to_dict(), schema()
    curve, spot = top["$defs"]["curve"], top["$defs"]["spot"]
    for held, part in ((told, top), (told["curves"][0], curve), (told["curves"][0]["spots"][0], spot)):
        assert held.keys() == part["properties"].keys() == set(part["required"])


def test_the_text_has_the_most_sensitive_first(mobile: Curves) -> None:
    text = mobile.text()
    places = [text.index(curve.layers[0]) for curve in mobile.ranked]
    assert places == sorted(places)
    assert [curve.middle for curve in mobile.ranked] == sorted((c.middle for c in mobile.curves), reverse=True)
    assert mobile.ranked != list(mobile.curves)  # the control: the order of the graph is another
    assert max(map(len, text.splitlines())) <= 100
    assert "top1" in text
    assert "top1" not in sensitivity().text()


def test_made_up_inputs_are_called_by_their_name() -> None:
    assert "RANDOM INPUTS" in sensitivity(calib="random").text()
    assert "RANDOM INPUTS" not in sensitivity().text()


def test_the_picture_has_a_line_for_each_family_and_equal_bytes(mobile: Curves) -> None:
    text = mobile.to_svg()
    assert text == mobile.to_svg()
    ElementTree.fromstring(text)
    assert text.count('<g id="line2d_') >= len(mobile.curves)
    assert text != sensitivity().to_svg()


def test_only_some_of_many_families_are_named(monkeypatch: pytest.MonkeyPatch, mobile: Curves) -> None:
    named: list[str] = []
    kept = chart._name
    monkeypatch.setattr(chart, "_name", lambda curve: named.append(curve.family) or kept(curve))
    monkeypatch.setattr(chart, "FEW", 1)
    mobile.to_svg()
    assert named == [mobile.ranked[-1].family, mobile.ranked[0].family]


def test_both_files_are_written(tmp_path: Path) -> None:
    found = sensitivity(output=tmp_path / "told")
    assert sorted(path.name for path in (tmp_path / "told").iterdir()) == ["sensitivity.json", "sensitivity.svg"]
    assert (tmp_path / "told" / "sensitivity.json").read_text(encoding="utf-8") == found.to_json()
    assert (tmp_path / "told" / "sensitivity.svg").read_text(encoding="utf-8") == found.to_svg()


# -- what makes no sense -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"calib": None}, "give --calib along with --sensitivity"),
        ({"test": samples()}, "leave out --test, or give --sensitivity=exact"),
        ({"importance": "obz"}, "no criterion 'obz'; did you mean 'obs'?"),
        ({"exact": True, "jobs": 0}, "jobs cannot be 0"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        sensitivity(**given)


def test_a_criterion_that_lacks_what_it_needs_is_refused_with_those_that_would_do() -> None:
    linear = net(WIDE.replace("Relu", "Neg"))
    with pytest.raises(UsageError, match=r"^--importance=apoz counts zeros.* take one of l1, .*obs"):
        sensitivity(linear, importance="apoz")
    assert sensitivity(importance="apoz").importance == "apoz"  # the control


def test_what_is_of_no_use_is_no_argument() -> None:
    with pytest.raises(TypeError, match="takes no argument 'targets'"):
        sensitivity(targets=["host"])


def test_files_that_are_read_are_spared(tmp_path: Path) -> None:
    path = tmp_path / "sensitivity.json"
    Model.load(net(WIDE)).save(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="would be overwritten"):
        sensitivity(path, output=tmp_path)
    assert path.read_bytes() == before
