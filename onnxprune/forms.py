"""How the values of each type are written: one form serves the command line, TOML and the help."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path

from onnxprune.units import Amount, Share, Size

__all__ = ["Form", "form_of", "text_of"]

_SWITCH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
_WORDS = {None: "none", True: "yes", False: "no"}


@dataclass(frozen=True)
class Form:
    """What is allowed and how it is read; ``bare`` is the text that a key without a value stands for.

    A ``path`` is relative to the recipe that it stands in, and what is there is an input of the build. A ``table`` is
    the class whose fields are the options of each of the tables that are given by name, which a recipe has room for
    and a text has not.
    """

    allowed: str
    read: Callable[[str], object]
    many: bool = False
    bare: str | None = None
    path: bool = False
    table: type | None = None


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _switch(text: str) -> bool:
    if text not in _SWITCH:
        raise ValueError(text)
    return _SWITCH[text]


_FORMS: dict[object, Form] = {
    bool: Form("yes or no", _switch, bare="yes"),
    int: Form("a whole number", int),
    float: Form("a number", _finite),
    str: Form("a text", str),
    Path: Form("a path", Path, path=True),
    Share: Form(Share.allowed, Share),
    Amount: Form(Amount.allowed, Amount.parse),
    Size: Form(Size.allowed, Size.parse),
}


def form_of(annotation: object) -> Form:
    """The form for an annotation; raises TypeError where there is none."""
    args = typing.get_args(annotation)
    match typing.get_origin(annotation), args:
        case None, _ if annotation in _FORMS:
            return _FORMS[annotation]
        case typing.Literal, _:
            return _choice({text_of(value): value for value in args})
        case typing.Annotated, (builtin, tuple() as values) if builtin is str:
            return _choice({value: value for value in values})
        case types.UnionType | typing.Union, (inner, types.NoneType) | (types.NoneType, inner):
            return _optional(form_of(inner))
        case types.UnionType | typing.Union, (word, inner) if typing.get_origin(word) is typing.Literal:
            return _or(form_of(word), form_of(inner))
        case builtin, (inner, dots) if builtin is tuple and dots is ...:
            table = _table(inner)
            return _list(form_of(inner)) if table is None else _tables(table)
    raise TypeError(annotation)


def _choice(choices: Mapping[str, object]) -> Form:
    def read(text: str) -> object:
        if text not in choices:
            raise ValueError(text)
        return choices[text]

    return Form("one of " + ", ".join(choices), read)


def _optional(inner: Form) -> Form:
    if inner.many:
        raise TypeError("an optional list")
    return replace(inner, allowed=f"{inner.allowed}, or none", read=lambda t: None if t == "none" else inner.read(t))


def _or(words: Form, inner: Form) -> Form:
    """One of some words, or what the other form reads."""

    def read(text: str) -> object:
        try:
            return words.read(text)
        except ValueError:
            return inner.read(text)

    return replace(inner, allowed=f"{words.allowed.removeprefix('one of ')}, or {inner.allowed}", read=read)


def _list(inner: Form) -> Form:
    if inner.many:
        raise TypeError("a list of lists")
    return replace(inner, allowed=f"{inner.allowed}; repeat it for more", many=True, bare=None)


def _table(annotation: object) -> type | None:
    """The class of the tables in ``tuple[tuple[str, Class], ...]``."""
    args = typing.get_args(annotation)
    named = typing.get_origin(annotation) is tuple and len(args) == 2 and args[0] is str
    return args[1] if named and isinstance(args[1], type) and is_dataclass(args[1]) else None


def _tables(table: type) -> Form:
    def read(text: str) -> object:
        raise ValueError(text)

    return Form(f"tables in a recipe, each with some of {', '.join(f.name for f in fields(table))}", read, table=table)


def text_of(value: object) -> str:
    """The text that the form of the value's type reads as an equal value."""
    return _WORDS[value] if value is None or isinstance(value, bool) else str(value)
