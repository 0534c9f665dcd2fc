"""How well a model does its job, before and after; ``fidelity`` and ``latency`` are the other two questions."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from onnxprune.calibrate import Calibration
from onnxprune.errors import UsageError, first_line, unknown
from onnxprune.fidelity import Fidelity, class_scores, compare, compare_each, numbered
from onnxprune.latency import Latency, latencies, latency
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.runtime import Session

__all__ = [
    "Accuracy",
    "Evaluator",
    "Fidelity",
    "Latency",
    "Metric",
    "compare",
    "compare_each",
    "latencies",
    "latency",
    "load_metric",
    "unlabelled",
]

Metric: TypeAlias = Callable[[list[Array], Array], float]  # (outputs, labels) -> score, the higher the better


@dataclass(frozen=True)
class Accuracy:
    """A metric on ``n`` samples, of the original and of the result; the higher the better."""

    metric: str
    before: float
    after: float
    n: int

    @property
    def drop(self) -> float:
        """The loss in percentage points of the metric, negative for a gain."""
        return 100 * (self.before - self.after)

    @staticmethod
    def pooled(parts: Sequence[Accuracy]) -> Accuracy:
        """One metric on the samples of all parts: the mean of what it is on each."""
        n = sum(part.n for part in parts)
        before, after = (sum(getattr(part, at) * part.n for part in parts) / n for at in ("before", "after"))
        return Accuracy(parts[0].metric, before, after, n)


@dataclass(frozen=True, eq=False)
class Evaluator:
    """What is measured, and on which data; raises UsageError for a metric without labelled test data.

    With labels (class indices) and no ``metric`` it is top-1 of the first output. Without labels it is ``agreement``
    of the largest class score with the original's, or, where the first output does not look like class scores,
    ``explained``: 1 - noise/signal of the worst output, 0.99 being 20 dB.
    """

    test: Calibration | None = None
    metric: Metric | None = None

    def __post_init__(self) -> None:
        if self.metric is not None and (self.test is None or self.test.labels is None):
            raise UsageError(f"metric '{_name(self.metric)}' needs test data that holds 'labels'")

    def measure(self, original: Model, result: Model, data: Calibration | None = None) -> Accuracy:
        """The accuracy on ``data``, by default on the test data; raises UsageError when there is neither."""
        if (data := data if data is not None else self.test) is None:
            raise UsageError("there is no data to measure accuracy on; give calibration data or test data")
        if data.labels is None:
            return unlabelled(compare(original, result, data))
        return self.beside(self.score(original, data), result, data)

    def beside(self, before: float, result: Model, data: Calibration) -> Accuracy:
        """The accuracy on labelled data beside the original's score."""
        name = _name(self.metric) if self.metric is not None else "top1"
        return Accuracy(name, before, self.score(result, data), data.count)

    def score(self, model: Model, data: Calibration) -> float:
        """The metric of one model on labelled data; raises UsageError where data, model and metric do not match."""
        if (labels := data.labels) is None:
            raise UsageError("the data holds no labels to score a model by; add an array 'labels'")
        if self.metric is None:
            return _top1(model, data, labels)
        return _apply(self.metric, _outputs(model, data), labels)

    def fingerprint(self) -> str:
        """A SHA-256 of the test data and of the metric, the source file of the metric included."""
        data = self.test.fingerprint() if self.test is not None else "none"
        metric = _source(self.metric) if self.metric is not None else b"default"
        return hashlib.sha256(f"{data} ".encode() + metric).hexdigest()


def load_metric(spec: str) -> Metric:
    """The metric ``package.module:function``, the working directory being searched too.

    It is called as ``function(outputs, labels)`` with a list of arrays [samples, ...], one per graph output, and
    returns a finite number, the higher the better. Raises UsageError when it cannot be had.
    """
    module_name, _, name = spec.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise UsageError(f"cannot read the metric '{spec}'; write it as package.module:function")
    try:
        with _working_directory():
            module = importlib.import_module(module_name)
    except Exception as error:  # the module is the user's and may raise anything
        why = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"metric '{spec}': cannot import '{module_name}' ({why})") from error
    if not hasattr(module, name):
        known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise UsageError(f"metric '{spec}': {unknown('function', name, known)}")
    if not callable(metric := getattr(module, name)):
        raise UsageError(f"metric '{spec}': '{name}' is a {type(metric).__name__}; it must be a function")
    return cast(Metric, metric)


