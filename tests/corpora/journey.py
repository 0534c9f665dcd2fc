"""What a case goes through: load → save → load, then fold, with the outputs of the original after each."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from contexts import context

from corpora.cases import Case
from corpora.sessions import difference, results
from onnxprune.errors import ModelError
from onnxprune.manager import PassManager, PassRecord
from onnxprune.model import Model
from passes.fold import Fold

# What fold changed may round in another way, by so many units of the type. onnxruntime computes chains of float16
# operators in float32 where it has no other kernel: a constant in the midst of one, stored, is rounded once more.
# Weights that take up a BatchNormalization are rounded anew; those that become constant are packed, and summed in
# another order.
ROUNDING = {kind.__name__: units * float(np.finfo(kind).eps) for kind, units in ((np.float16, 1), (np.float32, 8))}
EXPECTED = {"rtol": 1e-3, "atol": 1e-5}  # numpy and onnxruntime sum in another order

REASONS = {  # why onnxruntime does not run a case, by its words
    r"IR version|opset|is not a registered function": "are newer than onnxruntime",
    r"NOT_IMPLEMENTED|Could not find an implementation": "have no kernel",
    r"[Ll]ocale": "lack a locale of this machine",
    r"": "fail in their kernel",
}


@dataclass
class Tally:
    """What came of the cases of a corpus; ``failures`` are to be none."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    line: str = ""

    def __str__(self) -> str:
        """One line."""
        n = self.counts
        if self.line:
            return self.line
        text = (
            f"{self.name}: {n['cases']} cases, {n['run']} run, {n['saved']} save equal, {n['folded']} fold equal"
            f" ({n['changed']} changed), {n['refused']} refused"
        )
        if n["lifted"]:
            text += f"; {n['lifted']} run only when lifted, {n['as expected']} of them as expected"
        if self.reasons:
            text += "; not run: " + ", ".join(f"{count} {why}" for why, count in self.reasons.most_common())
        return text

    def fail(self, case: Case, what: str) -> None:
        """Note a failure."""
        self.failures.append(f"{case.name}: {what}")


Edit = Callable[[Model], PassRecord]


def fold(model: Model) -> PassRecord:
    """The pass, with all that the manager checks of it."""
    return PassManager((Fold(),)).run(model, context(model.copy()), verify_each=True)[0]


def travel(name: str, cases: Iterable[Case], *, load: Callable[..., Model] = Model.load, fold: Edit = fold) -> Tally:
    """Send every case through."""
    tally = Tally(name)
    for case in cases:
        tally.counts["cases"] += 1
        try:
            want = results(case.model, case.inputs)
        except Exception as error:  # onnxruntime raises its own untyped exceptions
            _without_reference(tally, case, error)
        else:
            tally.counts["run"] += 1
            _with_reference(tally, case, want, load, fold)
    return tally


def _with_reference(tally: Tally, case: Case, want: list, load: Callable[..., Model], fold: Edit) -> None:
    try:
        model = load(case.model)
    except ModelError as error:
        tally.counts["refused"] += 1
        return tally.fail(case, f"refused: {error}")
    if why := difference(results(saved(model), case.inputs), want):
        return tally.fail(case, f"saved: {why}")
    tally.counts["saved"] += 1
    record = fold(model)
    tally.counts["changed"] += record.changed
    if why := difference(results(saved(model), case.inputs), want, ROUNDING if record.changed else None):
        return tally.fail(case, f"folded: {why}")
    tally.counts["folded"] += 1


def saved(model: Model) -> onnx.ModelProto:
    """What stands in the file, after a second load."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        model.save(path)
        assert Model.load(path).fingerprint() == model.fingerprint()
        return onnx.load(path)


def _without_reference(tally: Tally, case: Case, error: Exception) -> None:
    """It is read or refused all the same; what onnxruntime runs once it is lifted gives what onnx expects."""
    tally.reasons[next(why for words, why in REASONS.items() if re.search(words, str(error)))] += 1
    try:
        model = Model.load(case.model)
    except ModelError:
        return
    written = saved(model)
    try:
        got = results(written, case.inputs)
    except Exception:  # onnxruntime does not run what we make of it either
        return
    tally.counts["lifted"] += 1
    pairs = zip(got, case.expected, strict=True)
    if all(np.allclose(y, z, **EXPECTED, equal_nan=True) for y, z in pairs):
        tally.counts["as expected"] += 1
    else:
        tally.fail(case, "lifted: not what onnx expects")
