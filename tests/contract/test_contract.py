"""What every registered pass owes: options that say all, the truth about what it did, a sound graph, equal bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
import tomli_w
from clocks import FakeClock
from contexts import context
from nets import NETS, OPSETS
from oracle import net
from prunes import calibrated, samples

from onnxprune import registry
from onnxprune.axes.silencing import removed
from onnxprune.cache import Cache
from onnxprune.calibrate import Calibration
from onnxprune.cli import main
from onnxprune.errors import UsageError
from onnxprune.feeds import made_up
from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from onnxprune.options import build, forms, help_text, parse_passes, render, to_table
from onnxprune.passes import Context, Pass
from onnxprune.recipe import Recipe
from onnxprune.runtime import Session

MODELS = Path(__file__).parents[2] / "models"
DIGITS = ("digits_cnn", "digits_resnet", "digits_mobile")
SOME = ("residual", "grouped", "normalised", "flattened pixels", "tokens", "a branch beside", "digits_cnn")

# Ways to call each pass, as in a recipe; all options of a pass are among them.
EXAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "fold": ({},),
    "prune": (
        {"macs": "60%", "align": 1},
        {"params": "1.2K", "bytes": "90%", "heal": "none", "align": 2, "importance": "l1"},
        {"ratio": "50%", "min": 1, "align": 1, "keep": [".*_0|/classifier.*", ".*_[01]|/.*Gemm"]},
        {"macs": "50%", "heal": "ls"},
        {"ratio": "50%", "approximate": "no"},
        {"peak": "70%", "heal": "none"},
        {"latency": "70%", "heal": "none"},
        {"macs": "60%", "align": 1, "allocate": "uniform", "heal": "none"},
        {"drop": 20, "align": 1, "heal": "none"},
        {"macs": "60%", "align": 1, "heal": "none", "layers": {".*_0|/classifier.*": {"ratio": "20%", "min": 3}}},
        {"spec": str(MODELS / "prune.json"), "heal": "none", "align": 1},
    ),
    "quantize": (
        {},
        {
            "calibration": "auto",
            "weights": "tensor",
            "profile": "s8s8",
            "repair": ["bias"],
            "keep": [".*_0|/classifier.*"],
        },
        {"drop": 5, "int8": [".*_0|/classifier.*"], "round": "nearest"},
        {"decisions": str(MODELS / "quantize.json"), "sensitivity": True},
    ),
    "store": (
        {},
        {"bits": 4, "block": 4, "packed": True, "round": "nearest"},
        {"bits": 2, "weights": "tensor", "decode": "dequantize", "keep": [".*_0|/classifier.*"]},
        {"bits": 16},
    ),
}
CALLS = {f"{name}-{k}": (name, options) for name, ways in EXAMPLES.items() for k, options in enumerate(ways)}
every_pass = pytest.mark.parametrize("name", EXAMPLES)
every_call = pytest.mark.parametrize("call", CALLS)


def made(call: str) -> Pass:
    name, options = CALLS[call]
    return build(registry.load(name), options)


def test_every_registered_pass_has_examples_for_all_its_options() -> None:
    """A new pass goes into the table above."""
    assert EXAMPLES.keys() == set(registry.names())
    for name, ways in EXAMPLES.items():
        assert {key for options in ways for key in options} == set(forms(registry.load(name)))


# -- what it is ------------------------------------------------------------------------------------------------------


@every_pass
def test_it_is_a_frozen_dataclass_of_keyword_options(name: str) -> None:
    cls: Any = registry.load(name)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert cls.name == name
    assert all(field.kw_only for field in dataclasses.fields(cls))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made(f"{name}-0").name = "other"  # type: ignore[misc]


@every_pass
def test_it_is_listed_and_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cls = registry.load(name)
    assert main(["--list-passes"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert registry.summaries()[name] in lines[name]
    assert main([f"--help-pass={name}"]) == 0
    text = capsys.readouterr().out
    assert text == help_text(cls)
    for option in forms(cls):
        assert f"\n  {option}\n      " in text
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        assert field.metadata.get("help", "").strip(), f"{field.name} has no help"
        assert field.metadata["help"] in text


@every_call
def test_its_options_are_the_same_as_object_text_and_table(call: str) -> None:
    (name, options), one = CALLS[call], made(call)
    cls = registry.load(name)
    assert build(cls, tomllib.loads(tomli_w.dumps(to_table(one)))) == one
    assert to_table(one).items() <= options.items()
    if "layers" in options:  # a text has no room for tables
        with pytest.raises(UsageError, match=r"option 'layers' cannot be .* it takes tables in a recipe"):
            Recipe.from_passes(render(one))
        return
    ((again, given),) = parse_passes(render(one))
    assert again == name
    assert build(cls, given) == one
    assert Recipe.from_passes(render(one)).passes == (one,)


def test_all_of_them_make_a_recipe_and_come_back(tmp_path: Path) -> None:
    recipe = Recipe(passes=tuple(made(call) for call in CALLS))
    (tmp_path / "all.toml").write_text(recipe.to_toml(tmp_path), encoding="utf-8")
    assert Recipe.from_toml(tmp_path / "all.toml") == recipe


# -- what it does ----------------------------------------------------------------------------------------------------


@cache
def subject(where: str) -> tuple[Model, Context]:
    """A network, and a context with data for it."""
    if where in DIGITS:
        model = Model.load(MODELS / f"{where}.onnx")
        data = Calibration.load(MODELS / "digits.calib.npz", model)
        return model, context(model, calibration=data, clock=FakeClock())
    model = net(NETS[where], OPSETS.get(where, 17))
    return model, calibrated(model, samples(model, 30), clock=FakeClock())


def applied(call: str, where: str, **parts: Any) -> tuple[Model, PassRecord]:
    """The network after the pass, nothing being believed, and the record."""
    model, ctx = subject(where)
    after = model.copy()
    with ExitStack() as stack:
        one = made(call)
        for option in FILES.keys() & CALLS[call][1]:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "file.json"
            path.write_text(json.dumps(FILES[option](where)))
            one = dataclasses.replace(one, **{option: path})  # type: ignore[type-var]
        (record,) = PassManager((one,)).run(after, dataclasses.replace(ctx, **parts), verify_each=True)
    return after, record


EMPTY = {"profile": "s8s8", "weights": "tensor", "round": "nearest"}  # where nothing was quantized
FILES: dict[str, Callable[[str], Any]] = {  # what an option reads, made by another call
    "spec": lambda where: removed(applied("prune-2", where)[0]),
    "decisions": lambda where: applied("quantize-1", where)[1].decisions or EMPTY,
}
once = cache(applied)


@every_call
@pytest.mark.parametrize("where", [*NETS, *DIGITS])
def test_it_tells_the_truth_and_leaves_a_sound_graph(call: str, where: str) -> None:
    model, ctx = subject(where)
    before = model.fingerprint()
    after, record = once(call, where)
    assert record.changed is (after.fingerprint() != before)
    assert record.note
    assert all(skip.where and skip.why for skip in record.skipped)
    assert model.fingerprint() == ctx.original.fingerprint() == before
    proto = after.proto()
    onnx.checker.check_model(proto, full_check=True)
    signature = [[(v.name, v.type) for v in (*p.graph.input, *p.graph.output)] for p in (model.proto(), proto)]
    assert signature[0] == signature[1]
    Session(proto)(made_up(model, ctx.shapes, seed=1))


@every_call
def test_it_does_something_somewhere(call: str) -> None:
    """The control: a pass that never changes anything would pass all of the above."""
    assert sum(once(call, where)[1].changed for where in (*NETS, *DIGITS)) >= 3


# -- equal bytes -----------------------------------------------------------------------------------------------------


def digest(after: Model, record: PassRecord) -> str:
    words = json.dumps([record.note, [[s.where, s.why] for s in record.skipped], list(record.missed)])
    return hashlib.sha256(after.proto().SerializeToString(deterministic=True) + words.encode()).hexdigest()


def digests(run: Callable[[str, str], tuple[Model, PassRecord]] = applied) -> dict[str, str]:
    """Of every call on some networks; run in a process of its own, too."""
    return {f"{call} {where}": digest(*run(call, where)) for call in CALLS for where in SOME}


def test_a_second_run_gives_the_same_bytes() -> None:
    assert digests() == digests(once)


@pytest.mark.parametrize("hash_seed", ["1", "2718"])
def test_a_fresh_process_gives_the_same_bytes(hash_seed: str) -> None:
    folder = Path(__file__).parent
    code = "import json, test_contract; print(json.dumps(test_contract.digests()))"
    paths = [str(folder), str(folder.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == digests(once)


def test_the_bytes_of_one_network_are_not_those_of_another() -> None:
    """The control."""
    found = digests(once)
    assert len(found) >= 30
    assert len(set(found.values())) >= 0.8 * len(found)


@every_call
@pytest.mark.parametrize("where", ["residual", "grouped"])
def test_what_is_on_disk_makes_no_difference(call: str, where: str, tmp_path: Path) -> None:
    first, again = (digest(*applied(call, where, cache=Cache(tmp_path))) for _ in range(2))
    assert first == again == digest(*once(call, where))
