"""What a job measures on, and what it finds: the data against the model, and the result beside the original."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.errors import ModelError, PassError
from onnxprune.evaluate import Accuracy, Fidelity, Latency, compare, latency
from onnxprune.feeds import batches, trial
from onnxprune.job import Job
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Context
from onnxprune.runtime import Session

__all__ = ["Data", "Measured", "measure", "try_out"]

SAMPLES = 64  # at most, to run compiled code on

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Data:
    """The data of a job: ``fit`` is for the passes, ``check`` for measuring, and no sample is in both.

    Test data is what there is to check on; without it a part of the calibration data is kept back.
    """

    fit: Calibration | None
    check: Calibration | None
    test: Calibration | None

    @classmethod
    def load(cls, job: Job, model: Model) -> Data:
        """The data, checked against the model; raises UsageError where they do not match."""
        seed = job.recipe.seed
        calib = None if job.calib is None else Calibration.load(job.calib, model, seed=seed)
        test = None if job.test is None else Calibration.load(job.test, model, seed=seed)
        if calib is None or test is not None:
            return cls(calib, test, test)
        return cls(*calib.split(), None)

    def sample_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one sample of every input, with an axis for the batch; none without data."""
        data = self.fit or self.check
        return {} if data is None else {name: array.shape for name, array in next(data.batches(1)).items()}

    def feeds(self, model: Model, ctx: Context) -> tuple[Mapping[str, Array], ...]:
        """Some batches of exactly ``ctx.shapes``: of the data, or made up, or none that the model would run on."""
        data = self.fit or self.check
        found = [] if data is None else list(islice(batches(data, ctx.shapes), SAMPLES))
        size = max((shape[0] for shape in ctx.shapes.values() if shape), default=1)
        if found:
            return tuple(found[: max(SAMPLES // size, 1)])
        try:
            feeds = trial(ctx)
            Session(model.lean())(feeds)
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


def try_out(data: Data, ctx: Context) -> None:
    """Run the original once on what it will be measured on, so that what fails does so before the passes run."""
    for part in (data.fit, data.check):
        if part is not None:
            session = Session(ctx.original.lean())
            for name, value in zip(session.outputs, session(next(part.batches(1))), strict=True):
                if not isinstance(value, np.ndarray):
                    raise ModelError(f"output '{name}' is no tensor, and nothing can be measured; leave out the data")
    if data.check is not None and data.check.labels is not None:
        ctx.evaluator.score(ctx.original, data.check)


def measure(result: Model, data: Data, feeds: tuple[Mapping[str, Array], ...], ctx: Context, threads: int) -> Measured:
    """Measure all there is to measure, on the ``check`` part of the data and on the first of the feeds.

    Raises PassError when the result does not run where the original did.
    """
    original, check = ctx.original, data.check
    for batch in feeds[:1]:
        try:
            Session(result.lean())(batch)
        except ModelError as error:
            raise PassError(f"the passes broke the model ({error}); --verify-each tells which one did") from error
    with ctx.progress.task("measuring", 3) as step:
        fidelity = None if check is None else compare(original, result, check)
        step()
        accuracy = None if check is None else ctx.evaluator.measure(original, result, check)
        step()
        taken = latency(original, result, feeds[0], threads) if feeds else None
        step()
    return Measured(fidelity, accuracy, taken)
