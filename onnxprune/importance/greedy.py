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

GONE, MANY = -2, 1 / 16  # of the columns, that went since updates were last done
FEW = 32  # columns, for which it is not worth it
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
    """One reader while its columns go: the inverse of C + λI and WᵀW.

    Updates wait until they are many, and are then done at once, which is what makes it fast; columns that went are left
    out at the same time. Until then all that is kept up to date are the blocks of the columns of one atom.
    """

    def __init__(self, atoms: Array, reader: Reader) -> None:
        place = {atom: index for index, atom in enumerate(atoms.tolist())}
        self.where = np.array([place.get(atom, -1) for atom in reader.atoms.tolist()])
        self.inverse, self.gram = np.linalg.inv(reader.damped()), reader.gram
        self.count, self.signal = len(atoms), reader.signal
        self._begin()

    def _begin(self) -> None:
        """Find the columns of every atom, by the number of columns that they have; nothing waits."""
        self.waiting: list[tuple[Array, Array, Array]] = []
        columns = np.argsort(self.where, kind="stable")
        held, start, size = np.unique(self.where[columns], return_index=True, return_counts=True)
        own = [(width, (size == width) & (held >= 0)) for width in np.unique(size[held >= 0]).tolist()]
        places = [(held[mine], columns[start[mine][:, None] + np.arange(width)]) for width, mine in own]
        self.blocks = [_Blocks.of(atoms, index, self.inverse, self.gram) for atoms, index in places]

    def prices(self) -> Array:
        """What each atom costs, as a share of the signal; 0 where it has no columns here."""
        prices = np.zeros(self.count)
        for blocks in self.blocks:
            prices[blocks.atoms] = blocks.prices()
        return np.maximum(prices, 0.0) / self.signal

    def remove(self, gone: Array) -> None:
        """Refit the others."""
        if not len(out := np.flatnonzero(np.isin(self.where, gone))):
            return
        inverse, gram = self.inverse[:, out], self.gram[:, out]
        for lost, left, passed in self.waiting:
            inverse = inverse - lost @ passed[:, out]
            gram = gram - left @ passed[:, out] - passed.T @ left[out].T
        passed = np.linalg.solve(inverse[out], inverse.T)
        left = gram - passed.T @ (gram[out] / 2)
        self.waiting.append((inverse, left, passed))
        self.where[out] = GONE
        self.blocks = [blocks.without(gone, inverse, left, passed) for blocks in self.blocks]
        if sum(len(passed) for _, _, passed in self.waiting) >= max(FEW, MANY * len(self.where)):
            self._catch_up()

    def _catch_up(self) -> None:
        kept = np.flatnonzero(self.where != GONE)
        lost, left = (np.concatenate([each[part][kept] for each in self.waiting], axis=1) for part in (0, 1))
        passed = np.concatenate([each[2][:, kept] for each in self.waiting])
        pairs, half = np.ix_(kept, kept), left @ passed
        self.where, self.inverse = self.where[kept], self.inverse[pairs] - lost @ passed
        self.gram = self.gram[pairs] - half - half.T
        self._begin()


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Atoms of equally many columns: ``index`` of these, the inverse and WᵀW among them, [atoms, columns, columns]."""

    atoms: Array
    index: Array
    inverse: Array
    gram: Array

    @classmethod
    def of(cls, atoms: Array, index: Array, inverse: Array, gram: Array) -> _Blocks:
        pairs = index[:, :, None], index[:, None, :]
        return cls(atoms, index, inverse[pairs], gram[pairs])

    def prices(self) -> Array:
        """tr(WᵀW·(Hinv_SS)⁻¹) of every atom."""
        if self.index.shape[1] == 1:
            return np.asarray(self.gram / self.inverse)[:, 0, 0]
        return np.asarray(np.einsum("aij,aji->a", np.linalg.inv(self.inverse), self.gram))

    def without(self, gone: Array, lost: Array, left: Array, passed: Array) -> _Blocks:
        """Those that are left, when lost·passed goes from the inverse, and left·passed and its transpose from WᵀW."""
        own = ~np.isin(self.atoms, gone)
        index = self.index[own]
        theirs = np.moveaxis(passed[:, index], 0, 1)  # [atoms, columns that go, columns]
        half = left[index] @ theirs
        inverse = self.inverse[own] - lost[index] @ theirs
        return _Blocks(self.atoms[own], index, inverse, self.gram[own] - half - half.swapaxes(1, 2))
