"""Whether two answers of an analysis say the same: what ``--verify-each`` compares.

Answers are dataclasses, mappings, sequences, arrays and numbers, nested at will. ``==`` is no help there: arrays answer
it element by element, ``eq=False`` dataclasses and partial functions by identity, and sums taken in another order
differ by rounding. Two answers are alike when they are built alike and their numbers are equal up to rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import FunctionType

import numpy as np

from onnxprune.node import Array

__all__ = ["alike"]

ROUNDING = 1e-5  # of a number, or of the largest in an array


def alike(a: object, b: object) -> bool:
    """Whether two values are built alike and hold equal leaves."""
    return _alike(a, b, {})


def _alike(a: object, b: object, seen: dict[tuple[int, int], tuple[object, object]]) -> bool:
    """``seen`` holds the pairs under comparison or compared: a cycle back to one of them adds no difference."""
    if a is b or (id(a), id(b)) in seen:
        return True
    if type(a) is not type(b):
        return False
    seen[id(a), id(b)] = a, b
    match a, b:
        case np.ndarray(), np.ndarray():
            return _same_array(a, b)
        case (float() | np.floating(), float() | np.floating()):
            return math.isclose(a, b, rel_tol=ROUNDING) or (a != a and b != b)
        case Mapping(), Mapping():
            return a.keys() == b.keys() and all(_alike(a[key], b[key], seen) for key in a)
        case (list() | tuple(), list() | tuple()):
            return len(a) == len(b) and all(_alike(x, y, seen) for x, y in zip(a, b, strict=True))
    if (parts := _parts(a)) is None:
        return bool(a == b)
    others = _parts(b) or {}
    return parts.keys() == others.keys() and all(_alike(parts[name], others[name], seen) for name in parts)


def _same_array(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not np.issubdtype(a.dtype, np.inexact):
        return bool(np.array_equal(a, b))
    scale = float(np.abs(a[np.isfinite(a)]).max(initial=0))
    return bool(np.allclose(a, b, rtol=ROUNDING, atol=ROUNDING * scale, equal_nan=True))


def _parts(value: object) -> dict[str, object] | None:
    """What a value consists of, None when ``==`` knows better: it is a leaf, or its class says what equal means."""
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, functools.partial):
        return {"func": value.func, "args": value.args, "keywords": value.keywords}
    if isinstance(value, FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        return {"code": value.__code__, "defaults": value.__defaults__, "closure": held}
    if type(value).__eq__ is not object.__eq__ or not hasattr(value, "__dict__"):
        return None
    return {name: part for name, part in vars(value).items() if not _is_cached(type(value), name)}


def _is_cached(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), functools.cached_property)
