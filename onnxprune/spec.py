"""The prune spec, ``prune.json``: which slots are removed, in names and slots of the input file; read and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from onnxprune.errors import UsageError, unknown
from onnxprune.model import Model
from onnxprune.node import Dim
from onnxprune.shapes import found_shapes

__all__ = ["Given", "Spec", "checked", "read"]

Spec: TypeAlias = Mapping[str, Mapping[int, Sequence[int]]]
Given: TypeAlias = str | os.PathLike[str] | Mapping[str, Mapping[Any, Sequence[int]]]
FORM = '{"tensor": {"axis": [removed slots]}}'


def read(given: Given, model: Model) -> dict[str, dict[int, list[int]]]:
    """A spec for a model from a file or a mapping, with slots ascending; an axis may be written as text, as in JSON.

    Raises UsageError for what is no spec, and for tensors, axes and slots that the model does not have.
    """
    if isinstance(given, Mapping):
        return checked(given, model)
    try:
        return checked(_loaded(Path(given)), model)
    except UsageError as error:
        raise UsageError(f"{os.fspath(given)}: {error}") from error


def _loaded(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise UsageError(f"cannot read the prune spec: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"not JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}; write {FORM}") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; of a key that is there twice, all but one would be lost without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise UsageError(f"'{twice}' is there twice; name it once")
    return found


def checked(given: object, model: Model) -> dict[str, dict[int, list[int]]]:
    """The spec that a mapping is, found to speak of the model; raises UsageError as ``read`` does."""
    tensors = {t.name: t for node in model.nodes for t in node.tensors()}
    tensors |= {t.name: t for t in (*model.constants, *model.inputs, *model.outputs)}
    spec: dict[str, dict[int, list[int]]] = {}
    named = dict(_pairs(given, "the prune spec"))
    if strange := [name for name in named if name not in tensors]:
        raise UsageError(unknown("tensor", strange[0], tensors))
    shapes = found_shapes(model, [tensors[name] for name in named])
    for name, axes in named.items():
        if (shape := shapes[name]) is None:
            raise UsageError(f"the axes of '{name}' are known at run time only; leave it out")
        for axis, slots in _pairs(axes, f"'{name}'"):
            dim = _dim(name, axis, len(shape))
            if dim in spec.setdefault(name, {}):
                raise UsageError(f"axis {dim} of '{name}' is there twice; name it once")
            spec[name][dim] = _slots(f"{name}[{dim}]", shape[dim], slots)
    return spec


def _pairs(given: object, what: str) -> Iterator[tuple[Any, object]]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} is no object; write {FORM}")
    yield from given.items()


def _dim(name: str, axis: object, rank: int) -> int:
    text = str(axis)
    if isinstance(axis, bool) or not text.isdecimal() or int(text) >= rank:
        held = f"axes 0 to {rank - 1}" if rank else "no axes"
        raise UsageError(f"'{name}' has no axis '{text}'; it has {held}")
    return int(text)


def _slots(where: str, size: Dim, given: object) -> list[int]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise UsageError(f"{where} has no list of slots; write {FORM}")
    slots = list(given)
    if wrong := [slot for slot in slots if isinstance(slot, bool) or not hasattr(slot, "__index__")]:
        raise UsageError(f"{where} cannot lose slot {wrong[0]!r}; slots are whole numbers")
    if not isinstance(size, int):
        raise UsageError(f"the size of {where} is known at run time only; leave it out")
    if wrong := [slot for slot in slots if not 0 <= slot < size]:
        raise UsageError(f"{where} has no slot {wrong[0]}; its slots are 0 to {size - 1}")
    gone = sorted({int(slot) for slot in slots})
    if len(gone) == size:
        raise UsageError(f"{where} would lose all of its {size} slots; keep at least one")
    return gone
