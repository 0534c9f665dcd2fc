"""Resize in the forms that the frontend lacks: axis by axis a product with a matrix, or a choice by index.

A Resize is linear in its data and works on each axis apart, with weights whose sum is one. So what the node itself
makes of a unit vector along one axis, all else being constant, is a column of that axis's matrix, whatever the modes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxprune.backends.lowering.site import Site
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = ["resize"]

X, ROI, SCALES, SIZES = range(4)
PLAIN = frozenset({"align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel"})  # that the frontend knows
RANKS = range(3, 6)


def resize(site: Site) -> None:
    """Leave what the frontend reads rightly, and write out the rest; raises ValueError for what cannot be."""
    before = site.shape(site.input(X))
    factors, after = _factors(site, before), site.shape(site.output(0))
    if site.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        if site.attribute("axes") or site.input(SCALES) or not _stretched(site):
            raise ValueError("it crops")
    elif not _plain(site, factors, before, after):
        _write(site, factors, before, after)


def _factors(site: Site, before: Sequence[int]) -> dict[int, float]:
    """By axis; of those that stay as they are there is none."""
    axes = [axis % len(before) for axis in site.attribute("axes", range(len(before)))]
    for index in (SCALES, SIZES):
        if not (name := site.input(index)):
            continue
        if (value := site.value(name)) is None:
            raise ValueError(f"'{name}' is computed at run time")
        if value.size:
            given = zip(axes, value.tolist(), strict=True)
            return {k: v if index == SCALES else v / before[k] for k, v in given if v != (1, before[k])[index == SIZES]}
    raise ValueError("neither scales nor sizes are given")


def _stretched(site: Site) -> bool:
    return bool(site.attribute("keep_aspect_ratio_policy", "stretch") == "stretch")


def _plain(site: Site, factors: Mapping[int, float], before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether sizes alone tell it, as the frontend takes them to."""
    mode = site.attribute("coordinate_transformation_mode", "half_pixel")
    known = mode in PLAIN and _stretched(site) and not site.attribute("axes") and not site.attribute("antialias", 0)
    whole = all(before[k] * np.float32(factor) == np.float32(after[k]) for k, factor in factors.items())
    cornered = mode == "align_corners" and 1 in after[2:]
    return known and whole and not cornered and len(before) in RANKS and factors.keys().isdisjoint((0, 1))


def _write(site: Site, factors: Mapping[int, float], before: Sequence[int], after: Sequence[int]) -> None:
    nearest = site.attribute("mode", "nearest") == "nearest"
    if not nearest and site.dtype(site.input(X)).kind != "f":
        raise ValueError(f"its data is {site.dtype(site.input(X)).name}")
    shrunk = [n if k in factors or not _stretched(site) else 1 for k, n in enumerate(before)]
    alone, x, sizes = _alone(site, shrunk), site.input(X), list(before)
    for axis in factors:
        matrix = _matrix(alone, shrunk, axis)
        if nearest:
            x = site.emit("Gather", x, site.constant(matrix.argmax(axis=1)), axis=axis)
        else:
            x = _product(site, x, matrix, sizes, axis)
        sizes[axis] = after[axis]
    site.write(0, x)


def _alone(site: Site, shape: Sequence[int]) -> Session:
    """The node for itself, on data of another shape, each of whose axes is as it is or one long."""
    found = {k: site.value(site.input(k)) for k in (ROI, SCALES, SIZES)}
    values = {k: value for k, value in found.items() if value is not None}
    if SIZES in values and not site.attribute("axes"):
        given = zip(shape, site.shape(site.input(X)), values[SIZES], strict=True)
        values[SIZES] = np.array([size if now == was else now for now, was, size in given], np.int64)
    stored = [numpy_helper.from_array(np.asarray(value), f"i{k}") for k, value in values.items()]
    names = ["x", *(f"i{k}" if k in values else "" for k in (ROI, SCALES, SIZES))]
    node = onnx.NodeProto()
    node.CopyFrom(site.node)
    del node.input[:]
    node.input.extend(names[: len(site.node.input)])
    node.output[0] = "y"
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph([node], "alone", ends[:1], ends[1:], stored)
    opset = helper.make_opsetid("", site.known.opset)
    return Session(helper.make_model(graph, ir_version=8, opset_imports=[opset]), optimise=False)


def _matrix(alone: Session, shape: Sequence[int], axis: int) -> Array:
    """Of shape [out, in]: what the outputs along an axis get of each input."""
    columns = []
    for index in range(shape[axis]):
        x = np.zeros(shape, np.float32)
        x[(slice(None),) * axis + (index,)] = 1
        (y,) = alone({"x": x})
        columns.append(np.moveaxis(y, axis, 0).reshape(y.shape[axis], -1)[:, 0])
    return np.stack(columns, axis=1)


def _product(site: Site, x: str, matrix: Array, sizes: Sequence[int], axis: int) -> str:
    """A matrix times an axis of ``x``, all axes before it becoming one, and all behind it."""
    around = [math.prod(sizes[:axis]), sizes[axis], math.prod(sizes[axis + 1 :])]
    product = site.emit("MatMul", site.constant(matrix, site.dtype(site.input(X))), site.reshape(x, around))
    return site.reshape(product, [*sizes[:axis], matrix.shape[0], *sizes[axis + 1 :]])
