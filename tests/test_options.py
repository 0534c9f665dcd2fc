"""Options: dataclass fields, their text form and their TOML table say the same."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import tomli_w

from onnxprune.errors import PassContractError, UsageError
from onnxprune.options import (
    Amount,
    Share,
    build,
    files,
    help_text,
    moved,
    option,
    parse_passes,
    render,
    summary,
    to_table,
)

HALF = Share(0.5)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Cut channels.

    The weakest first.
    """

    name: ClassVar[str] = "cut"
    macs: Amount | None = field(default=None, metadata={"help": "MACs that are left"})
    ratio: Share | None = HALF
    keep: tuple[str, ...] = ()
    skip: tuple[str, ...] = ("head",)
    sizes: tuple[int, ...] = ()
    score: Literal["l2", "taylor"] = "l2"
    rounds: int = field(default=1, metadata={"help": "how often"})
    power: float = 2.0
    label: str = "plain"
    verbose: bool = False
    heal: bool | None = True
    seen: int = field(default=0, init=False)


CHOICES = ("one", "two")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Has an option whose values stand in a table."""

    name: ClassVar[str] = "chosen"
    which: Annotated[str, (*CHOICES, "none")] = "one"


@dataclass(frozen=True, kw_only=True)
class Strict:
    name: ClassVar[str] = "strict"
    size: int

    def __post_init__(self) -> None:
        if self.size % 2:
            raise ValueError("size is odd")


@dataclass(frozen=True, kw_only=True)
class Strange:
    """Has an option that cannot be written."""

    name: ClassVar[str] = "strange"
    where: dict[str, int] | None = None


def cut(text: str) -> Cut:
    [(name, options)] = parse_passes(text)
    assert name == "cut"
    return build(Cut, options)


# --- the text form


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", []),
        ("  ", []),
        ("fold", [("fold", {})]),
        ("fold,prune:macs=50%", [("fold", {}), ("prune", {"macs": ["50%"]})]),
        (" fold , prune : macs = 50% ", [("fold", {}), ("prune", {"macs": ["50%"]})]),
        ("p:keep=a:keep=b:n=1", [("p", {"keep": ["a", "b"], "n": ["1"]})]),
        ("p:keep='a,b:c=d',q", [("p", {"keep": ["a,b:c=d"]}), ("q", {})]),
        ('p:keep="a,b"', [("p", {"keep": ["a,b"]})]),
        ("p:keep='it''s'", [("p", {"keep": ["it's"]})]),
        ('p:keep="say ""a"""', [("p", {"keep": ['say "a"']})]),
        ("p:keep=it's", [("p", {"keep": ["it's"]})]),
        ("p:keep=", [("p", {"keep": [""]})]),
        ("p:keep='':on", [("p", {"keep": [""], "on": []})]),
        ("p:on", [("p", {"on": []})]),
        ("p,p", [("p", {}), ("p", {})]),
    ],
)
def test_the_grammar_reads(text: str, passes: list[Any]) -> None:
    assert parse_passes(text) == passes


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "fold,",
        ",fold",
        "fold,,prune",
        "p:",
        "p:=1",
        "p=1",
        "p::a=1",
        "p:a=1=2",
        "p:a='b",
        "p:a='b'c",
        "p:a= 'b",
        "a b",
    ],
)
def test_the_grammar_refuses_and_shows_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot read .* the form is name:key=value"):
        parse_passes(text)


@pytest.mark.parametrize("text", ["p:on:on", "p:on:on=no", "p:on=no:on"])
def test_a_bare_key_stands_once(text: str) -> None:
    with pytest.raises(UsageError, match="pass 'p': option 'on' is given twice"):
        parse_passes(text)


# --- values


@pytest.mark.parametrize("text", ["0.5", "50%", "50 %", "5e-1", ".5", 0.5, Share(0.5)])
def test_a_share_is_a_number_or_a_percentage(text: str | float) -> None:
    assert Share(text) == 0.5
    assert str(Share(text)) == "50%"


@pytest.mark.parametrize("text", ["0", "0%", "1.01", "101%", "-0.5", "nan", "inf", "1K", "8ms", "", "half", True])
def test_a_share_outside_its_bounds_is_refused(text: str | float) -> None:
    with pytest.raises(UsageError, match="is not a share above 0% and up to 100%"):
        Share(text)


@pytest.mark.parametrize(
    ("text", "amount", "printed"),
    [
        ("50%", Amount(0.5, relative=True), "50%"),
        (0.5, Amount(0.5, relative=True), "50%"),
        ("33.3%", Amount(0.333, relative=True), "33.3%"),
        ("1", Amount(1.0, relative=True), "100%"),
        (1, Amount(1.0, relative=True), "100%"),
        ("2", Amount(2.0, relative=False), "2"),
        (300000, Amount(300000.0, relative=False), "300K"),
        ("1.2M", Amount(1.2e6, relative=False), "1.2M"),
        ("1234567", Amount(1234567.0, relative=False), "1.234567M"),
        ("3G", Amount(3e9, relative=False), "3G"),
        ("0.001K", Amount(1.0, relative=False), "0.001K"),
        ("0.0015K", Amount(1.5, relative=False), "0.0015K"),
        ("8ms", Amount(8.0, relative=False, unit="ms"), "8ms"),
        ("0.25ms", Amount(0.25, relative=False, unit="ms"), "0.25ms"),
    ],
)
def test_an_amount_is_a_share_a_count_or_a_time(text: str | float, amount: Amount, printed: str) -> None:
    assert Amount.parse(text) == amount
    assert str(amount) == printed
    assert Amount.parse(printed) == amount


