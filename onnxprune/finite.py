"""Where a network makes the first value that is no number."""

from __future__ import annotations

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.model import Model
from onnxprune.node import Node
from onnxprune.stepwise import lasting
from onnxprune.taps import tapped

__all__ = ["first_not_finite"]


def first_not_finite(model: Model, data: Calibration) -> tuple[Node, str] | None:
    """The first node, in the order of the graph, that makes NaN or infinity on the data, and the tensor it makes.

    The samples are run one by one, or as many as the graph takes, up to the first on which that happens; None where it
    never does.
    """
    made = {t.name: node for node in model.nodes for t in node.outputs if t is not None and lasting(t)}
    session = tapped(model, list(made))
    for feeds in data.batches(1):
        values = dict(zip(session.outputs, session(feeds), strict=True))
        for name, node in made.items():
            if values[name].dtype.kind == "f" and not np.isfinite(values[name]).all():
                return node, name
    return None