@contextmanager
def _working_directory() -> Iterator[None]:
    importlib.invalidate_caches()
    if "" in sys.path:  # it is the working directory's name
        yield
        return
    sys.path.append("")
    try:
        yield
    finally:
        sys.path.remove("")


def _name(metric: Metric) -> str:
    kind = type(metric)
    return f"{getattr(metric, '__module__', kind.__module__)}:{getattr(metric, '__qualname__', kind.__qualname__)}"


def _source(metric: Metric) -> bytes:
    """What identifies a metric across runs: its name and the file it stands in."""
    try:
        return f"{_name(metric)} ".encode() + Path(inspect.getfile(metric)).read_bytes()
    except (TypeError, OSError):  # no function, or typed at a prompt
        return repr(metric).encode()


def unlabelled(fidelity: Fidelity) -> Accuracy:
    """What stands for accuracy where there are no labels: agreement, or the part of the outputs explained."""
    if fidelity.agreement is not None:
        return Accuracy("agreement", 1.0, fidelity.agreement, fidelity.n)
    noise = 0.0 if fidelity.sqnr_db is None else 10 ** (-fidelity.sqnr_db / 10)
    return Accuracy("explained", 1.0, max(1.0 - noise, 0.0), fidelity.n)


def _top1(model: Model, data: Calibration, labels: Array) -> float:
    session, hits = Session(model.lean()), 0
    for span, feeds in numbered(data):
        (output,) = session(feeds, session.outputs[:1])
        if (scores := class_scores(output, span.stop - span.start)) is None:
            shape = "×".join(map(str, output.shape))
            way_out = "leave the labels out, or give a metric of your own"
            raise UsageError(f"labels need class scores; output '{session.outputs[0]}' is {shape}; {way_out}")
        hits += int(np.sum(scores.argmax(axis=1) == _classes(labels[span], scores.shape[1])))
    return hits / data.count


def _classes(labels: Array, count: int) -> Array:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        held = f"{labels.ndim}-dimensional and {labels.dtype.name}"
        raise UsageError(f"'labels' are {held}; give one whole class index per sample, or a metric of your own")
    if labels.min() < 0 or labels.max() >= count:
        held = f"{labels.min()} … {labels.max()}"
        raise UsageError(f"'labels' hold {held}, but the model has {count} classes; they count from 0")
    return labels


def _outputs(model: Model, data: Calibration) -> list[Array]:
    session = Session(model.lean())
    runs = [session(feeds) for feeds in data.batches()]
    parts = zip(*runs, strict=True)
    return [_joined(name, part, data) for name, part in zip(session.outputs, parts, strict=True)]


def _joined(name: str, parts: Sequence[Array], data: Calibration) -> Array:
    """One output for all samples: [samples, ...]."""
    try:
        if all(p.ndim for p in parts) and sum(len(p) for p in parts) == data.count:
            return np.concatenate(parts)
        if data.batch == 1:
            return np.stack(parts)
    except ValueError as error:
        raise UsageError(f"output '{name}' varies in shape, so no metric can be given all samples at once") from error
    raise UsageError(f"output '{name}' has no axis for the samples, so no metric can be given all of them at once")


def _apply(metric: Metric, outputs: list[Array], labels: Array) -> float:
    try:
        value = metric(outputs, labels)
    except Exception as error:  # the metric is the user's and may raise anything
        raise UsageError(f"metric '{_name(metric)}' failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise UsageError(f"metric '{_name(metric)}' returned a {type(value).__name__}; it must return a finite number")
    if not math.isfinite(value):
        raise UsageError(f"metric '{_name(metric)}' returned {value}; it must return a finite number")
    return float(value)
