"""What a criterion sees of the channels that it is to put in order, and what it has to say of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from onnxprune.node import Array
from onnxprune.readers import Reader

__all__ = ["Evidence", "Importance", "Maker", "Scored"]


@dataclass(frozen=True, eq=False)
class Maker:
    """A layer that makes channels, [channels]: the atoms they are of, and the share of each in the weights by a norm.

    ``load`` gives the weights, [channels, weights of each] in float64.
    """

    atoms: Array
    shares: Array
    load: Callable[[], Array]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The atoms that may go, the layers that make their channels, and those that read them (with data only)."""

    atoms: Array
    makers: Sequence[Maker]
    readers: Sequence[Reader]
    seed: int = 0

    def summed(self, values: Array, atoms: Array) -> Array:
        """Values of channels, [channels], summed up by atom: [atoms that may go]."""
        size = int(max(atoms.max(initial=0), self.atoms.max(initial=0))) + 1
        return np.bincount(atoms, values, size)[self.atoms]

    def shared(self, values: Array, atoms: Array) -> Array:
        """The same as shares of the sum over all channels, so that layers of different scale add up."""
        return self.summed(values, atoms) / (float(np.sum(values)) or 1.0)


class Importance(Protocol):
    """A criterion. ``reads`` says that it judges channels by what reads them, which takes calibration data.

    ``norm`` is that of the shares which it is given.
    """

    reads: ClassVar[bool]

    @property
    def norm(self) -> Literal["l1", "l2"]:
        """The norm of ``Maker.shares``."""
        ...

    def order(self, evidence: Evidence) -> Array:
        """Places in ``evidence.atoms``, the least important first; ties go to the one that comes first."""
        ...


class Scored:
    """A criterion that gives every atom a score on its own."""

    reads: ClassVar[bool] = False
    norm: Literal["l1", "l2"] = "l2"

    def scores(self, evidence: Evidence) -> Array:
        """One float64 for each atom that may go; scores of several layers add up."""
        raise NotImplementedError

    def order(self, evidence: Evidence) -> Array:
        """By score."""
        return np.argsort(self.scores(evidence), kind="stable")
