"""The pass manager: it runs, records, forgets what a change outdates, and with verify_each believes nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from contexts import context
from oracle import net
from toys import NET, Failing, Needy, Scale, calibration, doing

from onnxprune.alike import alike
from onnxprune.analyses.cost import Cost, Stats
from onnxprune.errors import PassContractError, PassError, UsageError
from onnxprune.manager import PassManager, PassRecord, Skip
from onnxprune.model import Model
from onnxprune.passes import Analysis, Changed, Context, Unchanged


def run(*passes: Any, model: Model | None = None, **how: Any) -> tuple[PassRecord, ...]:
    model = model if model is not None else net(NET)
    return PassManager(passes).run(model, context(model, original=model.copy()), **how)


def scaled(model: Model, ctx: Context) -> Changed:
    model.put("w", model.tensor("w").value() * np.float32(2))
    return Changed("scaled")


def shrunk(model: Model, ctx: Context) -> Changed:
    """Four classes instead of five would change the signature: drop the bias, which nothing forbids."""
    conv = model.nodes[0]
    model.drop(conv)
    model.insert("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1], strides=[2, 2])
    model.sweep()
    return Changed("no bias")


def test_a_record_tells_what_a_pass_did() -> None:
    first, second = run(Scale(by=0.1), Scale(by=1))
    assert (first.name, first.options, first.changed) == ("scale", {"by": 0.1}, True)
    assert (first.note, first.missed) == ("scaled 'w' by 0.1", ("'v' too",))
    assert first.skipped == (Skip("v", "is no kernel"),)
    assert first.before == first.after
    assert first.before.params == 4 * 3 * 9 + 4 + 16 * 5
    assert (second.changed, second.note) == (False, "a factor of 1 changes nothing")
    assert second.skipped == second.missed == ()
    assert min(first.seconds, second.seconds) >= 0


def test_costs_are_taken_before_and_after_each_pass() -> None:
    (record,) = run(doing(shrunk))
    assert record.before.params - record.after.params == 4


def test_passes_run_in_order_on_the_same_model() -> None:
    model = net(NET)
    before = model.tensor("w").value()
    run(Scale(by=2), Scale(by=3), model=model)
    np.testing.assert_allclose(model.tensor("w").value(), 6 * before, rtol=1e-6)


def test_what_a_pass_requires_is_asked_for_before_any_pass_runs() -> None:
    model = net(NET)
    fingerprint = model.fingerprint()
    with pytest.raises(UsageError, match="pass 'needy' needs calibration data: give --calib"):
        run(Scale(), Needy(), model=model)
    assert model.fingerprint() == fingerprint
    (record,) = PassManager((Needy(),)).run(model, context(model, calibration=calibration(model)))
    assert record.note == "12 samples"


def test_a_requirement_that_no_context_can_meet_is_the_fault_of_the_pass() -> None:
    with pytest.raises(PassContractError, match="'toy' requires what no context has: 'luck'"):
        run(doing(scaled, requires=("luck",)))


def test_an_unexpected_exception_names_the_pass_and_is_kept_as_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "onnxprune")
    with pytest.raises(PassError, match=r"^pass 'failing' failed: ValueError: seven$") as caught:
        run(Failing())
    assert isinstance(caught.value.__cause__, ValueError)
    assert any(record.exc_info for record in caplog.records)


def test_errors_raised_on_purpose_stay_as_they_are() -> None:
    with pytest.raises(PassError, match=r"^no way$"):
        run(Failing(error="pass"))


def test_an_invalid_graph_is_the_fault_of_the_pass() -> None:
    def breaks(model: Model, ctx: Context) -> Changed:
        model.put("v", np.ones((17, 5), np.float32))
        return Changed("broke it")

    with pytest.raises(PassError, match="pass 'toy' left an invalid model: the graph is invalid"):
        run(doing(breaks))

    def breaks_and_looks(model: Model, ctx: Context) -> Changed:
        breaks(model, ctx)
        model.proto()
        return Changed("broke it")

    with pytest.raises(PassError, match="pass 'toy' failed: the graph is invalid"):
        run(doing(breaks_and_looks))


def test_a_graph_that_only_onnxruntime_refuses_is_found_by_verify_each() -> None:
    def breaks(model: Model, ctx: Context) -> Changed:
        model.put("w", np.ones((4, 2, 3, 3), np.float32))
        return Changed("broke it")

    run(doing(breaks))
    with pytest.raises(PassError, match="pass 'toy' left a model that onnxruntime does not run"):
        run(doing(breaks), verify_each=True)


def test_a_pass_must_return_an_outcome() -> None:
    with pytest.raises(PassContractError, match="pass 'toy' returned a NoneType"):
        run(doing(lambda model, ctx: None))


@pytest.mark.parametrize("wrong", [pytest.param(Scale, id="a class"), object(), "scale"])
def test_what_is_no_pass_is_refused(wrong: Any) -> None:
    with pytest.raises(PassContractError, match="is no pass"):
        PassManager([wrong])  # type: ignore[arg-type]


def test_each_model_on_the_way_is_saved(tmp_path: Path) -> None:
    model = net(NET)
    run(Scale(by=1), Scale(by=3), model=model, save_after=tmp_path / "new" / "steps")
    saved = {p.name: Model.load(p).fingerprint() for p in (tmp_path / "new" / "steps").iterdir()}
    assert saved == {"01-scale.onnx": net(NET).fingerprint(), "02-scale.onnx": model.fingerprint()}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        run(Scale(), save_after=tmp_path / "file" / "steps")


def test_a_change_outdates_all_answers_but_those_preserved() -> None:
    model = net(NET)
    ctx = context(model)
    held = {kind: model.get(Cost(kind), ctx) for kind in ("macs", "params")}
    PassManager((Scale(by=1),)).run(model, ctx)
    assert model.get(Cost("macs"), ctx) is held["macs"]
    PassManager((doing(scaled, preserves=(Cost,)),)).run(model, ctx)
    assert all(model.get(Cost(kind), ctx) is answer for kind, answer in held.items())
    PassManager((doing(scaled),)).run(model, ctx)
    assert model.get(Cost("macs"), ctx) is not held["macs"]


def silent(model: Model, ctx: Context) -> Unchanged:
    scaled(model, ctx)
    return Unchanged("nothing, I swear")


def idle(model: Model, ctx: Context) -> Changed:
    return Changed("much")


def meddling(model: Model, ctx: Context) -> Unchanged:
    scaled(ctx.original, ctx)
    return Unchanged("nothing here")


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        pytest.param(doing(silent), "says the model is unchanged, but it is not", id="unchanged"),
        pytest.param(doing(idle), "says it changed the model, but did not", id="changed"),
        pytest.param(doing(shrunk, preserves=(Stats,)), r"says it preserves Stats\(\), but", id="preserved"),
        pytest.param(doing(meddling), "edited ctx.original", id="original"),
    ],
)
def test_verify_each_finds_the_lie_that_others_believe(lie: Any, message: str) -> None:
    run(lie)
    with pytest.raises(PassContractError, match=f"pass 'toy' {message}"):
        run(lie, verify_each=True)


def test_verify_each_has_nothing_against_the_truth() -> None:
    model = net(NET)
    model.get(Cost("macs"), context(model))
    records = run(doing(scaled, preserves=(Stats, Cost)), Scale(by=1), model=model, verify_each=True)
    assert [record.changed for record in records] == [True, False]


@dataclass(frozen=True, eq=False)
class Answer:
    """What an analysis might say."""

    names: tuple[str, ...]
    values: Any


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


def ring(value: object) -> list[object]:
    """A list that holds itself."""
    made: list[object] = [value]
    made.append(made)
    return made


def graph(weight: float) -> nx.MultiGraph:
    made = nx.MultiGraph()
    made.add_edge("a", "b", tie=np.array([weight]))
    return made


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        pytest.param(lambda v: v, 1, 2, id="integers"),
        pytest.param(lambda v: v, 1.0, 1.001, id="numbers"),
        pytest.param(lambda v: v, float("nan"), 1.0, id="not a number"),
        pytest.param(lambda v: np.array(v), [1, 2], [1, 3], id="integer arrays"),
        pytest.param(lambda v: np.array(v), [1.0, np.nan], [1.0, 2.0], id="arrays with gaps"),
        pytest.param(lambda v: np.zeros(v), (2, 3), (3, 2), id="shapes"),
        pytest.param(lambda v: np.zeros(2, v), "f4", "f8", id="dtypes"),
        pytest.param(lambda v: Answer(("a",), {"b": (np.array([v]), [v])}), 1.0, 2.0, id="nested"),
        pytest.param(lambda v: {v: 1}, "a", "b", id="keys"),
        pytest.param(lambda v: [0] * v, 2, 3, id="lengths"),
        pytest.param(lambda v: partial(max, np.array([v])), 1, 2, id="partial functions"),
        pytest.param(lambda v: lambda: v, 1, 2, id="closures"),
        pytest.param(Plain, 1, 2, id="plain objects"),
        pytest.param(graph, 1.0, 2.0, id="graphs"),
        pytest.param(ring, 1, 2, id="cycles"),
        pytest.param(lambda v: frozenset([v]), 1, 2, id="sets"),
    ],
)
def test_answers_are_compared_by_what_is_in_them(make: Any, one: Any, other: Any) -> None:
    assert alike(make(one), make(one))
    assert not alike(make(one), make(other))


def test_answers_may_differ_by_rounding() -> None:
    values = np.float32([1e-9, 1, 1000])
    assert alike(values, values + np.float32(1e-4) * np.float32([1, 0, 0]))
    assert alike(1.0, 1.0 + 1e-7)
    assert not alike(1, 1.0)


def test_a_cached_property_is_no_difference() -> None:
    one, other = graph(1.0), graph(1.0)
    assert one.adj is one.adj
    assert alike(one, other)


def test_an_analysis_that_answers_anew_every_time_is_found() -> None:
    answers = iter(range(10))

    @dataclass(frozen=True)
    class Fickle(Analysis[int]):
        def compute(self, model: Model, ctx: Context) -> int:
            return next(answers)

    def asks(model: Model, ctx: Context) -> Changed:
        return scaled(model, ctx)

    model = net(NET)
    ctx = context(model, original=model.copy())
    model.get(Fickle(), ctx)
    with pytest.raises(PassContractError, match="says it preserves"):
        PassManager((doing(asks, preserves=(Fickle,)),)).run(model, ctx, verify_each=True)
