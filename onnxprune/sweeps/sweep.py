"""What a sweep found: a point for every value, as data, as a table and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from onnxprune import report
from onnxprune.analyses.cost import Totals
from onnxprune.compression import Result
from onnxprune.documents import as_json, headed, plain
from onnxprune.evaluate import Accuracy
from onnxprune.output import spare, staged, write_atomically
from onnxprune.report import ModelFile, Report
from onnxprune.sweeps.front import unbeaten

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["COSTS", "Point", "Sweep", "points_of", "schema"]

DATA, PICTURE = "sweep.json", "sweep.svg"
COSTS = ("macs", "bytes", "latency")


@dataclass(frozen=True, eq=False)
class Point:
    """The recipe at one value: ``passes`` is the text that gives this very model alone.

    ``on_front`` says for each cost whether no other point, nor the original, costs no more and is as good, and better
    in one of both; the latency is left out where none was measured.
    """

    value: str
    passes: str
    on_front: Mapping[str, bool]
    result: Result = field(repr=False)

    @property
    def report(self) -> Report:
        """What was done at this value and what came of it; ``result.save`` writes it, with the model."""
        return self.result.report

    @property
    def stats(self) -> Totals:
        """What the model counts."""
        return self.report.output.stats

    @property
    def accuracy(self) -> Accuracy:
        """How good the model is, beside the original."""
        return _accuracy(self.report)

    def to_dict(self) -> dict[str, Any]:
        """The point in words that JSON has."""
        measured = {key: plain(getattr(self.report, key)) for key in ("accuracy", "fidelity", "latency", "missed")}
        return {
            "value": self.value,
            "passes": self.passes,
            "sha256": self.report.output.sha256,
            "stats": plain(self.stats),
            "on_front": dict(self.on_front),
            **measured,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """A point for every value of an option, in the order of the values."""

    SCHEMA: ClassVar[int] = 1

    option: str
    input: ModelFile
    points: tuple[Point, ...]
    max_drop: float | None = None
    seed: int = 0

    @property
    def front(self) -> tuple[Point, ...]:
        """The points that are unbeaten in MACs or in bytes; a latency is timed, and no two runs agree on it."""
        return tuple(point for point in self.points if point.on_front["macs"] or point.on_front["bytes"])

    @property
    def best(self) -> Point | None:
        """The point of fewest MACs that reaches every goal; None where there is none, or no ``max_drop`` to reach."""
        good = [point for point in self.points if self.max_drop is not None and not point.report.missed]
        return min(good, key=lambda point: (point.stats.macs, point.stats.bytes), default=None)

    @property
    def missed(self) -> tuple[str, ...]:
        """The goals that were not reached: there are some when no point reaches its own."""
        if not self.points or any(not point.report.missed for point in self.points):
            return ()
        return tuple(f"{self.option}={point.value}: {goal}" for point in self.points for goal in point.report.missed)

    def to_dict(self) -> dict[str, Any]:
        """The sweep in words that JSON has."""
        best = self.best
        parts = {
            "option": self.option,
            "input": plain(self.input),
            "points": [point.to_dict() for point in self.points],
            "max_drop": self.max_drop,
            "best": best and best.passes,
            "missed": list(self.missed),
            "seed": self.seed,
            "data": plain(self.points[0].report.data),
        }
        return headed(self.SCHEMA, parts)

    def to_json(self, path: str | Path | None = None) -> str:
        """The sweep as JSON with sorted keys, written to ``path`` too if there is one."""
        text = as_json(self.to_dict())
        if path is not None:
            write_atomically(Path(path), text.encode())
        return text

    def to_svg(self) -> str:
        """The picture."""
        from onnxprune.sweeps.chart import draw

        return draw(self)

    def render(self, console: Console, *, verbose: bool = False) -> None:
        """Print the sweep for a person, with every missed goal if ``verbose``."""
        from onnxprune.sweeps.table import render

        render(self, console, verbose=verbose)

    def save(self, folder: str | Path) -> Sweep:
        """Write ``sweep.json`` and ``sweep.svg`` into a folder, both or neither; ``point.result.save`` writes models.

        Raises UsageError when the folder cannot be written.
        """
        spare([self.input.path], [Path(folder) / name for name in (DATA, PICTURE)])
        with staged(Path(folder)) as stage:
            self.to_json(stage / DATA)
            (stage / PICTURE).write_text(self.to_svg(), encoding="utf-8")
        return self


def points_of(values: Sequence[str], passes: Sequence[str], results: Sequence[Result]) -> tuple[Point, ...]:
    """The points, marked where they are unbeaten."""
    marks = {cost: _marks(cost, [result.report for result in results]) for cost in COSTS}
    fronts = [{cost: marked[k] for cost, marked in marks.items() if marked} for k in range(len(results))]
    return tuple(Point(*each) for each in zip(values, passes, fronts, results, strict=True))


def _marks(cost: str, reports: Sequence[Report]) -> list[bool]:
    """Whether each is unbeaten by the others and by the original; empty where the cost was not measured."""
    spent = [costs(each).get(cost) for each in reports]
    pairs = [(pair[1], _accuracy(each).after) for pair, each in zip(spent, reports, strict=True) if pair]
    original = [(pair[0], _accuracy(each).before) for pair, each in zip(spent, reports, strict=True) if pair][:1]
    return unbeaten([*pairs, *original])[: len(pairs)]


def costs(found: Report) -> dict[str, tuple[float, float]]:
    """What the original and the result cost, by kind."""
    before, after = found.input.stats, found.output.stats
    counted = {"macs": (before.macs, after.macs), "bytes": (before.bytes, after.bytes)}
    timed = {"latency": (found.latency.before_ms, found.latency.after_ms)} if found.latency is not None else {}
    return {**counted, **timed}


def _accuracy(found: Report) -> Accuracy:
    if found.accuracy is None:
        raise ValueError("a sweep is made on data")
    return found.accuracy


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the sweep; that of the report, which it refers to, is part of it."""
    text = files("onnxprune").joinpath("sweeps/sweep.schema.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    result["$defs"] = {**result.get("$defs", {}), "report": report.schema()}
    return result
