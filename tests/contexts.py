"""A context for tests: everything that a pass or an analysis is given, with nothing behind it."""

from __future__ import annotations

from typing import Any

from onnxprune.cache import Cache
from onnxprune.evaluate import Evaluator
from onnxprune.executor import Serial
from onnxprune.model import Model
from onnxprune.passes import Context
from onnxprune.progress import Progress
from onnxprune.shapes import input_shapes


def context(model: Model, **parts: Any) -> Context:
    """No calibration, no target, no cache, no display; dynamic sizes are 1. ``parts`` replace any of that."""
    given: dict[str, Any] = {
        "original": model,
        "calibration": None,
        "evaluator": Evaluator(),
        "target": None,
        "executor": Serial(),
        "cache": Cache(None),
        "progress": Progress.silent(),
        "shapes": input_shapes(model, {}),
    }
    return Context(**(given | parts))
