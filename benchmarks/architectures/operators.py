"""Torchvision and timm, with the operators that exports need where its wheel was compiled for another torch.

The wheels of the package index are compiled for CUDA; beside a torch without CUDA their operators are missing, and
the import fails. What stands in for them is traced and exported under the same names.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType

import torch
from torch import Tensor

__all__ = ["timm", "torchvision"]

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that no better one overlaps by more than the threshold, best first."""
    order, kept = scores.argsort(descending=True), list[Tensor]()
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low, high = torch.maximum(boxes[best, :2], boxes[order, :2]), torch.minimum(boxes[best, 2:], boxes[order, 2:])
        common = (high - low).clamp(min=0).prod(1)
        order = order[common / (sizes[best] + sizes[order] - common) <= threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)


def roi_align(x: Tensor, rois: Tensor, scale: float, height: int, width: int, ratio: int, aligned: bool) -> Tensor:
    """The reference in Python that torchvision has itself."""
    reference = inspect.unwrap(importlib.import_module("torchvision.ops.roi_align")._roi_align)  # not compiled
    found: Tensor = reference(x, rois, scale, height, width, ratio, aligned)
    return found


def present() -> bool:
    """What torchvision asks before it calls an operator."""
    return True


def _imported() -> ModuleType:
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    for schema in SCHEMAS:
        LIBRARY.define(schema)
    for name, work in {"nms": nms, "qnms": nms, "roi_align": roi_align}.items():
        LIBRARY.impl(name, work, "CPU")
    found = importlib.import_module("torchvision")
    for module in [each for name, each in sys.modules.items() if name.partition(".")[0] == "torchvision"]:
        if hasattr(module, "_has_ops"):
            vars(module)["_has_ops"] = present
    return found


LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
torchvision = _imported()
timm = importlib.import_module("timm")