@pytest.mark.parametrize(
    "text", ["0", "0%", "0ms", "0K", "101%", "-1", "-5%", "nan", "inf", "1.5", "1.2m", "8s", "", "9e999G"]
)
def test_an_amount_that_no_network_can_meet_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an amount: above 0% and up to 100% of the original"):
        Amount.parse(text)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1.5])
def test_an_amount_made_by_hand_is_checked_too(value: float) -> None:
    with pytest.raises(UsageError, match="is not an amount"):
        Amount(value, relative=True)


def test_a_relative_amount_is_of_the_original() -> None:
    assert Amount.parse("25%").of(200.0) == 50.0
    assert Amount.parse("1.2K").of(200.0) == 1200.0


# --- building


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cut", Cut()),
        ("cut:macs=50%", Cut(macs=Amount(0.5, relative=True))),
        ("cut:macs=none:ratio=none:heal=none", Cut(ratio=None, heal=None)),
        ("cut:keep=a.*:keep='b,c'", Cut(keep=("a.*", "b,c"))),
        ("cut:skip", Cut(skip=())),
        ("cut:sizes=1:sizes=2", Cut(sizes=(1, 2))),
        ("cut:score=taylor:rounds=3:power=1e-3", Cut(score="taylor", rounds=3, power=1e-3)),
        ("cut:verbose", Cut(verbose=True)),
        ("cut:label=none", Cut(label="none")),
    ],
)
def test_text_makes_an_object(text: str, expected: Cut) -> None:
    assert cut(text) == expected


@pytest.mark.parametrize(
    ("word", "value"),
    [*((word, True) for word in ("yes", "true", "on", "1")), *((word, False) for word in ("no", "false", "off", "0"))],
)
def test_a_switch_has_many_words(word: str, value: bool) -> None:
    assert cut(f"cut:verbose={word}").verbose is value


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            {"ratio": 0.25, "rounds": 2, "power": 3, "verbose": True},
            Cut(ratio=Share(0.25), rounds=2, power=3.0, verbose=True),
        ),
        ({"macs": "50%", "keep": ["a", "b"]}, Cut(macs=Amount(0.5, relative=True), keep=("a", "b"))),
        (
            {"macs": 1200000, "keep": "a", "ratio": 1},
            Cut(macs=Amount(1.2e6, relative=False), keep=("a",), ratio=Share(1)),
        ),
        ({"skip": [], "heal": "none"}, Cut(skip=(), heal=None)),
    ],
)
def test_a_toml_table_makes_the_same_object(table: dict[str, object], expected: Cut) -> None:
    assert build(Cut, table) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mac": "1"}, "pass 'cut': no option 'mac'; did you mean 'macs'?"),
        ({"seen": "1"}, "pass 'cut': no option 'seen'; known: "),
        ({"macs": "0%"}, "pass 'cut': option 'macs' cannot be '0%'; it takes an amount: above 0%"),
        ({"macs": float("nan")}, "option 'macs' cannot be 'nan'"),
        ({"macs": True}, "option 'macs' cannot be 'yes'"),
        ({"macs": ["1", "2"]}, "pass 'cut': option 'macs' is given twice; it takes an amount"),
        ({"macs": []}, "pass 'cut': option 'macs' has no value; it takes an amount"),
        (
            {"ratio": 2},
            "option 'ratio' cannot be '2'; it takes a share above 0% and up to 100%, as 50% or 0.5, or none",
        ),
        ({"rounds": 1.5}, "option 'rounds' cannot be '1.5'; it takes a whole number"),
        ({"rounds": "none"}, "option 'rounds' cannot be 'none'; it takes a whole number"),
        ({"power": "nan"}, "option 'power' cannot be 'nan'; it takes a number"),
        ({"verbose": "maybe"}, "option 'verbose' cannot be 'maybe'; it takes yes or no"),
        ({"score": "l1"}, "option 'score' cannot be 'l1'; it takes one of l2, taylor"),
        ({"sizes": [1, "x"]}, "option 'sizes' cannot be 'x'; it takes a whole number; repeat it for more"),
        ({"label": {"a": 1}}, "option 'label' cannot be \"{'a': 1}\"; it takes a text"),
    ],
)
def test_a_wrong_value_says_what_where_and_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(Cut, values)
    assert message in str(caught.value)


def test_values_may_be_read_off_a_table() -> None:
    assert build(Chosen, {"which": "two"}) == Chosen(which="two")
    assert render(Chosen(which="two")) == "chosen:which=two"
    assert "one of one, two, none; default: one" in help_text(Chosen)
    with pytest.raises(UsageError, match=r"option 'which' cannot be 'three'; it takes one of one, two, none$"):
        build(Chosen, {"which": "three"})


