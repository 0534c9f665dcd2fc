"""``sweep``: one recipe at many values of an option. What the points share is done once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Unpack

from onnxprune.compression import Ready, Source, check_depfile, prepare, saved
from onnxprune.errors import UsageError
from onnxprune.executor import Serial
from onnxprune.job import Given, Job
from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from onnxprune.options import render
from onnxprune.output import check_folder, spare
from onnxprune.passes import Context, Pass
from onnxprune.recipe import Recipe
from onnxprune.sweeps.over import Over
from onnxprune.sweeps.sweep import DATA, PICTURE, Sweep, points_of

__all__ = ["sweep"]

Run = tuple[Model, tuple[PassRecord, ...]]


def sweep(
    model: Source,
    passes: str | Sequence[Pass] | None = None,
    *,
    over: str | Over,
    recipe: str | Path | Recipe | None = None,
    output: str | Path | None = None,
    **given: Unpack[Given],
) -> Sweep:
    """Run passes over a model once for every value of an option, and find the values that no other beats.

    ``over`` is written as on the command line (``"macs=30..90%:step=10%"``); all else is as for ``compress``. The
    passes before the one that has the option run once, ``jobs`` points are worked on at a time, and all are measured
    together. Nothing is compiled. With an ``output`` folder ``sweep.json`` and ``sweep.svg`` are saved there.
    """
    over = Over.parse(over) if isinstance(over, str) else over
    jobs = [Job.of(passes, recipe, given, partial(over.fill, value)) for value in over.values]
    _check(jobs[0], [model, recipe, jobs[0].calib, jobs[0].test, jobs[0].recipe.labels, *jobs[0].files], output)
    managers = [PassManager(job.recipe.passes) for job in jobs]
    ready = prepare(model, jobs[0], managers)
    pipelines = [manager.passes for manager in managers]
    results = ready.results(_runs(ready, pipelines))
    found = Sweep(
        option=over.option,
        input=ready.input,
        points=points_of(over.values, [",".join(map(render, each)) for each in pipelines], results),
        max_drop=jobs[0].recipe.max_drop,
        seed=jobs[0].recipe.seed,
    )
    if output is None:
        return found
    return saved(partial(found.save, output), Path(output) / DATA, (model, recipe), jobs[0])


def _check(job: Job, read: Sequence[object], output: str | Path | None) -> None:
    """Refuse what makes no sense in a sweep, and a folder that cannot be written."""
    if job.calib is None and job.test is None:
        raise UsageError("a sweep compares points on data: give --test or --calib along with --sweep")
    if job.save_after is not None:
        raise UsageError("the models after each pass (--save-after) are those of one run: leave out --sweep")
    check_depfile(job, read, output)
    if output is not None:
        check_folder(Path(output), [DATA, PICTURE])
        spare(read, [Path(output) / name for name in (DATA, PICTURE)])


def _runs(ready: Ready, pipelines: Sequence[tuple[Pass, ...]]) -> list[Run]:
    """Every pipeline run over the model; the passes that they begin with in common run once.

    The first runs here: the answers about the graph that it remembers are sent to the processes of the others.
    """
    shared, start = _shared(pipelines), ready.ctx.original.copy()
    records = PassManager(pipelines[0][:shared]).run(start, ready.ctx, verify_each=ready.job.verify_each)
    rest = _Rest(start, records, ready.ctx, ready.job.verify_each)
    tails = [each[shared:] for each in pipelines]
    with ready.ctx.progress.task("points", len(tails)) as step:
        return [
            *Serial().map(rest, tails[:1], step),
            *ready.ctx.executor.map(rest, tails[1:], step),
        ]


def _shared(pipelines: Sequence[tuple[Pass, ...]]) -> int:
    """How many passes all pipelines begin with in common."""
    same = (all(each == first for each in others) for first, *others in zip(*pipelines, strict=False))
    return sum(1 for _ in takewhile(bool, same))


@dataclass(frozen=True, eq=False)
class _Rest:
    """What is left to do from where the pipelines part."""

    start: Model
    records: tuple[PassRecord, ...]
    ctx: Context
    verify_each: bool

    def __call__(self, passes: tuple[Pass, ...]) -> Run:
        model = self.start.copy()
        records = PassManager(passes).run(model, self.ctx, verify_each=self.verify_each)
        return model, (*self.records, *records)
