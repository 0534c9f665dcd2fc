"""Operators as each opset from 7 to 26 writes them are read, folded, cut and lifted with equal outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
import pytest
from cuts import random_cut
from oracle import net_proto, silenced

from corpora.forms import FIRST, FORMS, LAST, text
from corpora.journey import ROUNDING, Tally, fold
from corpora.sessions import difference, results
from onnxprune.lift import lifted
from onnxprune.model import Model

EVERY = [(name, opset) for name in FORMS for opset in range(FIRST, LAST + 1) if text(name, opset)]
EACH_FORM = [(name, opset) for name in FORMS for opset in FORMS[name]]
COMPILER = 13  # its floor
INPUTS = {"x": np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)}

Lift = Callable[[onnx.ModelProto, int], onnx.ModelProto]


def outputs(proto: onnx.ModelProto) -> list[np.ndarray]:
    return results(proto, INPUTS)


def check(tally: Tally, name: str, opset: int, floors: tuple[int, ...]) -> None:
    """One operator in one opset: what it is after each step."""
    proto = net_proto(text(name, opset) or "", opset)
    model, want = Model.load(proto), outputs(proto)
    folded, lifts = model.copy(), [lifted(proto, floor) for floor in floors]
    fold(folded)
    after, spec = random_cut(model, seed=0, share=0.5)
    steps = {
        "read": (model.proto(), want, {}),
        "folded": (folded.proto(), want, ROUNDING),
        "cut": (after.proto(), outputs(silenced(model, spec).proto()), {"float32": 1e-5}),
        **{f"lifted to {floor}": (lift, want, ROUNDING) for floor, lift in zip(floors, lifts, strict=True)},
    }
    tally.counts["models"] += 1
    tally.counts["really cut"] += bool(spec)
    for step, (made, wanted, allowed) in steps.items():
        if why := difference(outputs(made), wanted, allowed):
            tally.failures.append(f"{name}, opset {opset}, {step}: {why}")
        else:
            tally.counts[step] += 1


def checked(title: str, which: Iterable[tuple[str, int]], *floors: int) -> Tally:
    tally = Tally(title)
    for name, opset in which:
        check(tally, name, opset, floors)
    tally.line = f"{title}: " + ", ".join(f"{count} {what}" for what, count in tally.counts.items())
    return tally


@pytest.mark.corpora
def test_every_operator_in_every_opset(tallies: list[Tally]) -> None:
    tally = checked(f"{len(FORMS)} forms in opsets {FIRST} to {LAST}", EVERY, COMPILER, LAST)
    tallies.append(tally)
    assert tally.failures == []


def test_every_form_of_every_operator(tallies: list[Tally]) -> None:
    tally = checked(f"{len(FORMS)} forms", EACH_FORM, COMPILER)
    tallies.append(tally)
    assert tally.failures == []
    assert tally.counts["really cut"] > len(EACH_FORM) / 2


def relabelled(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.opset_import[0].version = opset
    return copy


def test_what_is_only_called_lifted_is_found() -> None:
    """The control; it is also the list of what changed its form or its meaning."""
    found = set()
    for name in FORMS:
        oldest = min(FORMS[name])
        proto = net_proto(text(name, oldest) or "", oldest)
        try:
            wrong = difference(outputs(relabelled(proto, LAST)), outputs(proto), ROUNDING)
        except Exception:  # onnxruntime raises its own untyped exceptions
            wrong = "is refused"
        found |= {name} if wrong else set()
    assert found >= {
        "Clip",
        "Dropout",
        "Hardmax",
        "If",
        "Pad",
        "Resize",
        "ReduceMean",
        "Slice",
        "Softmax",
        "Split",
        "TopK",
    }
    assert "Relu" not in found
