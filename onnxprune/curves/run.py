"""``sensitivity``: what a network loses with more and more of the channels of each family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Unpack

from onnxprune.ablation import ablated, leaves_some
from onnxprune.analyses.sensitivity import Sensitivity, with_readers
from onnxprune.axes.groups import Group
from onnxprune.axes.linear import linear
from onnxprune.calibrate import Calibration
from onnxprune.compression import Source, prepare
from onnxprune.curves.curves import DATA, PICTURE, TENTHS, Curve, Curves, Spot, at
from onnxprune.errors import UsageError, unknown
from onnxprune.evaluate import Accuracy
from onnxprune.footprints import Family, Ranking, families
from onnxprune.importance import CRITERIA
from onnxprune.importance.needs import refusal
from onnxprune.job import Given, Job
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.output import check_folder, spare
from onnxprune.passes import Context
from onnxprune.readers import Reader
from onnxprune.reference import Reference
from onnxprune.sharing import part

__all__ = ["TAKEN", "sensitivity"]

TAKEN = ("calib", "test", "preprocess", "labels", "metric", "shapes", "seed", "jobs", "progress", "cache")  # of Given

Ranked = tuple[Family, Ranking]
Found = tuple[float, Accuracy | None]


def sensitivity(
    model: Source,
    *,
    importance: str = "auto",
    exact: bool = False,
    output: str | Path | None = None,
    **given: Unpack[Given],
) -> Curves:
    """What a network loses with more and more of the channels of each family that live or die together.

    ``importance`` says in which order they go, as that of the pass ``prune`` does. The losses are those that ``prune``
    plans with; ``exact`` measures them too, on networks without 10 % … 90 % of one family, the next layers refitted
    where that helps, and with ``test`` data the drop of the metric; ``jobs`` are measured at a time. ``calib`` is
    needed; metric, shapes and seed are as for ``compress``. With an ``output`` folder ``sensitivity.json`` and
    ``sensitivity.svg`` are saved there. Raises UsageError for what makes no sense.
    """
    job = _job(given, importance, exact)
    if output is not None:
        check_folder(Path(output), [DATA, PICTURE])
        spare([model, job.calib, job.test, job.recipe.labels], [Path(output) / name for name in (DATA, PICTURE)])
    ready = prepare(model, job, [])
    ctx, criterion = ready.ctx, "obs" if importance == "auto" else importance
    own = ctx.original.copy()
    part(own)  # as pruning does
    if why := refusal(criterion, own, ctx, approximate=True):
        raise UsageError(f"--{why}")
    ranked = own.get(Sensitivity(criterion, approximate=True), ctx)
    every = list(families(own, ctx))
    places = {f.where: _places(f, ranked[f.where]) for f in every if f.where in ranked}
    cut = [(f, ranked[f.where]) for f in every if places.get(f.where)]
    measured = _measured(own, ctx, cut, places, ready.bench.score) if exact else {}
    accuracies = [accuracy for each in measured.values() for _, accuracy in each if accuracy is not None]
    found = Curves(
        model=ready.input.path,
        sha256=ready.input.sha256,
        importance=criterion,
        exact=exact,
        samples=_check(ctx).count,
        metric=accuracies[0].metric if accuracies else None,
        curves=tuple(_curve(own, f, r, places[f.where], measured.get(f.where)) for f, r in cut),
        fixed=tuple(family.where for family in every if not places.get(family.where)),
        seed=job.recipe.seed,
        data=ready.sources,
    )
    return found if output is None else found.save(output)


def _job(given: Given, importance: str, exact: bool) -> Job:
    if strange := sorted(name for name, value in given.items() if value is not None and name not in TAKEN):
        raise TypeError(f"sensitivity() takes no argument '{strange[0]}'")
    if given.get("calib") is None:
        raise UsageError("sensitivity is measured on samples: give --calib along with --sensitivity")
    if given.get("test") is not None and not exact:
        raise UsageError("an estimate makes no use of test data: leave out --test, or give --sensitivity=exact")
    if importance not in ("auto", *CRITERIA):
        raise UsageError(f"--importance: {unknown('criterion', importance, ['auto', *CRITERIA])}")
    return Job.of((), None, given)


def _check(ctx: Context) -> Calibration:
    """The samples that losses are measured on."""
    if ctx.calibration is None:
        raise ValueError("sensitivity is measured on samples")
    return ctx.calibration.split()[1]


def _places(family: Family, ranking: Ranking) -> list[int]:
    """How many atoms are gone where the curve is told; none where nothing can go."""
    counts = dict.fromkeys(at(tenths, len(family.atoms)) for tenths in TENTHS)
    within = (k for k in counts if 0 < k <= len(ranking.order))
    return [k for k in within if leaves_some(family.group, ranking.order[:k])]


# -- measured --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Trials:
    """Measures the network without some atoms of one of the ``parts``; ``score`` is the original's."""

    model: Model
    ctx: Context
    reference: Reference
    score: float | None
    parts: Sequence[tuple[Group, Sequence[Reader]]]

    def __call__(self, trial: tuple[int, Array]) -> Found:
        number, gone = trial
        group, readers = self.parts[number]
        less, loss = ablated(self.model, group, readers, gone, self.reference.losses)
        return loss, self._accuracy(less)

    def _accuracy(self, less: Model) -> Accuracy | None:
        evaluator = self.ctx.evaluator
        if evaluator.test is None:
            return None
        if self.score is None:
            return evaluator.measure(self.ctx.original, less)
        return evaluator.beside(self.score, less, evaluator.test)


