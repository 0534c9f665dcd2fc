"""Recipes: from TOML, from a line of text, and back to TOML."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from onnxprune import registry
from onnxprune.errors import UsageError, unknown
from onnxprune.options import Amount
from onnxprune.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Fold:
    name: ClassVar[str] = "fold"


@dataclass(frozen=True, kw_only=True)
class Prune:
    name: ClassVar[str] = "prune"
    macs: Amount | None = None
    keep: tuple[str, ...] = ()
    verbose: bool = False


HALF = Amount(0.5, relative=True)
EDGE = """
schema = 1
calib = "calib.npz"
test = "../data/test.npz"
metric = "top1"
seed = 7
threads = 2
[[pass]]
use = "fold"
[[pass]]
use = "prune"
macs = "50%"
keep = ["head.*"]
[[target]]
use = "rpi4"
[[target]]
use = "x86-avx2"
[gate]
max_drop = 1  # percentage points
[shapes]
input = [1, 3, 224, 224]
scalar = []
"""


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Any] = {"fold": Fold, "prune": Prune}

    def load(name: str) -> Any:
        if name not in known:
            raise UsageError(unknown("pass", name, known))
        return known[name]

    monkeypatch.setattr(registry, "load", load)


def recipe(folder: Path, text: str) -> Recipe:
    (folder / "edge.toml").write_text(text)
    return Recipe.from_toml(folder / "edge.toml")


def test_a_file_says_everything(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    assert recipe(tmp_path / "conf", EDGE) == Recipe(
        passes=(Fold(), Prune(macs=HALF, keep=("head.*",))),
        targets=("rpi4", "x86-avx2"),
        calib=str(tmp_path / "conf" / "calib.npz"),
        test=str(tmp_path / "data" / "test.npz"),
        metric="top1",
        max_drop=1.0,
        shapes={"input": (1, 3, 224, 224), "scalar": ()},
        seed=7,
        threads=2,
    )


def test_a_file_needs_no_more_than_the_schema(tmp_path: Path) -> None:
    assert recipe(tmp_path, "schema = 1") == Recipe()


def test_absolute_paths_stay(tmp_path: Path) -> None:
    assert recipe(tmp_path, 'schema = 1\ncalib = "/data/calib.npz"').calib == "/data/calib.npz"


def test_text_and_file_give_the_same_passes(tmp_path: Path) -> None:
    text = "fold,prune:macs=50%:keep='head.*'"
    assert Recipe.from_passes(text) == Recipe(passes=recipe(tmp_path, EDGE).passes)
    assert Recipe.from_passes("") == Recipe()


def test_the_command_line_overrides_a_file(tmp_path: Path) -> None:
    changed = replace(recipe(tmp_path, EDGE), seed=3, targets=())
    assert (changed.seed, changed.targets, changed.metric) == (3, (), "top1")
    assert hash(changed) == hash(replace(changed))


def test_toml_is_short_and_in_order() -> None:
    made = Recipe(passes=(Fold(), Prune(macs=HALF, verbose=True)), targets=("rpi4",), max_drop=1.5, calib="calib.npz")
    assert made.to_toml() == (
        'schema = 1\ncalib = "calib.npz"\nseed = 0\n\n[gate]\nmax_drop = 1.5\n\n[[pass]]\nuse = "fold"\n\n'
        '[[pass]]\nuse = "prune"\nmacs = "50%"\nverbose = true\n\n[[target]]\nuse = "rpi4"\n'
    )


def test_toml_round_trips_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    rng = random.Random(0)
    for _ in range(100):
        folder = Path(rng.choice([".", "deep", "deep/er"]))
        made = Recipe(
            passes=tuple(
                rng.choices([Fold(), Prune(macs=HALF, keep=("a,b", 'it\'s "x"', "\\d\n"))], k=rng.randrange(3))
            ),
            targets=tuple(rng.sample(["rpi4", "x86-avx2"], k=rng.randrange(3))),
            calib=rng.choice([None, "calib.npz", "deep/calib.npz", "../calib.npz", "/data/calib.npz"]),
            test=rng.choice([None, "test"]),
            metric=rng.choice([None, "top1"]),
            max_drop=rng.choice([None, 0.0, 1.5]),
            shapes=rng.choice([{}, {"x": (1, 3), "a.b": ()}]),
            seed=rng.randrange(3),
            threads=rng.choice([None, 2]),
            jobs=rng.choice([None, 3]),
        )
        assert recipe(folder, made.to_toml(folder)) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'schema' is missing; write schema = 1"),
        ("schema = 2", "'schema' is 2; write schema = 1"),
        ("schema = true", "'schema' is True; write schema = 1"),
        ("schema = 1\npas = 1", "no key 'pas'; did you mean 'pass'?"),
        ("schema = 1\n[gate]\nmaxdrop = 1", "[gate]: no key 'maxdrop'; did you mean 'max_drop'?"),
        ("schema = 1\n[gate]\nmax_drop = 'much'", "option 'max_drop' cannot be 'much'; it takes a number, or none"),
        ("schema = 1\n[gate]\nmax_drop = -1", "max_drop cannot be -1; it takes percentage points, 0 or more"),
        ("schema = 1\nseed = -1", "seed cannot be -1; it takes a whole number, 0 or more"),
        ("schema = 1\nseed = 1.5", "option 'seed' cannot be '1.5'; it takes a whole number"),
        ("schema = 1\nthreads = 0", "threads cannot be 0; it takes a whole number, 1 or more"),
        ("schema = 1\ngate = 1", "'gate' is not a table; write [gate]"),
        ("schema = 1\npass = ['fold']", "'pass' is not a list of tables; write [[pass]]"),
        ("schema = 1\n[pass]\nuse = 'fold'", "'pass' is not a list of tables; write [[pass]]"),
        ("schema = 1\n[[pass]]\nmacs = 1", 'pass 1 has no name; write use = "NAME" under [[pass]]'),
        ("schema = 1\n[[pass]]\nuse = 'prun'", "no pass 'prun'; did you mean 'prune'?"),
        ("schema = 1\n[[pass]]\nuse = 'prune'\nmac = 1", "pass 'prune': no option 'mac'; did you mean 'macs'?"),
        ("schema = 1\n[[pass]]\nuse = 'prune'\nmacs = 0", "pass 'prune': option 'macs' cannot be '0'; it takes"),
        ("schema = 1\n[[target]]\nuse = 'a'\ncpu = 'b'", "target 'a': no key 'cpu'; known: none"),
        ("schema = 1\n[[target]]\nuse = 'a'\n[[target]]\nuse = 'a'", "target 'a' is given twice; name it once"),
        ("schema = 1\n[shapes]\nx = 3", "shape of 'x' cannot be 3; write it as [1, 3, 224, 224]"),
        ("schema = 1\n[shapes]\nx = [1, 'n']", "shape of 'x' cannot be [1, 'n']; write it as [1, 3, 224, 224]"),
        ("schema = 1\n[shapes]\nx = [1, 0]", "shape of 'x' cannot be [1, 0]; every size is 1 or more"),
    ],
)
def test_a_wrong_file_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'edge.toml'}: ")
    assert message in str(caught.value)


def test_what_is_not_toml_gives_the_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"edge.toml: not TOML: .* \(at line 2, column 9\)"):
        recipe(tmp_path, "schema = 1\ncalib = calib.npz")


def test_what_is_not_text_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"edge.toml: not TOML: 'utf-8' codec"):
        Recipe.from_toml(tmp_path / "edge.toml")


@pytest.mark.parametrize(("name", "why"), [("none.toml", "No such file or directory"), (".", "Is a directory")])
def test_a_missing_file_is_a_usage_error(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"cannot read the recipe: {why}"):
        Recipe.from_toml(tmp_path / name)
