"""``compress``: from a model and a recipe to a smaller model and a report of what was done.

Everything that can be refused is refused before the long work begins: first what needs no model, then what does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar, Unpack

import onnx

from onnxprune import depfile
from onnxprune.analyses.cost import Stats
from onnxprune.axes.silencing import removed
from onnxprune.backends import Artifact, Target, load_target
from onnxprune.backends.folder import names
from onnxprune.deploy import deploy, refuse_targets, refuse_unsupported
from onnxprune.errors import BackendError, PlaceError, UsageError
from onnxprune.evaluate import Accuracy, Evaluator
from onnxprune.executor import executor
from onnxprune.job import Given, Job
from onnxprune.manager import PassManager, PassRecord
from onnxprune.measure import Bench, Data, Measured, Sources, try_out
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.output import check_folder, spare, staged
from onnxprune.passes import Context, Pass
from onnxprune.proto import data_file, orphan
from onnxprune.recipe import Recipe
from onnxprune.report import ModelFile, Report
from onnxprune.shapes import input_shapes
from onnxprune.sizes import TWO_GB
from onnxprune.timing.clock import Onnxruntime
from onnxprune.wire import wire

__all__ = ["Ready", "Result", "Source", "check_depfile", "compress", "prepare", "saved"]

MODEL, SPEC, REPORT, LIBRARY = "model.onnx", "prune.json", "report.json", "model.so"

T = TypeVar("T")
Source: TypeAlias = str | Path | onnx.ModelProto | Model


@dataclass(frozen=True, eq=False)
class Result:
    """A compressed model and what is to be said of it; nothing is written until ``save`` or ``build``."""

    model: Model
    report: Report
    context: Context = field(repr=False)
    targets: tuple[Target, ...] = field(repr=False)
    feeds: Sequence[Mapping[str, Array]] = field(repr=False)  # what compiled code is verified and timed on

    def save(self, folder: str | Path) -> Result:
        """Write model, prune spec, decisions, report and a library for each target into a folder, all or nothing.

        Returns this result with a report that tells of the files too; raises BackendError when a target cannot be
        built, PlaceError when the folder cannot be written (BackendError, too, where there are targets).
        """
        folder = Path(folder)
        spare([self.report.input.path, *self.context.original.files], [folder / MODEL, data_file(folder / MODEL)])
        stale = orphan(folder / MODEL)
        with _delivered(self.targets), staged(folder, [stale.name] if stale is not None else []) as stage:
            self.model.save(stage / MODEL)
            (stage / SPEC).write_bytes(_json(removed(self.model)))
            for record in self.report.passes:
                if record.decisions is not None and record.undone is None:
                    (stage / f"{record.name}.json").write_bytes(_json(record.decisions))
            with self.context.progress.task("targets", len(self.targets)) as step:
                built = []
                for target in self.targets:
                    built.append(self._build(target, stage, folder))
                    step()
            output = replace(self.report.output, path=str(folder / MODEL), sha256=_digest_of(stage / MODEL))
            report = replace(self.report, output=output, targets=tuple(built))
            (stage / REPORT).write_text(report.to_json(), encoding="utf-8")
        return replace(self, report=report)

    def build(self, target: str, folder: str | Path) -> Artifact:
        """Compile the model into ``folder/target/model.so``, with all that a run of it needs beside it.

        Raises BackendError when that cannot be done.
        """
        wanted = load_target(target)
        with _delivered([wanted]), staged(Path(folder)) as stage:
            return self._build(wanted, stage, Path(folder))

    def _build(self, target: Target, stage: Path, folder: Path) -> Artifact:
        place = Path(target.name, LIBRARY)
        built = deploy(self.model.proto(), target, stage / place, self.context.shapes, self.feeds, self.context.cache)
        return replace(built, artifact=folder / place)


def compress(
    model: Source,
    passes: str | Sequence[Pass] | None = None,
    *,
    recipe: str | Path | Recipe | None = None,
    output: str | Path | None = None,
    **given: Unpack[Given],
) -> Result:
    """Run passes over a model and measure what came of it; the model that is given stays as it is.

    ``passes`` are written as on the command line (``"fold,prune:macs=50%"``) or given as objects. They, and whatever
    else is given (see ``Given``: calib, test, metric, targets, shapes, max_drop, seed, jobs …), stand above the
    ``recipe``, a file or an object. With an ``output`` folder the result is saved there, with libraries for the
    targets. A goal that was missed is no error: it stands in ``result.report.missed``.
    """
    job = Job.of(passes, recipe, given)
    manager = PassManager(job.recipe.passes)
    _check_places(job, manager, [model, recipe, job.calib, job.test, job.recipe.labels, *job.files], output)
    ready = prepare(model, job, [manager])
    _check_places(job, manager, ready.ctx.original.files, output)
    compressed = ready.ctx.original.copy()
    gate = _Gate(ready.bench, job.recipe.max_drop)
    records = manager.run(compressed, ready.ctx, verify_each=job.verify_each, save_after=job.save_after, gate=gate)
    (result,) = ready.results([(compressed, records)])
    if output is None:
        return result
    return saved(partial(result.save, output), Path(output) / MODEL, (model, recipe), job)


@dataclass(frozen=True, eq=False)
class Ready:
    """A job whose model and data are loaded and found to go together: passes may run."""

    job: Job
    input: ModelFile
    ctx: Context
    bench: Bench
    sources: Sources

    def results(self, runs: Sequence[tuple[Model, tuple[PassRecord, ...]]]) -> list[Result]:
        """What came of models that passes were run over, measured together."""
        found = self.bench.measure([model for model, _ in runs], self.ctx)
        return [self._result(*run, measured) for run, measured in zip(runs, found, strict=True)]

    def _result(self, model: Model, records: tuple[PassRecord, ...], found: Measured) -> Result:
        recipe, ctx = self.job.recipe, self.ctx
        lost = _lost(found.accuracy, recipe.max_drop)
        report = Report(
            input=self.input,
            output=ModelFile(path=None, sha256=_digest(model), stats=model.get(Stats(), ctx)),
            passes=records,
            fidelity=found.fidelity,
            accuracy=found.accuracy,
            latency=found.latency,
            missed=(*_missed_by(records), *([f"max_drop: {lost}"] if lost is not None else [])),
            seed=recipe.seed,
            data=self.sources,
        )
        return Result(model, report, ctx, self.job.targets, self.bench.feeds)


def prepare(source: Source, job: Job, managers: Sequence[PassManager]) -> Ready:
    """Load model and data; whatever the passes of the ``managers`` would fail for is refused here."""
    original = Model.load(source)
    data = Data.load(job, original)
    ctx = _context(job, original, data)
    for manager in managers:
        manager.check(ctx)
    if job.targets:
        refuse_targets(job.targets)
        refuse_unsupported(original.proto(), ctx.shapes)
    score = try_out(data, ctx)
    bench = Bench(data.check, score, data.feeds(original, ctx), job.recipe.threads or 1)
    return Ready(job, _input(source, original, ctx), ctx, bench, data.sources)


def saved(save: Callable[[], T], file: Path, read: tuple[Source, object], job: Job) -> T:
    """What ``save`` returns, and a rule of what ``file`` was made from, found out before anything is written."""
    if job.depfile is None:
        return save()
    rule = depfile.rule(file, depfile.files_read(*read, job))
    result = save()
    depfile.write(job.depfile, rule)
    return result


def check_depfile(job: Job, read: Collection[object], output: str | Path | None) -> None:
    """Refuse a depfile that cannot be written, or tells of nothing."""
    if job.depfile is not None:
        if output is None:
            raise UsageError("a depfile tells what a file is made of, and none is written; give -o DIR along with it")
        check_folder(job.depfile.parent, [job.depfile.name])
        spare(read, [job.depfile])


def _check_places(job: Job, manager: PassManager, read: Collection[object], output: str | Path | None) -> None:
    """Refuse folders that cannot be written, and files that are read."""
    check_depfile(job, read, output)
    if output is not None:
        built = [f"{target.name}/{name}" for target in job.targets for name in (LIBRARY, *names())]
        with _delivered(job.targets):
            own = [f"{each.name}.json" for each in manager.passes if hasattr(each, "decisions")]
            _check_folder(Path(output), [MODEL, data_file(Path(MODEL)).name, SPEC, REPORT, *own, *built], read)
    if job.save_after is not None:
        files = [each for name in manager.files() for each in (name, data_file(Path(name)).name)]
        _check_folder(job.save_after, files, read)


@contextmanager
def _delivered(targets: Sequence[Target]) -> Iterator[None]:
    """Compiled code that cannot be put where it is to go is a backend's failure."""
    try:
        yield
    except PlaceError as error:
        raise BackendError(str(error)) if targets else error from error.__cause__