def _measured(
    model: Model, ctx: Context, cut: Sequence[Ranked], places: Mapping[str, Sequence[int]], score: float | None
) -> dict[str, list[Found]]:
    """What each family loses at each of its places, as many families at once as there is room for sums."""
    orders, found = {family.where: ranking.order for family, ranking in cut}, dict[str, list[Found]]()
    wanted, reference = [(family, ranking.order) for family, ranking in cut], Reference(model, _check(ctx))
    reference.losses(())  # before other processes get it
    with ctx.progress.task("measuring", sum(len(places[where]) for where in orders)) as step:
        for batch in map(list, with_readers(model, ctx, wanted)):
            parts = [(family.group, readers) for family, _, readers in batch]
            names = [family.where for family, _, _ in batch]
            todo = [(number, orders[w][:k]) for number, w in enumerate(names) for k in places[w]]
            results = iter(ctx.executor.map(_Trials(model, ctx, reference, score, parts), todo, step))
            found |= {where: [next(results) for _ in places[where]] for where in names}
    return found


# -- told ------------------------------------------------------------------------------------------------------------


def _curve(
    model: Model, family: Family, ranking: Ranking, places: Sequence[int], measured: Sequence[Found] | None
) -> Curve:
    channels, each = family.width
    found: Sequence[tuple[float | None, Accuracy | None]] = measured or [(None, None)] * len(places)
    return Curve(
        family=family.where,
        layers=tuple(dict.fromkeys(chain.from_iterable(family.made.values()))),
        readers=tuple(_readers(model, family)),
        channels=channels,
        atoms=len(family.atoms),
        free=len(ranking.order),
        spots=tuple(
            Spot(
                atoms=k,
                share=k / len(family.atoms),
                channels=k * each,
                estimated=float(ranking.harm[k]),
                measured=lost,
                drop=None if accuracy is None else accuracy.drop,
            )
            for k, (lost, accuracy) in zip(places, found, strict=True)
        ),
    )


def _readers(model: Model, family: Family) -> Iterator[str]:
    """The layers that read channels of the family without passing them on."""
    for node in model.nodes:
        view = linear(node)
        if view is not None and view.read in family.counts and view.made not in family.counts:
            yield node.name
