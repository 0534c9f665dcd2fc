"""What layers make of the channels they read: all that a choice among those channels can be judged by.

With rows x of a sample (``patches``), weights W and y = W·x, removing some columns of x costs, after the best refit of
the others (bias included), the part of y that the others do not explain. All of it follows from WᵀW and the spread
C = Σ (x − x̄)(x − x̄)ᵀ: the signal Σ ‖y − ȳ‖² = tr(WᵀW·C), and, with the columns in the order kept first and C = L·Lᵀ,
what is lost with the last ones is Σ ‖(W·L)ⱼ‖² over them, for every number of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from onnxprune.axes.groups import Group
from onnxprune.axes.linear import Linear, linear
from onnxprune.healing import obstacle
from onnxprune.model import Model
from onnxprune.moments import Moments, wide
from onnxprune.node import Array
from onnxprune.ridge import Healed, matrix, tensors
from onnxprune.solving import solved

__all__ = ["Reader", "readers_of", "readings", "rest_of"]

RIDGE = 1e-3  # λ as a share of the mean diagonal of C
STEADY = 1e-12  # variance over mean square below which a column is constant: sums in float64 tell no more apart
TINY = 1e-30  # of a signal
NONE = 1e-60  # λ where there is no spread: what it holds is nothing beside the least signal


@dataclass(frozen=True, eq=False)
class Reader:
    """One group of a layer: ``weights`` [outputs, columns + 1], the bias last, ``atoms`` [columns] that columns hold.

    ``spread`` is C [columns, columns], ``mean`` is x̄ [columns]; where the layer takes no bias both are about 0 instead.
    ``zeros`` [columns] is the share of rows in which a column is 0.
    """

    layer: str
    atoms: Array
    weights: Array
    spread: Array
    mean: Array
    zeros: Array

    @property
    def gram(self) -> Array:
        """WᵀW, [columns, columns]."""
        columns = self.weights[:, :-1]
        return np.asarray(columns.T @ columns)

    @cached_property
    def signal(self) -> float:
        """Σ ‖y − ȳ‖²."""
        return max(float(np.sum((self.weights[:, :-1] @ self.spread) * self.weights[:, :-1])), TINY)

    def damped(self, columns: Array | None = None) -> Array:
        """C + λ·I, of some columns in their order, or of all."""
        chosen = np.arange(len(self.spread)) if columns is None else columns
        damped = np.asarray(self.spread[np.ix_(chosen, chosen)])
        damped[np.diag_indices(len(damped))] += self.ridge
        return damped

    @cached_property
    def ridge(self) -> float:
        """λ."""
        return _ridge(self.spread)

    def lost(self, order: Array) -> Array:
        """The share of the signal that goes with the first k atoms of ``order``, for every k from 0 on."""
        rank = {atom: place for place, atom in enumerate(order.tolist())}
        places = np.array([rank.get(atom, len(order)) for atom in self.atoms.tolist()])
        columns = np.argsort(-places, kind="stable")  # those that stay first, then the last to go
        root = np.linalg.cholesky(self.damped(columns))
        energy = np.sum((self.weights[:, :-1][:, columns] @ root) ** 2, axis=0)
        lost = np.bincount(places[columns], energy, len(order) + 1)[: len(order)]
        return np.concatenate([[0.0], np.cumsum(lost)]) / self.signal

    def rest(self, gone: Array) -> Array:
        """The weights [outputs, columns left + 1] of the best refit without the atoms ``gone``."""
        out = np.isin(self.atoms, gone)
        kept, w = ~out, self.weights[:, :-1]
        held = self.damped(np.flatnonzero(kept))
        (passed,) = solved(held[None], self.spread[np.ix_(kept, out)][None], np.zeros(1))  # x_out ≈ passedᵀ·x_kept
        left = w[:, kept] + w[:, out] @ passed.T
        bias = self.weights[:, -1] + w @ self.mean - left @ self.mean[kept]
        return np.column_stack([left, bias])


def _ridge(spread: Array) -> float:
    return RIDGE * float(np.trace(spread)) / max(len(spread), 1) or NONE


def readers_of(model: Model, original: Model, group: Group) -> list[Linear]:
    """The layers that read channels of a group without passing them on, and that sums can be refitted from."""
    views = (view for node in model.nodes if (view := linear(node)) is not None)
    return [view for view in views if _reads(view, group) and not (wide(view) or obstacle(model, original, view))]


def _reads(view: Linear, group: Group) -> bool:
    x, y = view.x.axes(), view.y.axes()
    return bool(x and y) and x[view.x_channel] in group.atoms and y[view.y_channel] not in group.atoms


def readings(view: Linear, group: Group, sums: Moments) -> list[Reader]:
    """A layer as readers, one for each of its groups; none where its weights or what it reads are not finite."""
    weights = matrix(view)
    if not (sums.finite and np.isfinite(weights).all()):
        return []
    atoms = group.atoms[view.x.axes()[view.x_channel]].reshape(view.groups, -1)
    atoms = np.repeat(atoms, (weights.shape[2] - 1) // atoms.shape[1], axis=1)
    parts, biased = (
        zip(atoms, weights, np.asarray(sums.h), np.asarray(sums.zeros), strict=True),
        view.node.op != "MatMul",
    )
    return [
        Reader(view.node.name, own, w, *_spread(h, biased), zeros / max(h[-1, -1], 1)) for own, w, h, zeros in parts
    ]


def _spread(h: Array, biased: bool) -> tuple[Array, Array]:
    """C and x̄ of sums over rows (x, 1); what is constant up to rounding has no spread."""
    square, total, count = h[:-1, :-1], h[:-1, -1], max(h[-1, -1], 1.0)
    mean = total / count if biased else np.zeros_like(total)
    spread = square - np.outer(count * mean, mean)
    steady = np.diag(spread) <= STEADY * np.diag(square)
    spread[steady], spread[:, steady] = 0.0, 0.0
    return spread, mean


def rest_of(model: Model, readers: Sequence[Reader], gone: Array) -> Mapping[str, Healed]:
    """The weights that readers get in ``model``, from which the atoms ``gone`` were cut."""
    layers: dict[str, list[Array]] = {}
    for reader in readers:
        layers.setdefault(reader.layer, []).append(reader.rest(gone))
    found = {}
    for name, parts in layers.items():
        if (view := linear(model.node(name))) is not None:
            weight, bias = tensors(view, np.stack(parts))
            found[name] = Healed(0.0, 0.0, weight, None if view.node.op == "MatMul" else bias)
    return found