def _check_folder(folder: Path, files: list[str], read: Collection[object]) -> None:
    check_folder(folder, files)
    spare(read, [folder / file for file in files])


def _context(job: Job, original: Model, data: Data) -> Context:
    return Context(
        original=original,
        calibration=data.fit,
        evaluator=Evaluator(data.test, job.metric),
        target=job.targets[0] if job.targets else None,
        executor=executor(job.recipe.jobs or 1),
        cache=job.cache,
        progress=job.progress,
        shapes=input_shapes(original, job.recipe.shapes, data.sample_shapes()),
        seed=job.recipe.seed,
        clock=Onnxruntime(job.recipe.threads or 1),
    )


def _input(source: Source, original: Model, ctx: Context) -> ModelFile:
    stats = original.get(Stats(), ctx)
    if isinstance(source, str | Path):
        return ModelFile(path=str(source), sha256=original.file_sha256, stats=stats)
    return ModelFile(path=None, sha256=_digest(source), stats=stats)


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(model: Model | onnx.ModelProto) -> str:
    """The SHA-256 of the file that the model would be; over 2 GB, where it would be two, the model's own."""
    whole = wire(model.lean() if isinstance(model, Model) else model)
    if whole.size >= TWO_GB:
        return Model.load(model).fingerprint()
    digest = hashlib.sha256()
    for part in whole:
        digest.update(part)
    return digest.hexdigest()


def _missed_by(records: Sequence[PassRecord]) -> list[str]:
    missed = [f"{each.name}: {goal}" for each in records for goal in each.missed if each.undone is None]
    undone = [f"max_drop: {each.undone}; '{each.name}' is undone" for each in records if each.undone is not None]
    return [*missed, *undone[:1]]  # those after it did not run


def _lost(accuracy: Accuracy | None, max_drop: float | None) -> str | None:
    """What to say of a network that lost more than is allowed; None of one that did not."""
    if accuracy is None or max_drop is None or accuracy.drop <= max_drop + 1e-9:
        return None
    fell = f"{accuracy.metric} fell by {accuracy.drop:.2f} points ({accuracy.before:.4f} → {accuracy.after:.4f})"
    return f"{fell}, and {max_drop:g} {'is' if max_drop == 1 else 'are'} allowed"


@dataclass(frozen=True, eq=False)
class _Gate:
    """Holds what a pass left against the original: more than ``max_drop`` points may not be lost."""

    bench: Bench
    max_drop: float | None

    def __call__(self, model: Model, ctx: Context) -> str | None:
        return None if self.max_drop is None else _lost(self.bench.accuracy(model, ctx), self.max_drop)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
