"""The LASSO over what the next layers make of the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxprune.importance.evidence import Evidence, Importance, Need
from onnxprune.importance.greedy import contributions, without
from onnxprune.node import Array

__all__ = ["Lasso", "entered"]

EPS = 1e-10


@dataclass(frozen=True)
class Lasso(Importance):
    """min ‖y − Σ βⱼ·zⱼ‖² + λ·Σ|βⱼ|, with zⱼ what atom j contributes to y: what enters first as λ falls stays longest.

    The criterion is that of He et al., Channel Pruning, 2017; the path gives every number of channels at once, where
    they searched for the λ of one.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})

    def order(self, evidence: Evidence) -> Array:
        """The reverse of the order in which atoms enter, before it those that never do."""
        gram, count = contributions(evidence), len(evidence.atoms)
        gram, b = without(gram, gram.sum(axis=1), count, EPS * float(np.trace(gram)))  # what cannot go has no price
        found = entered(gram[:count, :count], b[:count])
        return np.array([*(j for j in range(count) if j not in found), *found[::-1]], int)


def entered(gram: Array, b: Array) -> list[int]:
    """The order in which βⱼ first differ from 0 as λ falls (LARS: Efron et al. 2004, with the steps back of the LASSO).

    G = Zᵀ·Z and b = Zᵀ·y; what those that are active already express never enters.
    """
    beta, rest, active, order = np.zeros(len(b)), b.astype(float), list[int](), list[int]()
    out, dropped = np.diag(gram) <= EPS * np.trace(gram), -1
    level = least = float(np.abs(rest).max(initial=0))
    for _ in range(8 * len(b)):
        way = np.linalg.solve(gram[np.ix_(active, active)], np.sign(rest[active]))
        fall = gram[:, active] @ way  # of the rest, while that of the active ones falls by 1
        joins = np.minimum(_until(level - rest, 1 - fall), _until(level + rest, 1 + fall))
        joins[out | np.isin(np.arange(len(b)), [*active, dropped])] = np.inf
        leaves = np.array([-beta[j] / d if beta[j] * d < 0 else np.inf for j, d in zip(active, way, strict=True)])
        join = len(b) - 1 - int(np.argmin(joins[::-1]))  # of equals the last stays
        step = min(float(joins[join]), float(leaves.min(initial=np.inf)))
        if step >= level - EPS * least:
            break
        beta[active] += step * way
        rest, level, dropped = rest - step * fall, level - step, -1
        if step == joins[join]:
            out[join] = _expressed(gram, active, join)
            active += [] if out[join] else [join]
        else:
            dropped = active.pop(int(np.argmin(leaves)))
            beta[dropped] = 0.0
        order += [j for j in active[-1:] if j not in order]
    return order


def _until(left: Array, pace: Array) -> Array:
    """When nothing is left; never where it does not fall."""
    return np.where(pace > EPS, np.maximum(left, 0) / np.maximum(pace, EPS), np.inf)


def _expressed(gram: Array, active: list[int], new: int) -> bool:
    own, cross = gram[new, new], gram[active, new]
    return bool(own - cross @ np.linalg.solve(gram[np.ix_(active, active)], cross) <= EPS * own)
