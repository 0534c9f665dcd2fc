"""Dataclass fields are the only schema of options: text, TOML table and help are read off them.

A value in TOML means what the same text means on the command line. Where there may be no value, ``none`` says so.
"""

from __future__ import annotations

import inspect
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from onnxprune.errors import PassContractError, UsageError, unknown
from onnxprune.forms import Form, form_of, text_of
from onnxprune.grammar import parse_passes, quoted
from onnxprune.units import Amount, Share, Size

__all__ = [
    "Amount",
    "Form",
    "Share",
    "Size",
    "Told",
    "build",
    "doc",
    "files",
    "forms",
    "given",
    "help_text",
    "moved",
    "option",
    "parse_passes",
    "read",
    "render",
    "summary",
    "to_table",
    "told",
]

T = TypeVar("T")
Scalar: TypeAlias = str | int | float | bool


def option(default: T, help: str) -> T:
    """A dataclass field with a default and a line of help."""
    made: T = field(default=default, metadata={"help": help})
    return made


def forms(cls: type) -> dict[str, Form]:
    """The form of each option; raises PassContractError for a type that no option can have."""
    return _forms(cls, _fields(cls))


def _forms(cls: type, names: Iterable[str]) -> dict[str, Form]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
        return {name: form_of(hints[name]) for name in names}
    except (NameError, TypeError) as error:
        raise PassContractError(
            f"{_label(cls)}: an option has a type that cannot be written ({error}); use bool, int, float, str, Path,"
            " Share, Amount, Size, Literal or Annotated[str, (choices)], perhaps with '| None', or a tuple[..., ...] of"
            " them, imported at run time"
        ) from error


def build(cls: type[T], values: Mapping[str, object]) -> T:
    """The object that the values of a text or a TOML table describe."""
    made = read(cls, values, _label(cls))
    for name, declared in _fields(cls).items():
        if name not in made and _default(declared) is MISSING:
            raise UsageError(f"{_label(cls)}: option '{name}' is missing; it takes {forms(cls)[name].allowed}")
    try:
        return cls(**made)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{_label(cls)}: {error}") from error


def read(cls: type, values: Mapping[str, object], where: str) -> dict[str, Any]:
    """Typed values for the options of ``cls`` that are given; ``where`` begins every message."""
    if strange := [key for key in values if key not in _fields(cls)]:
        raise UsageError(f"{where}: {unknown('option', strange[0], _fields(cls))}")
    expected = _forms(cls, values)
    return {key: _read(expected[key], value, f"{where}: option '{key}'") for key, value in values.items()}


def _read(form: Form, value: object, where: str) -> object:
    if form.table is not None and isinstance(value, Mapping):
        return tuple((name, _tabled(form.table, inner, f"{where}: {name!r}")) for name, inner in value.items())
    given = value if isinstance(value, list) else [value]
    if form.many:
        return tuple(_read_one(form, one, where) for one in given)
    if len(given) > 1:
        raise UsageError(f"{where} is given twice; it takes {form.allowed}")
    if not given and form.bare is None:
        raise UsageError(f"{where} has no value; it takes {form.allowed}")
    return _read_one(form, given[0] if given else form.bare, where)


def _tabled(table: type, values: object, where: str) -> object:
    """One of the tables given by name."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{where} is no table")
    made = read(table, values, where)
    try:
        return table(**made)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error


def _read_one(form: Form, value: object, where: str) -> object:
    try:
        if not isinstance(value, Scalar):
            raise ValueError(value)
        return form.read(text_of(value))
    except (UsageError, ValueError) as error:
        raise UsageError(f"{where} cannot be {text_of(value)!r}; it takes {form.allowed}") from error


def render(instance: object) -> str:
    """The text form of a pass, with the options that differ from their defaults; ``shlex.quote`` it for a shell."""
    words = [str(getattr(instance, "name", type(instance).__name__))]
    for key, value in given(instance).items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"{key}={quoted(_written(one))}" for one in values] or [key]
    return ":".join(words)


def _written(value: object) -> str:
    """The text of a value; of a table, for which a text has no room, its name and what stands for the rest of it."""
    return f"{value[0]}: …" if isinstance(value, tuple) else text_of(value)


def to_table(instance: object) -> dict[str, Any]:
    """The TOML table with the options that differ from their defaults."""
    return {key: _toml(value) for key, value in given(instance).items()}


def _toml(value: object) -> object:
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return {name: to_table(table) for name, table in value}
    if isinstance(value, tuple):
        return [_toml(one) for one in value]
    return value if type(value) in (str, int, float, bool) else text_of(value)


def given(instance: object) -> dict[str, object]:
    """The options that differ from their defaults, with their values."""
    values = {name: (getattr(instance, name), _default(declared)) for name, declared in _fields(type(instance)).items()}
    return {name: value for name, (value, default) in values.items() if value != default}


def moved(cls: type, values: Mapping[str, object], place: Callable[[str], str]) -> dict[str, object]:
    """The values of a text or a TOML table, with ``place`` applied to every path among them."""
    named = _forms(cls, values.keys() & _fields(cls).keys())
    found = {key: values[key] for key, form in named.items() if form.path}
    return {**values, **{key: _placed(value, place) for key, value in found.items()}}


def _placed(value: object, place: Callable[[str], str]) -> object:
    if isinstance(value, list):
        return [_placed(one, place) for one in value]
    return place(value) if isinstance(value, str) and value != text_of(None) else value


def files(instance: object) -> list[Path]:
    """The paths among the options."""
    values = (getattr(instance, name) for name, form in forms(type(instance)).items() if form.path)
    return [path for value in values for path in (value if isinstance(value, tuple) else (value,)) if path is not None]


def summary(cls: type) -> str:
    """The first line of the docstring."""
    return doc(cls).partition("\n")[0]


@dataclass(frozen=True)
class Told:
    """What a person is told of one option: its help, the values it takes, and the one it has when none is given."""

    name: str
    help: str
    allowed: str
    state: str


def told(cls: type) -> list[Told]:
    """What is to be said of each option."""
    return [
        Told(name, _fields(cls)[name].metadata.get("help", ""), form.allowed, _state(_fields(cls)[name]))
        for name, form in forms(cls).items()
    ]


def help_text(cls: type) -> str:
    """What ``--help-pass`` prints: the docstring, then each option with its form, its default and its help."""
    blocks = [f"{getattr(cls, 'name', cls.__name__)}: {doc(cls)}"]
    for each in told(cls):
        lines = [each.help, f"{each.allowed}; {each.state}"]
        blocks.append(f"  {each.name}\n" + textwrap.indent("\n".join(filter(None, lines)), "      "))
    return "\n\n".join(blocks) + "\n"


def doc(cls: type) -> str:
    """The docstring, or a word that there is none."""
    text = inspect.cleandoc(cls.__doc__ or "")
    written = text and not text.startswith(f"{cls.__name__}(")  # else dataclass wrote the signature
    return text if written else "(no description)"


def _state(declared: Field[Any]) -> str:
    if (default := _default(declared)) is MISSING:
        return "required"
    return f"default: {_shown(default)}"


def _shown(default: object) -> str:
    return text_of(default) if not isinstance(default, tuple) else ", ".join(map(text_of, default)) or "empty"


def _fields(cls: type) -> dict[str, Field[Any]]:
    return {each.name: each for each in fields(cls) if each.init}


def _default(declared: Field[Any]) -> object:
    return declared.default if declared.default_factory is MISSING else declared.default_factory()


def _label(cls: type) -> str:
    return f"pass '{cls.name}'" if hasattr(cls, "name") else str(cls.__name__)
