"""Where contestants meet: one network with its data, what came of it, and how good that is beside the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.data import beside
from onnxprune.analyses.cost import Cost
from onnxprune.cache import Cache
from onnxprune.compression import Ready, prepare
from onnxprune.errors import UsageError
from onnxprune.job import Job
from onnxprune.loss import losses
from onnxprune.manager import PassManager
from onnxprune.model import Model
from onnxprune.runtime import Session

__all__ = ["Arena", "Entry", "Score"]

NOTHING = Cache(None)  # is kept, so that all that is timed is done


@dataclass(frozen=True, eq=False)
class Entry:
    """A network as a contestant left it, the seconds that took, and what is to be said of it."""

    model: Model
    seconds: float
    remark: str = ""


@dataclass(frozen=True)
class Score:
    """Shares of the original's MACs and of right answers, nats of divergence, and times as fast."""

    left: float
    before: float
    after: float
    divergence: float
    faster: float


@dataclass(frozen=True, eq=False)
class Arena:
    """A network and its data under one seed, which splits the calibration data and draws its rows."""

    path: Path
    seed: int = 0
    cache: Cache = NOTHING

    @cached_property
    def ready(self) -> Ready:
        """Loaded, and found to go together; raises UsageError where there is no labelled test data."""
        calib, test = (beside(self.path, kind) for kind in ("calib", "test"))
        job = Job.of("fold", None, {"calib": calib, "test": test, "seed": self.seed, "cache": self.cache})
        ready = prepare(self.path, job, [])
        if calib is None or ready.bench.score is None:
            raise UsageError(f"{self.path.stem}: accuracy needs calibration data and labelled test data beside it")
        return ready

    def left(self, model: Model) -> float:
        """The share of the original's MACs that a model has."""
        total, left = (each.get(Cost("macs"), self.ready.ctx).total() for each in (self.ready.ctx.original, model))
        return left / (total or 1.0)

    def passed(self, passes: str) -> Entry:
        """What passes make of the network."""
        model, manager = self.ready.ctx.original.copy(), PassManager(Job.of(passes, None, {}).recipe.passes)
        manager.check(self.ready.ctx)
        records = manager.run(model, self.ready.ctx)
        remark = "; ".join(goal for record in records for goal in record.missed)
        return Entry(model, sum(record.seconds for record in records), remark)

    def try_out(self, model: Model) -> None:
        """Run a model once; raises ModelError where that fails."""
        for feeds in self.ready.bench.feeds[:1]:
            Session(model.lean())(feeds)

    def scores(self, models: Sequence[Model]) -> list[Score]:
        """How good models are on the test data; they take turns where time is taken."""
        bench, ctx = self.ready.bench, self.ready.ctx
        if bench.check is None or not models:
            return []
        divergences = losses(ctx.original, models, bench.check)
        found = []
        for model, measured, divergence in zip(models, bench.measure(models, ctx), divergences, strict=True):
            accuracy, latency = measured.accuracy, measured.latency
            before, after = (accuracy.before, accuracy.after) if accuracy else (0.0, 0.0)
            faster = latency.before_ms / latency.after_ms if latency else 0.0
            found.append(Score(self.left(model), before, after, divergence, faster))
        return found
