"""Every node case is compiled and computes what onnxruntime does, or is named before compiling, with a reason."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from corpora.cases import Case, node_cases
from corpora.journey import Tally
from corpora.sessions import difference, results
from onnxprune.backends import Lack, load_target, refusal, tvm
from onnxprune.backends.static import fix_shapes
from onnxprune.errors import BackendError

HOST = load_target("host")
SAMPLE = 16
ROUNDING = {"float16": 1e-3, "float32": 1e-4, "float64": 1e-4}
UNREADABLE = ("ir.", "0x", "Traceback", "Check failed")  # what a plain reason does not hold

Compiled = Callable[[onnx.ModelProto, Case], list[np.ndarray]]


def fed(case: Case) -> Case:
    """As it is: all that the node reads comes in at run time."""
    return case


def stored(case: Case) -> Case:
    """As networks have it: all but the first tensor is a constant."""
    first, *others = [v.name for v in case.model.graph.input if isinstance(case.inputs.get(v.name), np.ndarray)]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, 4)
    model.graph.initializer.extend(numpy_helper.from_array(case.inputs[name], name) for name in others)
    kept = [value for value in model.graph.input if value.name not in others]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return replace(case, model=model, inputs={first: case.inputs[first]})


DRESSES: dict[str, Callable[[Case], Case]] = {"fed": fed, "stored": stored}


def compiled(fixed: onnx.ModelProto, case: Case) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.so")
        tvm.build(fixed, HOST, path, {})
        return tvm.run(path, [case.inputs[value.name] for value in fixed.graph.input])


def check(tally: Tally, case: Case, want: list[np.ndarray], run: Compiled) -> None:
    """One case: named, or compiled and right."""
    try:
        fixed = fix_shapes(case.model, {name: value.shape for name, value in case.inputs.items()})
    except BackendError:
        tally.counts["refused"] += 1
        return
    if lacks := tvm.unsupported(fixed):
        tally.counts["named"] += 1
        if not plain(lacks):
            tally.fail(case, refusal(lacks))
        return
    try:
        got = run(fixed, case)
    except BackendError as error:
        tally.fail(case, str(error))
        return
    if why := difference([_held(a, b) for a, b in zip(got, want, strict=True)], want, ROUNDING):
        tally.fail(case, why)
    tally.counts["agree"] += 1


def plain(lacks: list[Lack]) -> bool:
    """Whether the reasons are words for a reader."""
    return all(lack.op and not any(word in lack.why for word in UNREADABLE) for lack in lacks)


def _held(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Types that numpy lacks come out of onnxruntime as float32."""
    return got if got.dtype.isbuiltin == 1 else got.astype(want.dtype)


def compile_all(name: str, cases: Iterable[Case], dress: Callable[[Case], Case], run: Compiled = compiled) -> Tally:
    tally = Tally(name)
    for case in _of_tensors(cases):
        case = dress(case)
        try:
            want = results(case.model, case.inputs)
        except Exception:  # onnxruntime raises its own untyped exceptions
            continue
        if all(isinstance(value, np.ndarray) for value in want):
            tally.counts["cases"] += 1
            check(tally, case, want, run)
    words = ", ".join(f"{count} {what}" for what, count in tally.counts.items())
    tally.line = f"{name}: {words}"
    return tally


def _of_tensors(cases: Iterable[Case]) -> Iterator[Case]:
    for case in cases:
        if case.inputs and all(isinstance(value, np.ndarray) for value in case.inputs.values()):
            yield case


@pytest.mark.corpora
@pytest.mark.parametrize("dress", DRESSES)
def test_every_node_is_compiled_rightly_or_named(dress: str, tallies: list[Tally]) -> None:
    tally = compile_all(f"compiled, inputs {dress}", node_cases(), DRESSES[dress])
    tallies.append(tally)
    assert tally.failures == []


def sample() -> list[Case]:
    cases = list(_of_tensors(node_cases()))
    return [cases[len(cases) * k // SAMPLE] for k in range(SAMPLE)]


def test_a_sample_is_compiled_rightly_or_named(tallies: list[Tally]) -> None:
    tally = compile_all("a sample, compiled", sample(), stored)
    tallies.append(tally)
    assert tally.failures == []
    assert tally.counts["agree"] > 0


def test_a_wrong_library_and_one_that_cannot_be_built_are_found() -> None:
    """The controls."""

    def wrong(fixed: onnx.ModelProto, case: Case) -> list[np.ndarray]:
        return [np.zeros_like(value) for value in compiled(fixed, case)]

    def broken(fixed: onnx.ModelProto, case: Case) -> list[np.ndarray]:
        raise BackendError("it cannot be compiled")

    (case,) = (case for case in node_cases() if case.name == "test_sigmoid")
    assert len(compile_all("control", [case], fed, wrong).failures) == 1
    assert len(compile_all("control", [case], fed, broken).failures) == 1
    assert compile_all("control", [case], fed).failures == []
