"""Resize of images: which elements an output position reads, and how much each counts, are tables made in advance.

Coordinates are computed in single precision and in the order of onnxruntime, as a tie decides which element is nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te
from tvm.te import Tensor

from onnxprune.codegen.importer import INJECTIVE, Importer, rule
from onnxprune.node import Array


@dataclass(frozen=True)
class Taps:
    """Along one axis: what each output position reads [size, taps] (int32), and its weights (float32)."""

    index: Array
    weight: Array


@rule("Resize")
def resize(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Of rows and columns, by constant factors or to constant sizes."""
    x = inputs[0]
    found = _taps(graph, inputs, attrs) if graph.is_image(x) else None
    if found is None:
        return None
    tables = [table for taps in found for table in (graph.indices(taps.index), graph.const(taps.weight))]
    channels = graph.shape(x)[1]
    if not graph.has_blocks(x) and channels < graph.lanes:
        return graph.emit(_resized, x, *tables, name="resize", pattern=INJECTIVE)
    return graph.plain(graph.emit(_resized, graph.block(x), *tables, name="resize", pattern=INJECTIVE), channels)


def _resized(x: Tensor, rows: Tensor, above: Tensor, columns: Tensor, beside: Tensor) -> Tensor:
    """The weighted sum of what is read; ``x`` in blocks or plain."""
    shape = [*x.shape[:2], rows.shape[0], columns.shape[0], *x.shape[4:]]

    def value(n: Any, c: Any, i: Any, j: Any, *lane: Any) -> Any:
        def row(k: int) -> Any:
            return _weighted(lambda m: x[(n, c, rows[i, k], columns[j, m], *lane)], beside, j)

        return _weighted(row, above, i)

    result: Tensor = te.compute(shape, value, name="resize")
    return result


def _weighted(element: Callable[[int], Any], weights: Tensor, at: Any) -> Any:
    taps = int(weights.shape[1])
    if taps == 1:
        return element(0)
    total = element(0) * weights[at, 0]
    for k in range(1, taps):
        total = total + element(k) * weights[at, k]
    return total


def _taps(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> list[Taps] | None:
    """Of rows and of columns; None for what is left to the frontend."""
    rare = ("antialias", "axes", "exclude_outside")
    text = {key: attrs.get(key, fallback).decode() for key, fallback in DEFAULTS.items()}
    known = text["coordinate_transformation_mode"] in COORDINATES and text["mode"] in MODES
    if any(attrs.get(name) for name in rare) or not known or text["keep_aspect_ratio_policy"] != "stretch":
        return None
    size = np.array(graph.shape(inputs[0]))
    scales, wanted = (graph.constant(each) if each is not None else None for each in (*inputs[2:], None, None)[:2])
    if wanted is not None and wanted.size == 4:
        scales = wanted.astype(np.float32) / size.astype(np.float32)
    elif scales is not None and scales.size == 4:
        wanted = np.floor(size.astype(np.float32) * scales).astype(int)
    else:
        return None
    if list(wanted[:2]) != list(size[:2]) or min(wanted) < 1:
        return None
    find = COORDINATES[text["coordinate_transformation_mode"]]
    made = []
    for axis in (2, 3):
        old, new, scale = int(size[axis]), int(wanted[axis]), np.float32(scales[axis])
        at = np.arange(new, dtype=np.float32)
        exact = at if scale == 1 else find(at, scale, old, new).astype(np.float32)
        made.append(MODES[text["mode"]](exact, old, text["nearest_mode"], attrs.get("cubic_coeff_a", -0.75)))
    return made


DEFAULTS: Mapping[str, bytes] = {
    "coordinate_transformation_mode": b"half_pixel",
    "mode": b"nearest",
    "nearest_mode": b"round_prefer_floor",
    "keep_aspect_ratio_policy": b"stretch",
}

HALF = np.float32(0.5)


def _half_pixel(at: Array, scale: np.float32, old: int, new: int) -> Array:
    return (at + HALF) / scale - HALF


def _pytorch(at: Array, scale: np.float32, old: int, new: int) -> Array:
    return _half_pixel(at, scale, old, new) if new > 1 else np.zeros_like(at)


def _aligned(at: Array, scale: np.float32, old: int, new: int) -> Array:
    return at * np.float32(old - 1) / np.float32(new - 1) if new > 1 else np.zeros_like(at)


def _asymmetric(at: Array, scale: np.float32, old: int, new: int) -> Array:
    return at / scale


COORDINATES: Mapping[str, Callable[[Array, np.float32, int, int], Array]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch,
    "align_corners": _aligned,
    "asymmetric": _asymmetric,
}


def _round_prefer_floor(exact: Array) -> Array:
    return np.ceil(exact - HALF)


ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": _round_prefer_floor,
    "round_prefer_ceil": lambda exact: np.floor(exact + HALF),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _nearest(exact: Array, old: int, rounding: str, _: float) -> Taps:
    index = np.clip(ROUNDINGS[rounding](exact), 0, old - 1).astype(np.int32)
    return Taps(index[:, None], np.ones((len(exact), 1), np.float32))


def _linear(exact: Array, old: int, _: str, __: float) -> Taps:
    inside = np.clip(exact, 0, old - 1)
    first = np.floor(inside).astype(np.int32)
    rest = (inside - first).astype(np.float32)
    return Taps(np.stack([first, np.minimum(first + 1, old - 1)], 1), np.stack([1 - rest, rest], 1))


def _cubic(exact: Array, old: int, _: str, a: float) -> Taps:
    """R. Keys, Cubic convolution interpolation, 1981."""
    first = np.floor(exact)
    away = np.abs((exact - first)[:, None] - np.arange(-1, 3))
    near = ((a + 2) * away - (a + 3)) * away**2 + 1
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    index = np.clip(first[:, None] + np.arange(-1, 3), 0, old - 1).astype(np.int32)
    return Taps(index, np.where(away <= 1, near, far).astype(np.float32))


MODES: Mapping[str, Callable[[Array, int, str, float], Taps]] = {
    "nearest": _nearest,
    "linear": _linear,
    "cubic": _cubic,
}
