"""A recipe says all that is to be done to a model: from TOML or from the command line, and back to TOML."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import tomli_w

from onnxprune import registry
from onnxprune.data.labels import NO_LABELS
from onnxprune.data.made_up import RANDOM
from onnxprune.data.preprocess import Preprocess
from onnxprune.errors import UsageError, unknown
from onnxprune.options import build, moved, parse_passes, read, to_table
from onnxprune.passes import Pass

__all__ = ["Call", "Recipe", "Vary", "built", "calls"]

_SCHEMA = 1
_PLAIN = ("calib", "test", "labels", "metric", "seed", "threads", "jobs")
_TABLES = ("gate", "preprocess", "shapes", "pass", "target")
_PATHS = {"calib": RANDOM, "test": RANDOM, "labels": NO_LABELS}  # and the word that is no path

Call: TypeAlias = tuple[type[Pass], Mapping[str, object]]  # a pass, and the options that are given
Vary: TypeAlias = Callable[[Sequence[Call]], Sequence[Call]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to do: the passes in order, the targets, the data, and when the result is good enough.

    ``max_drop`` is in percentage points of the metric. ``dataclasses.replace`` overrides what a file says.
    """

    passes: tuple[Pass, ...] = ()
    targets: tuple[str, ...] = ()
    calib: str | None = None
    test: str | None = None
    preprocess: Preprocess | None = None
    labels: str | None = None
    metric: str | None = None
    max_drop: float | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    seed: int = 0
    threads: int | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense, wherever it came from."""
        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise UsageError(f"max_drop cannot be {self.max_drop:g}; it takes percentage points, 0 or more")
        if self.seed < 0:
            raise UsageError(f"seed cannot be {self.seed}; it takes a whole number, 0 or more")
        for name, count in (("threads", self.threads), ("jobs", self.jobs)):
            if count is not None and count < 1:
                raise UsageError(f"{name} cannot be {count}; it takes a whole number, 1 or more")
        if twice := [name for place, name in enumerate(self.targets) if name in self.targets[:place]]:
            raise UsageError(f"target '{twice[0]}' is given twice; name it once")
        for name, shape in self.shapes.items():
            if not all(size > 0 for size in shape):
                raise UsageError(f"shape of '{name}' cannot be {list(shape)}; every size is 1 or more")

    @classmethod
    def from_passes(cls, text: str) -> Self:
        """The recipe that is nothing but a pipeline, such as ``fold,prune:macs=50%``."""
        return cls(passes=built(calls(text)))

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], vary: Vary | None = None) -> Self:
        """The recipe in a file; relative paths in it start at its folder, ``vary`` may change options."""
        table = _load(path)
        try:
            _check(table, ("schema", *_PLAIN, *_TABLES))
            if type(table.get("schema")) is not int or table["schema"] != _SCHEMA:
                raise UsageError(f"'schema' is {table.get('schema', 'missing')}; write schema = {_SCHEMA}")
            return cls(passes=built(list(_passes(table, Path(path).parent)), vary), **_values(table, Path(path).parent))
        except UsageError as error:
            raise UsageError(f"{os.fspath(path)}: {error}") from error

    def to_toml(self, folder: str | os.PathLike[str] = ".") -> str:
        """The text of a recipe file that lies in ``folder``."""
        plain = {key: value for key in _PLAIN if (value := getattr(self, key)) is not None}
        paths = {key: _relative(plain[key], folder) for key in _paths(plain)}
        tables = {
            "preprocess": {} if self.preprocess is None else to_table(self.preprocess) or {"scale": 1.0},
            "gate": {} if self.max_drop is None else {"max_drop": self.max_drop},
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
        }
        given = {key: value for key, value in tables.items() if value}
        blocks = [tomli_w.dumps({"schema": _SCHEMA, **plain, **paths, **given})]
        blocks += [_block(_called(each, folder)) for each in self.passes]
        blocks += ["[[target]]\n" + tomli_w.dumps({"use": name}) for name in self.targets]
        return "\n".join(blocks)


def calls(passes: str | Iterable[Pass]) -> list[Call]:
    """The passes of a text, or objects, as they were called."""
    if isinstance(passes, str):
        return [(registry.load(name), options) for name, options in parse_passes(passes)]
    return [(type(each), to_table(each)) for each in passes]


def built(called: Sequence[Call], vary: Vary | None = None) -> tuple[Pass, ...]:
    """The passes that are called, once ``vary`` has changed their options."""
    return tuple(build(cls, options) for cls, options in (vary(called) if vary else called))


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{os.fspath(path)}: cannot read the recipe: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # TOML or UTF-8; tomllib gives the line
        raise UsageError(f"{os.fspath(path)}: not TOML: {error}") from error


def _values(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    gate = _table(table, "gate")
    _check(gate, ("max_drop",), "[gate]: ")
    plain = {key: table[key] for key in _PLAIN if key in table}
    values = read(Recipe, {**plain, **gate}, "recipe")
    for key in _paths(values):
        values[key] = os.path.normpath(folder / values[key])
    if "preprocess" in table:
        values["preprocess"] = Preprocess.of(_table(table, "preprocess"))
    shapes = {name: _shape(name, sizes) for name, sizes in _table(table, "shapes").items()}
    return {**values, "shapes": shapes, "targets": tuple(_targets(table))}


def _paths(values: Mapping[str, Any]) -> list[str]:
    """The keys under which there are paths."""
    return [key for key, word in _PATHS.items() if values.get(key) not in (None, word)]


def _passes(table: Mapping[str, Any], folder: Path) -> Iterable[Call]:
    for name, options in _uses(table, "pass"):
        cls = registry.load(name)
        yield cls, moved(cls, options, lambda path: os.path.normpath(folder / path))


def _called(each: Pass, folder: str | os.PathLike[str]) -> dict[str, object]:
    return {"use": each.name, **moved(type(each), to_table(each), lambda path: _relative(path, folder))}


def _block(called: Mapping[str, object]) -> str:
    """An entry of the list of passes, with its own tables below it."""
    return "[[pass]]" + tomli_w.dumps({"pass": called}).removeprefix("[pass]")


def _targets(table: Mapping[str, Any]) -> Iterable[str]:
    for name, options in _uses(table, "target"):
        _check(options, (), f"target '{name}': ")
        yield name


def _uses(table: Mapping[str, Any], key: str) -> Iterable[tuple[str, dict[str, Any]]]:
    entries = table.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"'{key}' is not a list of tables; write [[{key}]]")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(name := entry.get("use"), str):
            raise UsageError(f'{key} {number} has no name; write use = "NAME" under [[{key}]]')
        yield name, {option: value for option, value in entry.items() if option != "use"}


def _table(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    inner = table.get(key, {})
    if not isinstance(inner, dict):
        raise UsageError(f"'{key}' is not a table; write [{key}]")
    return inner


def _shape(name: str, sizes: object) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
        raise UsageError(f"shape of '{name}' cannot be {sizes!r}; write it as [1, 3, 224, 224]")
    return tuple(sizes)


def _check(table: Mapping[str, object], known: tuple[str, ...], where: str = "") -> None:
    for key in table:
        if key not in known:
            raise UsageError(where + unknown("key", key, known))


def _relative(path: str, folder: str | os.PathLike[str]) -> str:
    return path if os.path.isabs(path) else os.path.relpath(path, folder)
