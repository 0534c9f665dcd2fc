"""Criteria that look at what the next layers make of the channels, and choose one after the other.

For a layer y = W·x with columns Sⱼ of atom j, M = Σ over pairs of columns of (WᵀW ∘ C) is the Gram matrix of what the
atoms contribute to y: Mⱼₖ = Σ ⟨W·xⱼ, W·xₖ⟩ over the rows. Layers that read the same channels add up, each divided by
its signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxprune.importance.evidence import Evidence, Importance, Need
from onnxprune.node import Array
from onnxprune.readers import Reader

__all__ = ["SurgeonStructured", "ThiNet", "ThiNetPursuit", "contributions", "without"]

GONE, MANY = -2, 0.2
MOST, STEPS = 2**30, 64  # multiply-adds of one removal after the other, and how many there are beyond


@dataclass(frozen=True)
class ThiNet(Importance):
    """Next goes the atom with which the sum of all that went is smallest (Luo et al., ThiNet, ICCV 2017, eq. 6)."""

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})

    def order(self, evidence: Evidence) -> Array:
        """argminⱼ 2·⟨T, j⟩ + Mⱼⱼ, with T the sum of those that went."""
        gram = contributions(evidence)[: len(evidence.atoms), : len(evidence.atoms)]
        gone, order = np.zeros(len(gram)), list[int]()
        for _ in range(len(gram)):
            price = 2 * gone + np.diag(gram)
            price[order] = np.inf
            order.append(int(np.argmin(price)))
            gone += gram[:, order[-1]]
        return np.array(order, int)


@dataclass(frozen=True)
class ThiNetPursuit(Importance):
    """Next to stay is the atom that leaves least over, all that stay being scaled anew.

    The authors' code does a matching pursuit (Luo et al., ThiNet, TPAMI 2018); here an atom is measured by what is new
    in it, as in orthogonal least squares (Chen, Billings & Luo 1989).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})

    def order(self, evidence: Evidence) -> Array:
        """argmaxⱼ bⱼ²/Mⱼⱼ of what the atoms that stay leave over, the last to be taken being the least important."""
        gram = contributions(evidence)
        count, b = len(evidence.atoms), gram.sum(axis=1)
        chosen: list[int] = []
        least = np.finfo(float).eps * max(float(np.diag(gram).max(initial=0)), np.finfo(float).tiny)
        for place in range(count, len(gram)):  # what cannot go stays in any case
            gram, b = without(gram, b, place, least)
        for _ in range(count):
            own = np.diag(gram)[:count]
            gain = np.where(own > least, b[:count] ** 2 / np.maximum(own, least), 0.0)
            gain[chosen] = -1.0
            chosen.append(count - 1 - int(np.argmax(gain[::-1])))  # of equals the last stays
            gram, b = without(gram, b, chosen[-1], least)
        return np.array(chosen[::-1], int)


def without(gram: Array, b: Array, place: int, least: float) -> tuple[Array, Array]:
    """What is left of all others when one is projected out."""
    if (own := gram[place, place]) <= least:
        return gram, b
    column = gram[:, place].copy()
    return gram - np.outer(column, column) / own, b - column * (b[place] / own)


def contributions(evidence: Evidence) -> Array:
    """M over the atoms that may go and, after them, one for all that cannot."""
    size = len(evidence.atoms) + 1
    total = np.zeros((size, size))
    for reader in evidence.readers:
        place = {atom: index for index, atom in enumerate(evidence.atoms.tolist())}
        where = np.array([place.get(atom, size - 1) for atom in reader.atoms.tolist()])
        member = np.eye(size)[where]
        total += member.T @ (reader.gram * reader.spread) @ member / reader.signal
    return total


@dataclass(frozen=True)
class SurgeonStructured(Importance):
    """Next goes the atom whose removal costs least after the best refit of all others (optimal brain surgeon).

    With Hinv = (C + λI)⁻¹ of those that are left, atom j of columns S costs tr(W_S·(Hinv_SS)⁻¹·W_Sᵀ), and then
    W ← W − W_S·(Hinv_SS)⁻¹·Hinv_S, Hinv ← Hinv − Hinv_S·(Hinv_SS)⁻¹·Hinv_Sᵀ
    (Hassibi & Stork 1993; for groups of columns: Kurtic et al., ZipLM, 2023).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"data"})

    def order(self, evidence: Evidence) -> Array:
        """One atom after the other; of very wide layers, a few at once."""
        states = [_Surgeon(evidence.atoms, reader) for reader in evidence.readers]
        order, count = np.zeros(0, int), len(evidence.atoms)
        work = count * sum(len(reader.atoms) ** 2 for reader in evidence.readers)
        batch = -(-count // STEPS) if work > MOST else 1
        while len(order) < count:
            price = np.sum([state.prices() for state in states], axis=0)
            price[order] = np.inf
            weakest = np.argsort(price, kind="stable")[: min(batch, count - len(order))]
            order = np.append(order, weakest)
            for state in states:
                state.remove(weakest)
        return order


class _Surgeon:
    """One reader while its columns go: the inverse of C + λI and WᵀW, both 0 in the columns that went.

    Those are left out when they are many.
    """

    def __init__(self, atoms: Array, reader: Reader) -> None:
        place = {atom: index for index, atom in enumerate(atoms.tolist())}
        self.where = np.array([place.get(atom, -1) for atom in reader.atoms.tolist()])
        self.inverse, self.gram = np.linalg.inv(reader.damped), reader.gram
        self.count, self.signal = len(atoms), reader.signal
        self._find()

    def _find(self) -> None:
        """The columns of every atom, [atoms, columns of each], by the number of columns that they have."""
        columns = np.argsort(self.where, kind="stable")
        held, start, size = np.unique(self.where[columns], return_index=True, return_counts=True)
        own = [(width, (size == width) & (held >= 0)) for width in np.unique(size[held >= 0]).tolist()]
        self.columns = [(held[mine], columns[start[mine][:, None] + np.arange(width)]) for width, mine in own]

    def prices(self) -> Array:
        """What each atom costs, as a share of the signal; 0 where it has no columns here."""
        prices = np.zeros(self.count)
        for atoms, index in self.columns:
            pairs = index[:, :, None], index[:, None, :]
            if index.shape[1] == 1:
                prices[atoms] = self.gram[pairs].ravel() / self.inverse[pairs].ravel()
            else:
                prices[atoms] = np.einsum("aij,aji->a", np.linalg.inv(self.inverse[pairs]), self.gram[pairs])
        return np.maximum(prices, 0.0) / self.signal

    def remove(self, gone: Array) -> None:
        """Refit the others."""
        if not len(out := np.flatnonzero(np.isin(self.where, gone))):
            return
        passed = np.linalg.solve(self.inverse[np.ix_(out, out)], self.inverse[out])
        half = (self.gram[:, out] - passed.T @ (self.gram[np.ix_(out, out)] / 2)) @ passed
        self.gram -= half
        self.gram -= half.T
        self.inverse -= self.inverse[:, out] @ passed
        self.where[out] = GONE
        left = [~np.isin(atoms, gone) for atoms, _ in self.columns]
        self.columns = [(atoms[own], index[own]) for own, (atoms, index) in zip(left, self.columns, strict=True)]
        if np.mean(self.where == GONE) > MANY:
            kept = np.flatnonzero(self.where != GONE)
            self.where, pairs = self.where[kept], np.ix_(kept, kept)
            self.gram, self.inverse = self.gram[pairs], self.inverse[pairs]
            self._find()
