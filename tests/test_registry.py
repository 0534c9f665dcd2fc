"""The registry: passes come by entry point, and only those that are named are imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxprune import registry
from onnxprune.errors import PassContractError, PassError, UsageError
from onnxprune.options import build

TIDY = '''
from dataclasses import dataclass
from typing import ClassVar

from onnxprune.passes import Pass

@dataclass(frozen=True, kw_only=True)
class Tidy:
    """Tidy up.

    Thoroughly.
    """

    name: ClassVar[str] = "tidy"
    rounds: int = 1

    def run(self, model, ctx):
        pass
'''

Install = Callable[..., None]


@pytest.fixture
def install(distribution: Callable[..., Path]) -> Install:
    """Makes a distribution with one module and one pass; no others are installed."""

    def put(code: str = TIDY, name: str = "tidy", dist: str = "plugin", attribute: str = "Tidy") -> None:
        entry = f"{name} = {dist}_module:{attribute}"
        distribution(dist, registry.GROUP, entry, {f"{dist}_module.py": code})

    return put


def test_our_own_passes_come_by_entry_point() -> None:
    assert {"fold", "prune"} <= set(registry.names())


def test_a_pass_of_a_plug_in_is_loaded_by_name(install: Install) -> None:
    install()
    tidy = registry.load("tidy")
    assert tidy.name == "tidy"
    assert build(tidy, {"rounds": "2"}) == build(tidy, {"rounds": 2})


def test_names_import_nothing_and_load_imports_only_what_is_named(install: Install) -> None:
    install()
    install(dist="other", name="other")
    assert registry.names() == ("other", "tidy")
    assert not {"plugin_module", "other_module"} & set(sys.modules)
    registry.load("tidy")
    assert "plugin_module" in sys.modules
    assert "other_module" not in sys.modules


def test_summaries_are_first_lines_and_say_what_is_broken(install: Install) -> None:
    install()
    install("import nowhere_to_be_found", name="broken", dist="other")
    summaries = registry.summaries()
    assert summaries["tidy"] == "Tidy up."
    assert summaries["broken"].startswith("(pass 'broken' of 'other' cannot be imported")


def test_an_unknown_pass_is_a_usage_error_with_the_nearest_name(install: Install) -> None:
    install()
    with pytest.raises(UsageError, match=r"^no pass 'tdy'; did you mean 'tidy'\?$"):
        registry.load("tdy")


def test_two_distributions_with_one_name_are_both_told(install: Install) -> None:
    install()
    install(dist="other")
    with pytest.raises(UsageError, match="two passes are named 'tidy', in 'other' and 'plugin'; uninstall one"):
        registry.names()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("", "AttributeError: "),
    ],
)
def test_a_pass_that_cannot_be_imported_gives_the_cause(install: Install, code: str, cause: str) -> None:
    install(code)
    with pytest.raises(PassError) as caught:
        registry.load("tidy")
    assert str(caught.value).startswith(f"pass 'tidy' of 'plugin' cannot be imported from plugin_module:Tidy: {cause}")
    assert not isinstance(caught.value, PassContractError)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("frozen=True, ", "", "is not a frozen dataclass"),
        ("@dataclass(frozen=True, kw_only=True)", "", "is not a frozen dataclass"),
        ('= "tidy"', '= "tody"', "has the name 'tody' and not 'tidy'"),
        ('name: ClassVar[str] = "tidy"', "", "has the name None and not 'tidy'"),
        ("def run", "def walk", r"has no method run\(model, ctx\)"),
        ("rounds: int", "use: int", "has an option 'use', which names the pass in a recipe"),
        ("rounds: int", "rounds: complex", "an option has a type that cannot be written"),
        ("class Tidy:", "class Other:\n    pass\nTidy = 3\nclass Another:", "plugin_module:Tidy is not a class"),
    ],
)
def test_a_class_that_is_no_pass_is_the_authors_fault(install: Install, old: str, new: str, fault: str) -> None:
    assert old in TIDY
    install(TIDY.replace(old, new))
    with pytest.raises(PassContractError, match=f"^pass 'tidy': .*{fault}"):
        registry.load("tidy")


def test_run_must_not_be_the_empty_one_of_the_protocol(install: Install) -> None:
    install(TIDY.replace("class Tidy", "class Tidy(Pass)").replace("def run", "def walk"))
    with pytest.raises(PassContractError, match="has no method run"):
        registry.load("tidy")