def test_an_option_without_default_must_be_given() -> None:
    with pytest.raises(UsageError, match="pass 'strict': option 'size' is missing; it takes a whole number"):
        build(Strict, {})
    assert render(build(Strict, {"size": "2"})) == "strict:size=2"


def test_what_a_pass_refuses_itself_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="pass 'strict': size is odd"):
        build(Strict, {"size": 3})


def test_a_type_that_cannot_be_written_is_the_authors_fault() -> None:
    with pytest.raises(PassContractError, match="pass 'strange': an option has a type that cannot be written"):
        build(Strange, {"where": "x"})


# --- round trips


def some_cut(rng: random.Random) -> Cut:
    def text() -> str:
        return "".join(rng.choices("abz09.*[]|(){}$\\ :,='\"%-\n\tä", k=rng.randrange(6)))

    def amount() -> Amount:
        shape = rng.choice(["share", "count", "time", "whole"])
        if shape == "share":
            return Amount(rng.random() or 1.0, relative=True)
        if shape == "whole":
            return Amount(float(rng.randrange(1, 10 ** rng.randrange(1, 14))), relative=False)
        return Amount(10 ** rng.uniform(-6, 15), relative=False, unit="ms" if shape == "time" else "")

    return Cut(
        macs=rng.choice([None, amount()]),
        ratio=rng.choice([None, Share(rng.random() or 1.0)]),
        keep=tuple(text() for _ in range(rng.randrange(4))),
        skip=tuple(text() for _ in range(rng.randrange(2))),
        sizes=tuple(rng.choices(range(-9, 9), k=rng.randrange(3))),
        score=rng.choice(["l2", "taylor"]),
        rounds=rng.randrange(-5, 5),
        power=rng.uniform(-1e6, 1e6),
        label=text(),
        verbose=rng.choice([True, False]),
        heal=rng.choice([True, False, None]),
    )


def test_text_and_toml_round_trip() -> None:
    rng = random.Random(0)
    for _ in range(400):
        made = some_cut(rng)
        assert cut(render(made)) == made
        assert build(Cut, tomllib.loads(tomli_w.dumps(to_table(made)))) == made


def test_only_what_differs_from_the_defaults_is_written() -> None:
    made = Cut(macs=Amount(0.5, relative=True), keep=("head.*", "a,b"), verbose=True, heal=None)
    assert render(Cut()) == "cut"
    assert render(made) == "cut:macs=50%:keep='head.*':keep='a,b':verbose=yes:heal=none"
    assert to_table(Cut()) == {}
    assert to_table(made) == {"macs": "50%", "keep": ["head.*", "a,b"], "verbose": True, "heal": "none"}


# --- help


def test_help_shows_the_docstring_and_every_option() -> None:
    lines = help_text(Cut).splitlines()
    assert lines[:3] == ["cut: Cut channels.", "", "The weakest first."]
    at = lines.index("  rounds")
    assert lines[at + 1 : at + 3] == ["      how often", "      a whole number; default: 1"]
    assert "      one of l2, taylor; default: l2" in lines
    assert "      a text; repeat it for more; default: head" in lines
    assert "  seen" not in lines


def test_a_pass_without_docstring_does_not_show_its_signature() -> None:
    assert help_text(Strict) == "strict: (no description)\n\n  size\n      a whole number; required\n"
    assert summary(Strict) == "(no description)"
    assert summary(Cut) == "Cut channels."


def test_option_is_a_field_with_help() -> None:
    made = make_dataclass("Made", [("size", int, option(3, "how large"))])
    assert build(made, {}) == made(size=3)
    assert "  size\n      how large\n      a whole number; default: 3\n" in help_text(made)


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Reads files."""

    name: ClassVar[str] = "reads"
    table: Path | None = None
    more: tuple[Path, ...] = ()
    word: str = "a/b"


def test_a_path_is_written_as_it_is_and_read_back() -> None:
    one = Reads(table=Path("a,b/c.json"), more=(Path("d"), Path("none")))
    ((name, given),) = parse_passes(render(one))
    assert name == "reads"
    assert build(Reads, given) == build(Reads, tomllib.loads(tomli_w.dumps(to_table(one)))) == one
    assert files(one) == [Path("a,b/c.json"), Path("d"), Path("none")]
    assert files(Reads()) == []


def test_paths_are_moved_and_nothing_else() -> None:
    values = {"table": "a.json", "more": ["b", "c"], "word": "d"}
    assert moved(Reads, values, lambda path: f"conf/{path}") == {
        "table": "conf/a.json",
        "more": ["conf/b", "conf/c"],
        "word": "d",
    }
    strange = {"table": 1, "tabel": "a", "more": "none"}
    assert moved(Reads, {"table": "none"}, str.upper) == {"table": "none"}
    assert moved(Reads, strange, str.upper) == {"table": 1, "tabel": "a", "more": "none"}
