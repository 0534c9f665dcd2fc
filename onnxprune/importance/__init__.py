"""Which channels matter least: criteria of the literature behind one interface."""

from __future__ import annotations

from collections.abc import Mapping

from onnxprune.importance.activations import Apoz, Correlation, Variance
from onnxprune.importance.evidence import Evidence, Importance, Maker
from onnxprune.importance.greedy import SurgeonStructured, ThiNet, ThiNetPursuit
from onnxprune.importance.weights import Fpgm, MeanVariance, Norm, Random

__all__ = ["CRITERIA", "Evidence", "Importance", "Maker"]

CRITERIA: Mapping[str, Importance] = {
    "l1": Norm("l1"),
    "l2": Norm("l2"),
    "fpgm": Fpgm(),
    "meanvar": MeanVariance(),
    "random": Random(),
    "apoz": Apoz(),
    "variance": Variance(),
    "correlation": Correlation(),
    "thinet": ThiNet(),
    "thinet-omp": ThiNetPursuit(),
    "obs": SurgeonStructured(),
}
