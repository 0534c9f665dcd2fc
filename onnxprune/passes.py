"""The contracts: what a pass and an analysis are, and all they are given."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from onnxprune.axes import rules
from onnxprune.model import Model

if TYPE_CHECKING:
    from onnxprune.backends.targets import Target
    from onnxprune.cache import Cache
    from onnxprune.calibrate import Calibration
    from onnxprune.evaluate import Evaluator
    from onnxprune.executor import Executor
    from onnxprune.progress import Progress
    from onnxprune.timing.clock import Clock

__all__ = ["Analysis", "Changed", "Context", "Outcome", "Pass", "Repair", "Unchanged"]

T = TypeVar("T")


@dataclass(frozen=True)
class Repair:
    """What was done to make one layer do again what it did in the original.

    ``before`` and ``after`` are its relative squared errors, on samples that it was not fitted to when they were taken.
    """

    where: str
    how: str
    before: float
    after: float


@dataclass(frozen=True)
class Changed:
    """The model was changed; ``note`` says how, in one line, ``missed`` which goals were out of reach, and why.

    ``repairs`` are the layers that were given other weights to make up for it, ``decisions`` what may be edited and
    given back to the pass, in words that JSON has.
    """

    note: str
    missed: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    decisions: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Unchanged:
    """The model is as it was; ``why`` says why there was nothing to do, ``missed`` which goals were out of reach."""

    why: str
    missed: tuple[str, ...] = ()


Outcome: TypeAlias = Changed | Unchanged


@dataclass(frozen=True, eq=False)
class Context:
    """All that a pass or analysis may know besides the model. It is frozen, and there is nothing beside it.

    ``shapes`` are the full shapes of the graph inputs, from --shape, then the calibration data, then 1. Without a
    ``clock`` nobody takes the time.
    """

    original: Model
    calibration: Calibration | None
    evaluator: Evaluator
    target: Target | None
    executor: Executor
    cache: Cache
    progress: Progress
    shapes: Mapping[str, tuple[int, ...]]
    seed: int = 0
    clock: Clock | None = None


class Pass(Protocol):
    """A transformation: a frozen keyword-only dataclass whose fields are its options.

    ``run`` edits the model in place and says truthfully whether it did. The graph is valid before and after, and may
    be anything in between. ``preserves`` lists the analyses whose answers stay right, nothing by default; ``requires``
    names parts of the context that must be there, such as ``"calibration"``.
    """

    name: ClassVar[str]
    preserves: ClassVar[tuple[type[Analysis[Any]], ...]]
    requires: ClassVar[tuple[str, ...]]

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Do the work; raises PassError when it cannot be done."""
        ...


class Analysis(Generic[T]):
    """A question about a model. Subclasses are frozen dataclasses; equal questions share one answer.

    ``uses`` names the parts of the context that the answer depends on (``calibration``, ``original``, ``seed`` …):
    question, model fingerprint and those parts are the key under which it is remembered. A subclass that defines
    ``pack`` and ``unpack`` (to and from named arrays) is kept on disk too; it counts ``revision`` up whenever its
    answers become others. Fields that are not compared are no part of the question.
    """

    uses: ClassVar[tuple[str, ...]] = ()
    revision: ClassVar[int] = 1
    pack: Callable[[Any], dict[str, Any]] | None = None
    unpack: Callable[[dict[str, Any]], Any] | None = None

    def compute(self, model: Model, ctx: Context) -> T:
        """The answer, computed anew; it must be immutable."""
        raise NotImplementedError

    def reads(self, ctx: Context) -> tuple[object, ...]:
        """Identifies the parts of the context the answer depends on."""
        return tuple(_identity(getattr(ctx, part)) for part in self.uses)

    def answer(self, model: Model, ctx: Context) -> T:
        """The answer, from the disk cache where the analysis is kept there."""
        if self.pack is None or self.unpack is None:
            return self.compute(model, ctx)
        key = self.key(model, ctx)
        if (held := ctx.cache.get(key)) is not None:
            with np.load(io.BytesIO(held), allow_pickle=False) as arrays:
                return self.unpack(dict(arrays))  # type: ignore[no-any-return]
        result = self.compute(model, ctx)
        stream = io.BytesIO()
        np.savez(stream, **self.pack(result))
        ctx.cache.put(key, stream.getvalue())
        return result

    def key(self, model: Model, ctx: Context) -> str:
        """The content address of the answer."""
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}  # type: ignore[arg-type]
        kind = type(self)
        tool = (version("onnxprune"), rules.fingerprint())
        words = (*tool, kind.__module__, kind.__qualname__, kind.revision, options, model.fingerprint())
        return hashlib.sha256(repr((*words, self.reads(ctx))).encode()).hexdigest()


def _identity(part: object) -> object:
    if isinstance(part, Mapping):
        return tuple(sorted(part.items()))
    return part.fingerprint() if hasattr(part, "fingerprint") else part
