"""What a network loses with its channels: frozen values, from which text, JSON and SVG are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from onnxprune.documents import as_json, headed, plain, schema_in
from onnxprune.measure import Sources
from onnxprune.output import spare, staged

__all__ = ["DATA", "PICTURE", "TENTHS", "Curve", "Curves", "Spot", "at", "schema"]

DATA, PICTURE = "sensitivity.json", "sensitivity.svg"
TENTHS = range(1, 10)  # of a family


def at(tenths: int, atoms: int) -> int:
    """How many of the atoms go at so many tenths."""
    return round(tenths * atoms / 10)


@dataclass(frozen=True, kw_only=True)
class Spot:
    """The first ``atoms`` of a family gone, a ``share`` of it (0…1) and so many ``channels`` of its widest layer.

    ``estimated`` is the loss that ``prune`` plans with, ``measured`` that of the network so cut; ``drop`` is in
    percentage points of the metric. What was not measured is None.
    """

    atoms: int
    share: float
    channels: int
    estimated: float
    measured: float | None = None
    drop: float | None = None

    @property
    def loss(self) -> float:
        """As measured, or as estimated where it was not."""
        return self.estimated if self.measured is None else self.measured


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A family, channels that cost the same and are offered together: its layers, its width, and what it loses.

    Of its ``atoms``, the smallest sets that live or die together, ``free`` may go; ``channels`` are those of its widest
    layer.
    """

    family: str
    layers: tuple[str, ...]
    readers: tuple[str, ...]
    channels: int
    atoms: int
    free: int
    spots: tuple[Spot, ...]

    @property
    def middle(self) -> float:
        """The loss nearest to half of the family, by which families are compared."""
        return min(self.spots, key=lambda spot: abs(spot.share - 0.5)).loss


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a network loses with more and more of the channels of each family, in the order of the graph.

    The fields are the keys of the JSON form (schema 1), to which keys may be added and from which none is taken.
    Losses are in nats where an output is class scores (the mean divergence from the original's probabilities), else
    relative squared errors; ``samples`` is the number that they were measured on. ``metric`` is that of the drops, and
    ``fixed`` are the families of which nothing can go.
    """

    SCHEMA: ClassVar[int] = 1

    model: str | None
    sha256: str
    importance: str
    exact: bool
    samples: int
    metric: str | None
    curves: tuple[Curve, ...]
    fixed: tuple[str, ...]
    seed: int
    data: Sources

    @property
    def ranked(self) -> list[Curve]:
        """The curves, most sensitive first."""
        return sorted(self.curves, key=lambda curve: -curve.middle)

    def to_dict(self) -> dict[str, Any]:
        """The curves in words that JSON has."""
        return headed(self.SCHEMA, plain(self))

    def to_json(self) -> str:
        """The curves as JSON with sorted keys."""
        return as_json(self.to_dict())

    def to_svg(self) -> str:
        """The picture: a line for each family."""
        from onnxprune.curves.chart import draw

        return draw(self)

    def text(self, width: int = 100, *, colour: bool = False) -> str:
        """The curves for a person, as a table."""
        from onnxprune.curves.text import text

        return text(self, width, colour)

    def __str__(self) -> str:
        return self.text()

    def save(self, folder: str | Path) -> Curves:
        """Write ``sensitivity.json`` and ``sensitivity.svg`` into a folder, both or neither.

        Raises UsageError when the folder cannot be written.
        """
        used = (each and each.source for each in (self.data.calib, self.data.test))
        spare([self.model, *used], [Path(folder) / name for name in (DATA, PICTURE)])
        with staged(Path(folder)) as stage:
            (stage / DATA).write_text(self.to_json(), encoding="utf-8")
            (stage / PICTURE).write_text(self.to_svg(), encoding="utf-8")
        return self


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the curves."""
    return schema_in("onnxprune.curves", "sensitivity.schema.json")
