"""What an error of a layer's weights costs in what the layer makes: Σ ‖e·x‖² = e·H·eᵀ with H = Σ x·xᵀ.

Weights are matrices [groups, outputs, columns] here, H is [groups, columns, columns]; every output stands alone.
"""

from __future__ import annotations

import numpy as np

from onnxprune.node import Array

__all__ = ["cost", "damped", "root"]


def cost(error: Array, h: Array | None) -> Array:
    """e·H·eᵀ of every output [groups, outputs]; Σ e² where nothing is known of what the layer reads."""
    return np.asarray(np.sum(error * (error if h is None else error @ h), axis=2))


def damped(h: Array, share: float) -> Array:
    """H with that share of its mean diagonal added to the diagonal, so that it is positive definite."""
    columns = np.arange(h.shape[1])
    mean = h[:, columns, columns].mean(axis=1)
    result = h.copy()
    result[:, columns, columns] += share * np.where(mean > 0, mean, 1.0)[:, None]
    return result


def root(h: Array) -> Array:
    """The upper triangular R with H = R·Rᵀ: what the columns behind one cannot make up for is on its diagonal."""
    return np.asarray(np.linalg.cholesky(h[:, ::-1, ::-1])[:, ::-1, ::-1])
