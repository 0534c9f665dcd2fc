"""Which channels matter least: criteria of the literature behind one interface."""

from __future__ import annotations

from collections.abc import Mapping

from onnxprune.importance.activations import Apoz, Correlation, Variance
from onnxprune.importance.evidence import Evidence, Importance, Maker, Seen, Watch
from onnxprune.importance.greedy import SurgeonStructured, ThiNet, ThiNetPursuit
from onnxprune.importance.lasso import Lasso
from onnxprune.importance.maps import Gain, HRank, Maxout
from onnxprune.importance.weights import Fpgm, MeanVariance, Norm, Random

__all__ = ["CRITERIA", "Evidence", "Importance", "Maker", "Seen", "Watch"]

CRITERIA: Mapping[str, Importance] = {
    "l1": Norm("l1"),
    "l2": Norm("l2"),
    "fpgm": Fpgm(),
    "meanvar": MeanVariance(),
    "random": Random(),
    "bn": Gain(),
    "hrank": HRank(),
    "maxout": Maxout(),
    "apoz": Apoz(),
    "variance": Variance(),
    "correlation": Correlation(),
    "thinet": ThiNet(),
    "thinet-omp": ThiNetPursuit(),
    "lasso": Lasso(),
    "obs": SurgeonStructured(),
}
