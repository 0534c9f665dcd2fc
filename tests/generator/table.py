"""A table of ingredients: each is one small function from a tensor to a tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .builder import Builder, Value

Make = Callable[[Builder, Value], Value]


@dataclass(frozen=True)
class Ingredient:
    """What to make, how often compared with its neighbours, and where it fits."""

    make: Make
    weight: float
    since: int
    fits: Callable[[Value], bool]
    rare: bool


@dataclass
class Table:
    """Ingredients of one kind, by name."""

    ingredients: dict[str, Ingredient] = field(default_factory=dict)

    def add(
        self,
        weight: float = 1.0,
        *,
        since: int = 7,
        fits: Callable[[Value], bool] = lambda _: True,
        rare: bool = False,
    ) -> Callable[[Make], Make]:
        """Register the decorated function, for opsets from ``since``, tensors that it fits, and perhaps the fuzzer."""

        def register(make: Make) -> Make:
            self.ingredients[make.__name__] = Ingredient(make, weight, since, fits, rare)
            return make

        return register

    def make(self, b: Builder, x: Value) -> Value:
        """Apply one ingredient, drawn by weight among those that fit."""
        fitting = [i for i in self.ingredients.values() if b.opset >= i.since and i.fits(x) and b.rare >= i.rare]
        weights = np.array([i.weight for i in fitting])
        return fitting[int(b.rng.choice(len(fitting), p=weights / weights.sum()))].make(b, x)


blocks = Table()  # (N, C, H, W) to (N, C', H', W')
activations = Table()  # any tensor to one of its shape
vectors = Table()  # (N, C, H, W) to (N, F)
denses = Table()  # (N, F) to (N, F')
