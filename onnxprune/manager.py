"""The pass manager: runs passes one after the other, checks what they leave behind and records what they did.

The contract: a graph is valid before and after a pass and may be anything in between. After a change every remembered
answer is forgotten, except those of the analyses that the pass says it preserves. ``verify_each`` believes nothing: it
compares the graph before and after, and computes preserved answers anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from onnxprune.alike import alike
from onnxprune.analyses.cost import Stats, Totals
from onnxprune.axes.reasons import Reason
from onnxprune.errors import ModelError, OnnxPruneError, PassContractError, PassError, UsageError, first_line
from onnxprune.feeds import trial
from onnxprune.model import Model
from onnxprune.options import to_table
from onnxprune.passes import Analysis, Changed, Context, Outcome, Pass, Repair, Unchanged
from onnxprune.runtime import Session

__all__ = ["Gate", "PassManager", "PassRecord", "Skip"]

# What the parts of the context that may be missing are called, and the option that gives them.
PARTS = {"calibration": ("calibration data", "--calib"), "target": ("a target", "--target")}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skip:
    """A place that a pass left as it is, and why.

    Where the pass says more, ``kind`` is one of ``axes.reasons.KINDS``, ``node`` the operator that is to blame, and
    ``tensor`` what it holds.
    """

    where: str
    why: str
    kind: str | None = None
    node: str | None = None
    tensor: str | None = None

    @classmethod
    def of(cls, where: str, why: str, reason: Reason | None) -> Skip:
        """As the model recorded it."""
        if reason is None:
            return cls(where, why)
        return cls(where, why, reason.kind, reason.node, reason.axis.tensor if reason.axis is not None else None)


@dataclass(frozen=True, kw_only=True)
class PassRecord:
    """What one pass did; ``missed`` are the goals that were out of its reach.

    ``decisions`` are what may be edited and given back to the pass, None where it takes none. ``undone`` tells why
    nothing of it was kept, or why it never ran; None where the model is as the pass left it.
    """

    name: str
    options: Mapping[str, Any]
    changed: bool
    note: str
    seconds: float
    before: Totals
    after: Totals
    skipped: tuple[Skip, ...] = ()
    missed: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    decisions: Mapping[str, Any] | None = None
    undone: str | None = None


Gate: TypeAlias = Callable[[Model, Context], str | None]  # why a model is not good enough; None where it is


@dataclass(frozen=True)
class PassManager:
    """A pipeline: ``PassManager((Fold(), PruneChannels(macs=...))).run(model, ctx)``."""

    passes: tuple[Pass, ...]

    def __post_init__(self) -> None:
        """Refuse what is no pass; a list will do for a tuple."""
        object.__setattr__(self, "passes", tuple(self.passes))
        for each in self.passes:
            if isinstance(each, type) or not is_dataclass(each) or not isinstance(getattr(each, "name", None), str):
                raise PassContractError(f"{each!r} is no pass; give an instance of a frozen dataclass with a name")

    def run(
        self,
        model: Model,
        ctx: Context,
        *,
        verify_each: bool = False,
        save_after: str | Path | None = None,
        gate: Gate = lambda model, ctx: None,
    ) -> tuple[PassRecord, ...]:
        """Run all passes on ``model``, in place; ``save_after`` is a folder for the model after each of them.

        A pass whose result does not pass the ``gate`` is undone, and those after it do not run. Raises UsageError when
        a pass needs what the context lacks (before any pass runs), PassError when a pass fails or leaves an invalid
        graph, PassContractError when ``verify_each`` finds that it did not tell the truth.
        """
        self.check(ctx)
        records = list[PassRecord]()
        with ctx.progress.task("passes", len(self.passes)) as step:
            for each, name in zip(self.passes, self.files(), strict=True):
                if (bad := next((r for r in records if r.undone is not None), None)) is not None:
                    records.append(_left_out(each, bad))
                    continue
                last = model.copy()
                record = _run(each, model, ctx, _Witness.of(model, ctx) if verify_each else None)
                if save_after is not None:
                    _save(model, Path(save_after), name)
                records.append(_gated(record, model, last, ctx, gate))
                step()
        return tuple(records)

    def files(self) -> list[str]:
        """The names under which ``save_after`` keeps the models."""
        return [f"{number:02}-{each.name}.onnx" for number, each in enumerate(self.passes, start=1)]

    def check(self, ctx: Context) -> None:
        """Raise UsageError when the context lacks what some pass requires."""
        known = [f.name for f in fields(ctx)]
        for each in self.passes:
            for part in getattr(each, "requires", ()):
                if part not in known:
                    raise PassContractError(f"pass '{each.name}' requires what no context has: {part!r}")
                if getattr(ctx, part) is None:
                    what, option = PARTS[part]
                    raise UsageError(f"pass '{each.name}' needs {what}: give {option}")


@dataclass(frozen=True)
class _Witness:
    """What the graphs were before a pass, to hold against what the pass says."""

    graph: str
    original: str
    runs: bool

    @classmethod
    def of(cls, model: Model, ctx: Context) -> _Witness:
        return cls(model.fingerprint(), ctx.original.fingerprint(), _runs(ctx.original, ctx))

    def confront(self, each: Pass, outcome: Outcome, model: Model, ctx: Context, kept: Mapping[object, object]) -> None:
        """Raise PassContractError where the pass did not tell the truth; ``kept`` are the answers it preserved."""
        graph, original = model.fingerprint(), ctx.original.fingerprint()
        if original != self.original:
            raise PassContractError(f"pass '{each.name}' edited ctx.original; it may only read it")
        if isinstance(outcome, Unchanged) and graph != self.graph:
            raise PassContractError(f"pass '{each.name}' says the model is unchanged, but it is not; return Changed")
        if isinstance(outcome, Changed) and graph == self.graph:
            raise PassContractError(f"pass '{each.name}' says it changed the model, but did not; return Unchanged")
        if self.runs and not _runs(model, ctx):
            raise PassError(f"pass '{each.name}' left a model that onnxruntime does not run, as it ran the original")
        fresh = model.copy()
        fresh.forget()
        for question, answer in _questions(kept):
            if not alike(answer, fresh.get(question, ctx)):
                raise PassContractError(f"pass '{each.name}' says it preserves {question!r}, but the answer is another")


def _run(each: Pass, model: Model, ctx: Context, witness: _Witness | None) -> PassRecord:
    before = model.get(Stats(), ctx)
    preserves = tuple(getattr(each, "preserves", ()))
    kept = {key: answer for key, answer in model.memo().items() if isinstance(_question(key), preserves)}
    model.skipped.clear()
    start = time.perf_counter()
    outcome = _outcome(each, model, ctx)
    seconds = time.perf_counter() - start
    if isinstance(outcome, Changed):
        model.forget(kept)
    after = _sound(each, model, ctx)
    if witness is not None:
        witness.confront(each, outcome, model, ctx, kept)
    changed, note = (True, outcome.note) if isinstance(outcome, Changed) else (False, outcome.why)
    log.info("pass '%s': %s (%.3f s)", each.name, note, seconds)
    return PassRecord(
        name=each.name,
        options=to_table(each),
        changed=changed,
        note=note,
        seconds=seconds,
        before=before,
        after=after,
        skipped=tuple(Skip.of(*place, reason) for place, reason in model.skipped.items()),
        missed=outcome.missed,
        repairs=outcome.repairs if isinstance(outcome, Changed) else (),
        decisions=outcome.decisions if isinstance(outcome, Changed) else None,
    )


def _gated(record: PassRecord, model: Model, last: Model, ctx: Context, gate: Gate) -> PassRecord:
    """The record as it is, or that of a pass that was undone: the model is then the ``last`` good one again."""
    if not record.changed or (why := gate(model, ctx)) is None:
        return record
    model.become(last)
    return replace(record, changed=False, after=record.before, undone=why)


def _left_out(each: Pass, bad: PassRecord) -> PassRecord:
    """The record of a pass that did not run, as the ``bad`` one before it was undone."""
    why, stats = f"not run, as '{bad.name}' was undone", bad.before
    options = to_table(each)
    return PassRecord(
        name=each.name, options=options, changed=False, note=why, seconds=0.0, before=stats, after=stats, undone=why
    )


def _question(key: object) -> object:
    """The analysis that a remembered answer belongs to; the model remembers other things too, under other keys."""
    return key[0] if isinstance(key, tuple) else None


def _questions(kept: Mapping[object, object]) -> Iterator[tuple[Analysis[Any], object]]:
    for key, answer in kept.items():
        if isinstance(question := _question(key), Analysis):
            yield question, answer


def _runs(model: Model, ctx: Context) -> bool:
    """Whether onnxruntime takes the graph, and made-up inputs."""
    try:
        Session(model.lean())(trial(ctx))
    except ModelError as error:
        log.debug("a trial run failed: %s", error)
        return False
    return True


def _outcome(each: Pass, model: Model, ctx: Context) -> Outcome:
    try:
        outcome: object = each.run(model, ctx)
    except ModelError as error:  # the model was sound when the pass got it
        raise PassError(f"pass '{each.name}' failed: {error}") from error
    except OnnxPruneError:
        raise
    except Exception as error:  # whatever a plug-in does
        log.debug("pass '%s' failed", each.name, exc_info=error)
        raise PassError(f"pass '{each.name}' failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(outcome, Changed | Unchanged):
        kind = type(outcome).__name__
        raise PassContractError(f"pass '{each.name}' returned a {kind}; run returns Changed or Unchanged")
    return outcome


def _sound(each: Pass, model: Model, ctx: Context) -> Totals:
    """The cost of the model that a pass left, once the graph is found to be valid."""
    try:
        model.outline()
        return model.get(Stats(), ctx)
    except ModelError as error:
        raise PassError(f"pass '{each.name}' left an invalid model: {error}") from error


def _save(model: Model, folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to '{folder}': {error.strerror}") from error
    model.save(folder / name)
