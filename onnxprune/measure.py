"""What a job measures on, and what it finds: the data against the model, and results beside the original."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.data.folders import IMAGES
from onnxprune.data.labels import NO_LABELS
from onnxprune.data.made_up import RANDOM
from onnxprune.data.sources import Source
from onnxprune.errors import ModelError, PassError, UsageError
from onnxprune.evaluate import Accuracy, Fidelity, Latency, compare, compare_each, latencies, unlabelled
from onnxprune.feeds import batches, trial
from onnxprune.job import Job
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Context
from onnxprune.runtime import Session

__all__ = ["Bench", "Data", "Measured", "Sources", "Used", "try_out"]

SAMPLES = 64  # at most, to run compiled code on

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Used:
    """Where samples came from: a file or folder, or None; how many they are, and how many files are no samples."""

    source: str | None
    samples: int
    random: bool
    left_out: int

    @classmethod
    def of(cls, source: Source | None, data: Calibration | None) -> Used | None:
        """What is to be said of the data that was loaded; None without data."""
        if data is None:
            return None
        path = str(source) if isinstance(source, str | Path) else None
        return cls(path, data.count, data.kind == RANDOM, len(data.left_out))


@dataclass(frozen=True)
class Sources:
    """What the passes saw, and what was measured on; without test data that is a part of the former."""

    calib: Used | None = None
    test: Used | None = None

    @property
    def measured(self) -> Used | None:
        """What the figures are of."""
        return self.test or self.calib


@dataclass(frozen=True, eq=False)
class Data:
    """The data of a job: ``fit`` is for the passes, ``check`` for measuring, and no sample is in both.

    Test data is what there is to check on; without it a part of the calibration data is kept back.
    """

    fit: Calibration | None
    check: Calibration | None
    test: Calibration | None
    sources: Sources

    @classmethod
    def load(cls, job: Job, model: Model) -> Data:
        """The data, checked against the model; raises UsageError where they do not match."""
        recipe = job.recipe
        load = partial(
            Calibration.load, model=model, seed=recipe.seed, preprocess=recipe.preprocess, shapes=recipe.shapes
        )
        unread = NO_LABELS if job.test is not None else recipe.labels
        calib = None if job.calib is None else load(job.calib, labels=unread)
        test = None if job.test is None else load(job.test, labels=recipe.labels)
        given = [data for data in (calib, test) if data is not None]
        if given and recipe.preprocess is not None and all(data.kind not in (IMAGES, RANDOM) for data in given):
            raise UsageError("--preprocess is for images, and the data holds none; leave it out")
        used = Sources(Used.of(job.calib, calib), Used.of(job.test, test))
        if calib is None or test is not None:
            return cls(calib, test, test, used)
        return cls(*calib.split(), None, used)

    def sample_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one sample of every input, with an axis for the batch; none without data."""
        data = self.fit or self.check
        return {} if data is None else {name: array.shape for name, array in next(data.batches(1)).items()}

    def feeds(self, model: Model, ctx: Context) -> Sequence[Mapping[str, Array]]:
        """Some batches of exactly ``ctx.shapes``: of the data, or made up, or none that the model would run on."""
        data = self.fit or self.check
        if data is not None and (found := batches(data, ctx.shapes, SAMPLES)):
            return found
        try:
            feeds = trial(ctx)
            Session(model.lean(), optimise=False)(feeds)
        except ModelError as error:
            log.info("no latency, and compiled code is not verified: made-up inputs do not run (%s)", error)
            return ()
        return (feeds,)


@dataclass(frozen=True)
class Measured:
    """The result beside the original; None where there is nothing to measure on."""

    fidelity: Fidelity | None
    accuracy: Accuracy | None
    latency: Latency | None


def try_out(data: Data, ctx: Context) -> float | None:
    """Run the original once on what it will be measured on, so that what fails does so before the passes run.

    Its score on labelled data; None without labels.
    """
    for part in (data.fit, data.check):
        if part is not None:
            session = Session(ctx.original.lean())
            for name, value in zip(session.outputs, session(next(part.batches(1))), strict=True):
                if not isinstance(value, np.ndarray):
                    raise ModelError(f"output '{name}' is no tensor, and nothing can be measured; leave out the data")
    if data.check is not None and data.check.labels is not None:
        return ctx.evaluator.score(ctx.original, data.check)
    return None


@dataclass(frozen=True, eq=False)
class Bench:
    """What results are measured on: the ``check`` part of the data, and the first of the feeds.

    ``score`` is the original's on labelled data, ``threads`` those of onnxruntime while latencies are taken.
    """

    check: Calibration | None
    score: float | None
    feeds: Sequence[Mapping[str, Array]]
    threads: int

    def measure(self, results: Sequence[Model], ctx: Context) -> list[Measured]:
        """Measure all there is to measure; the original runs once, whatever the number of results.

        Raises PassError when a result does not run where the original did.
        """
        for result in results:
            self._try_out(result)
        nothing = [None] * len(results)
        with ctx.progress.task("measuring", 3) as step:
            near = nothing if self.check is None else compare_each(ctx.original, results, self.check)
            step()
            good = [self._accuracy(*each, ctx) for each in zip(results, near, strict=True)]
            step()
            fast = latencies(ctx.original, results, self.feeds[0], self.threads) if self.feeds else nothing
            step()
        return [Measured(*each) for each in zip(near, good, fast, strict=True)]

    def accuracy(self, result: Model, ctx: Context) -> Accuracy | None:
        """The accuracy of a model alone; None where there is no data."""
        if self.check is None or self.score is not None:
            return self._accuracy(result, None, ctx)
        return self._accuracy(result, compare(ctx.original, result, self.check), ctx)

    def _try_out(self, result: Model) -> None:
        if self.feeds:
            try:
                Session(result.lean())(self.feeds[0])
            except ModelError as error:
                raise PassError(f"the passes broke the model ({error}); --verify-each tells which one did") from error

    def _accuracy(self, result: Model, fidelity: Fidelity | None, ctx: Context) -> Accuracy | None:
        if self.check is None:
            return None
        if self.score is not None:
            return ctx.evaluator.beside(self.score, result, self.check)
        return None if fidelity is None else unlabelled(fidelity)
