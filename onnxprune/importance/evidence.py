"""What a criterion sees of the channels that it is to put in order, and what it has to say of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from onnxprune.node import Array
from onnxprune.readers import Reader

__all__ = ["Evidence", "Importance", "Maker", "Need", "Scored", "Seen", "Statistic", "Watch"]


@dataclass(frozen=True, eq=False)
class Maker:
    """A layer that makes channels, [channels]: the atoms they are of, and the share of each in the weights by a norm.

    ``load`` gives the weights, [channels, weights of each] in float64.
    """

    atoms: Array
    shares: Array
    load: Callable[[], Array]


Statistic: TypeAlias = Callable[[Array], Array]  # maps [samples, channels, places …] to [figures, channels]
Need: TypeAlias = Literal["data", "relu", "gain"]


@dataclass(frozen=True)
class Watch:
    """A statistic of channels that is summed up over samples, of the tensors that layers read or of those they make."""

    of: Literal["read", "made"]
    statistic: Statistic


@dataclass(frozen=True, eq=False)
class Seen:
    """Channels of one tensor: the atoms they are of, [channels], and the sums of a ``Watch``, [figures, channels]."""

    atoms: Array
    sums: Array


@dataclass(frozen=True, eq=False)
class Evidence:
    """The atoms that may go, the layers that make their channels, and those that read them (with data only).

    ``seen`` is what the criterion watches.
    """

    atoms: Array
    makers: Sequence[Maker]
    readers: Sequence[Reader]
    seed: int = 0
    seen: Sequence[Seen] = ()

    def summed(self, values: Array, atoms: Array) -> Array:
        """Values of channels, [channels], summed up by atom: [atoms that may go]."""
        size = int(max(atoms.max(initial=0), self.atoms.max(initial=0))) + 1
        return np.bincount(atoms, values, size)[self.atoms]

    def shared(self, values: Array, atoms: Array) -> Array:
        """The same as shares of the sum over all channels, so that layers of different scale add up."""
        return self.summed(values, atoms) / (float(np.sum(values)) or 1.0)


class Importance:
    """A criterion; ``norm`` is that of the shares which it is given, ``watches`` what it wants to see besides.

    It needs "data" to judge channels by, a "relu" that makes zeros, or the "gain" of each layer: γ, or data instead.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    watches: ClassVar[Watch | None] = None
    norm: Literal["l1", "l2"] = "l2"

    def order(self, evidence: Evidence) -> Array:
        """Places in ``evidence.atoms``, the least important first; ties go to the one that comes first."""
        raise NotImplementedError

    def judges(self, evidence: Evidence) -> bool:
        """Whether all is there that the criterion goes by."""
        return not self.needs or bool(evidence.readers if self.watches is None else evidence.seen)


class Scored(Importance):
    """A criterion that gives every atom a score on its own."""

    def scores(self, evidence: Evidence) -> Array:
        """One float64 for each atom that may go; scores of several layers add up."""
        raise NotImplementedError

    def order(self, evidence: Evidence) -> Array:
        """By score."""
        return np.argsort(self.scores(evidence), kind="stable")
