"""The text form of a pipeline: ``name:key=value:key=value,name2``.

A value with ``:``, ``,`` or ``=`` is quoted (``keep='a,b'``), the quote itself is doubled inside, and a repeated key is
a list. Where there is nothing but options, commas stand between them too, and further values need no key:
``mean=0.5,0.4,0.3,size=224``.
"""

from __future__ import annotations

import re

from onnxprune.errors import UsageError

__all__ = ["parse_options", "parse_passes", "quoted"]

_WORD = re.compile(
    r"""\s*+(?P<key>[^\s:,='"]+)\s*+
    (?P<value>=\s*+(?:'(?P<single>(?:[^']|'')*+)'|"(?P<double>(?:[^"]|"")*+)"|(?P<bare>(?!['"])[^:,=]*))\s*+)?
    (?P<end>[:,]|\Z)""",
    re.VERBOSE,
)
_UNQUOTED = re.compile(r"[\w.%+/@-]*")
_GRAMMAR = (
    "the form is name:key=value:key=value,name2; a value with ':', ',' or '=' is quoted (keep='a,b'),"
    " and a shell needs quotes around the whole as well"
)


def parse_passes(text: str) -> list[tuple[str, dict[str, list[str]]]]:
    """Names and options as they are written, with nothing looked up; a key without a value has no values."""
    passes: list[tuple[str, dict[str, list[str]]]] = []
    position, separator = 0, "," if text.strip() else ""
    while separator:
        word = _WORD.match(text, position)
        if word is None or (separator == "," and word["value"] is not None):
            raise UsageError(f"cannot read {text[position:]!r} in passes {text!r}: {_GRAMMAR}")
        if separator == ",":
            passes.append((word["key"], {}))
        else:
            _add(word, *passes[-1])
        position, separator = word.end(), word["end"]
    return passes


def parse_options(text: str) -> dict[str, list[str]]:
    """Options as they are written; a word without ``=`` is one more value of the option before it."""
    options: dict[str, list[str]] = {}
    position, separator, key = 0, "," if text.strip() else "", ""
    while separator:
        word = _WORD.match(text, position)
        if word is None or (word["value"] is None and not key):
            raise UsageError(f"cannot read {text[position:]!r} in {text!r}: the form is key=value,key=value,value")
        key = word["key"] if word["value"] is not None else key
        options.setdefault(key, []).append(word["key"] if word["value"] is None else _unquoted(word))
        position, separator = word.end(), word["end"]
    return options


def _add(word: re.Match[str], name: str, options: dict[str, list[str]]) -> None:
    key = word["key"]
    values = [] if word["value"] is None else [_unquoted(word)]
    if key in options and not (values and options[key]):
        raise UsageError(f"pass '{name}': option '{key}' is given twice")
    options.setdefault(key, []).extend(values)


def _unquoted(word: re.Match[str]) -> str:
    if word["bare"] is not None:
        return word["bare"].strip()
    return word["double"].replace('""', '"') if word["single"] is None else word["single"].replace("''", "'")


def quoted(text: str) -> str:
    """The value, in quotes where they are needed."""
    if _UNQUOTED.fullmatch(text):
        return text
    quote = '"' if "'" in text and '"' not in text else "'"
    return quote + text.replace(quote, quote * 2) + quote
