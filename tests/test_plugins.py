"""Rules and targets of other distributions: they work like ours, and messages name the distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contexts import context
from oracle import net

from onnxprune import plugins
from onnxprune.axes import rules
from onnxprune.backends import targets
from onnxprune.backends.targets import load_target, target_files, target_names
from onnxprune.errors import BackendError, PassError, UsageError
from onnxprune.healing import Wave

Make = Callable[..., Path]

RULE = """
from onnxprune.axes.rules import rule

@rule("com.example.{}")
def stated(node):
    yield from ()
"""
BOARD = '[board]\ntriple = "riscv64-linux-gnu"\ncores = 2\n'


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tables that a test may add to, read anew."""
    rules.known()
    monkeypatch.setattr(rules, "_rules", dict(rules._rules))
    monkeypatch.setattr(rules, "_refits", dict(rules._refits))
    for read in (rules.load, targets._tables):
        read.cache_clear()
    yield
    for read in (rules.load, targets._tables):
        read.cache_clear()


def with_rules(distribution: Make, code: str, name: str = "plugin") -> Path:
    """A distribution whose module ``<name>_rules`` holds rules."""
    return distribution(name, rules.GROUP, f"{name} = {name}_rules", {f"{name}_rules.py": code})


def with_targets(distribution: Make, text: str, name: str = "plugin") -> Path:
    """A distribution whose package ``<name>_boards`` holds targets."""
    files = {f"{name}_boards/__init__.py": "", f"{name}_boards/targets.toml": text}
    return distribution(name, targets.GROUP, f"{name} = {name}_boards", files)


# -- rules -----------------------------------------------------------------------------------------------------------


def test_rules_of_a_plug_in_stand_beside_ours(distribution: Make) -> None:
    with_rules(distribution, RULE.format("Swish"))
    assert {"com.example.Swish", "Conv"} <= rules.known()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (RULE.format("Swish") + "raise ValueError('no')", "ValueError: no"),
    ],
)
def test_rules_that_cannot_be_imported_give_the_cause_again_and_again(
    distribution: Make, code: str, cause: str
) -> None:
    with_rules(distribution, code)
    for _ in range(2):
        with pytest.raises(PassError) as caught:
            rules.known()
        said = f"rules 'plugin' of 'plugin' cannot be imported from plugin_rules: {cause}; reinstall or repair 'plugin'"
        assert str(caught.value) == said


def test_a_model_of_standard_operators_is_read_without_plug_ins(distribution: Make) -> None:
    with_rules(distribution, "1 / 0")
    assert net("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }").opset == 17


def test_two_rules_for_one_operator_name_both_distributions(distribution: Make) -> None:
    with_rules(distribution, RULE.format("Swish"))
    with_rules(distribution, RULE.format("Swish"), "other")
    said = r"^there are two rules for com\.example\.Swish, in 'other' and 'plugin'; uninstall one of them$"
    with pytest.raises(UsageError, match=said):
        rules.known()


def test_a_rule_for_an_operator_of_ours_is_a_clash(distribution: Make) -> None:
    with_rules(distribution, RULE.replace("com.example.{}", "Conv"))
    with pytest.raises(UsageError, match="two rules for Conv, in 'onnxprune' and 'plugin'"):
        rules.known()


def test_what_is_kept_on_disk_depends_on_the_source_of_rules(distribution: Make) -> None:
    model = net("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }")
    keys = [Wave(()).key(model, context(model))]
    folder = with_rules(distribution, RULE.format("Swish"))
    for comment in ("", "# another\n"):
        (folder / "plugin_rules.py").write_text(RULE.format("Swish") + comment)
        rules.load.cache_clear()
        keys += [Wave(()).key(model, context(model)) for _ in range(2)]
    assert keys[1] == keys[2] != keys[3] == keys[4]
    assert len(set(keys)) == 3


# -- targets ---------------------------------------------------------------------------------------------------------


def test_targets_of_a_plug_in_stand_behind_ours(distribution: Make) -> None:
    folder = with_targets(distribution, BOARD)
    assert target_names()[0] == "host"
    assert target_names()[-1] == "board"
    board = load_target("board")
    assert (board.arch, board.cores, board.align, board.features) == ("riscv64", 2, 4, ())
    assert target_files() == [Path(targets.__file__).with_name("targets.toml"), folder / "plugin_boards/targets.toml"]


def test_a_target_without_a_triple_is_this_machine(distribution: Make) -> None:
    with_targets(distribution, '[mine]\ncpu = "znver3"\nfeatures = ["+a", "-b"]')
    assert load_target("mine").triple == load_target("host").triple
    assert load_target("mine").features == ("+a", "-b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOARD + "speed = 3", "target 'board' of 'plugin': no option 'speed'; .*; repair 'plugin'"),
        (BOARD.replace("2", '"two"'), "target 'board' of 'plugin': option 'cores' cannot be 'two'; .*repair 'plugin'"),
        (BOARD.replace('"riscv64-linux-gnu"', "[]"), "target 'board' of 'plugin': option 'triple' has no value; .*"),
        ("[board", "the targets of 'plugin' cannot be read from '.*targets.toml': Expected .*; repair 'plugin'"),
        ("board = 3", r"the targets of 'plugin': 'board' in '.*' is no table; write \[board\]"),
    ],
)
def test_a_table_that_is_not_sound_names_its_distribution(distribution: Make, text: str, said: str) -> None:
    with_targets(distribution, text)
    with pytest.raises(BackendError, match=f"^{said}$"):
        load_target("board")


def test_a_package_without_the_file_names_its_distribution(distribution: Make) -> None:
    (with_targets(distribution, "") / "plugin_boards/targets.toml").unlink()
    with pytest.raises(BackendError, match="the targets of 'plugin' cannot be read"):
        target_names()


def test_a_package_that_cannot_be_imported_names_its_distribution(distribution: Make) -> None:
    (with_targets(distribution, BOARD) / "plugin_boards/__init__.py").write_text("1 / 0")
    with pytest.raises(BackendError, match="targets 'plugin' of 'plugin' cannot be imported from plugin_boards: Zero"):
        load_target("host")


@pytest.mark.parametrize(("text", "other"), [(BOARD, "other"), (BOARD.replace("board", "rpi4"), "onnxprune")])
def test_two_targets_of_one_name_name_both_distributions(distribution: Make, text: str, other: str) -> None:
    with_targets(distribution, text)
    if other == "other":
        with_targets(distribution, text, other)
    with pytest.raises(UsageError, match=rf"two targets are named '\w+', in '{other}' and 'plugin'; uninstall one"):
        target_names()


# -- sources ---------------------------------------------------------------------------------------------------------


def test_sources_are_the_loaded_modules_of_whole_packages() -> None:
    found = plugins.sources(["onnxprune.axes.rules"])
    assert {Path(rules.__file__), Path(targets.__file__)} <= set(found)
    assert not any("numpy" in path.parts for path in found)
    assert found == sorted(found)
    assert plugins.sources(["nowhere.to.be.found"]) == []
