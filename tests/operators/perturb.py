"""Change one slot of an input, run the operator, and see which slots of its outputs change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from corpora.sessions import opened, outputs
from onnx.reference import ReferenceEvaluator

from onnxprune.axes.groups import Group
from onnxprune.node import Array, Axis

from .forms import Form

Run = Callable[[Mapping[str, Array]], list[Any]]
DRAWS = 3


@dataclass
class Findings:
    """What was looked at, and what was wrong with it."""

    stray: list[str] = field(default_factory=list)  # slots that change what is not tied to them
    unequal: list[str] = field(default_factory=list)  # cuts after which it computes something else
    forms: int = 0
    slots: int = 0
    atoms: int = 0
    approximate: int = 0
    confirmed: int = 0  # approximate slots that change more than what is tied to them


def runner(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> Run:
    """The graph in onnxruntime, or by onnx itself where that refuses the graph or these inputs."""
    try:
        session = opened(proto)
        outputs(session, feeds)
    except Exception:  # onnxruntime raises its own untyped exceptions
        evaluator = ReferenceEvaluator(proto)
        return lambda feeds: _evaluated(evaluator, feeds)
    return lambda feeds: outputs(session, feeds)


def _evaluated(evaluator: ReferenceEvaluator, feeds: Mapping[str, Array]) -> list[Any]:
    with np.errstate(all="ignore"):  # infinite and undefined values are results as well
        return list(evaluator.run(None, dict(feeds)))


def perturbed(form: Form, run: Run, most: int, findings: Findings) -> None:
    """Check every slot that is said to be cut by itself, up to ``most`` of an axis."""
    before = run(form.inputs)
    names = [o.name for o in form.proto.graph.output]
    rng = np.random.default_rng(0)
    for group in form.groups:
        for axis, atoms in sorted(group.atoms.items()):
            if axis.tensor not in form.inputs or axis.tensor in form.settings:
                continue
            for slot in some(np.flatnonzero(~np.isin(atoms, [*group.pinned])), most):
                changed = [_changes(form, run, before, axis, int(slot), rng) for _ in range(DRAWS)]
                stray = _stray(group, int(atoms[slot]), names, _union(changed, before))
                findings.slots += 1
                if int(atoms[slot]) in group.approximate:
                    findings.approximate += 1
                    findings.confirmed += stray is not None
                elif stray is not None and not _contracted(form, run, group, axis, int(slot), names, rng):
                    findings.stray.append(f"{form.name}: slot {slot} of {axis} changes {stray}, not tied to it")


def some(slots: Array, most: int) -> Array:
    """All, or the first, the last and some in between."""
    return slots if len(slots) <= most else slots[np.linspace(0, len(slots) - 1, most).astype(int)]


def _changes(
    form: Form, run: Run, before: list[Any], axis: Axis, slot: int, rng: np.random.Generator, **others: Array
) -> list[Array]:
    """Where each output differs once the slot holds other values; nowhere where the operator refuses them."""
    inputs = {**form.inputs, **others}
    try:
        after = run({**inputs, axis.tensor: redrawn(inputs[axis.tensor], axis.dim, slot, rng)})
    except Exception:  # an index, say, that is out of bounds
        return [np.zeros(np.shape(b), bool) for b in before]
    return [different(a, b) for a, b in zip(after, before, strict=True)]


def different(a: Array, b: Array) -> Array:
    """Where two arrays differ; everywhere where their shapes do."""
    if a.shape != b.shape:
        return np.ones(b.shape, bool)
    return ~((a == b) | ((a != a) & (b != b)))


def _union(changed: list[list[Array]], before: list[Any]) -> list[Array]:
    return [np.logical_or.reduce([c[k] for c in changed]) for k in range(len(before))]


def redrawn(value: Array, dim: int, slot: int, rng: np.random.Generator) -> Array:
    """Other values of the same range in one slot: drawn from all there are, and scaled down where they are floats."""
    result, where = value.copy(), (slice(None),) * dim + (slot,)
    shape = result[where].shape
    if value.dtype == bool:
        result[where] = ~result[where]
        return result
    drawn = rng.choice(value.ravel(), shape)
    if np.issubdtype(value.dtype, np.floating) or value.dtype.kind == "V":
        drawn = (drawn * rng.uniform(0.2, 1, shape)).astype(value.dtype)
    result[where] = drawn
    return result


def _stray(group: Group, atom: int, names: list[str], changed: list[Array]) -> str | None:
    """An output element that changed and lies in no slot of the atom."""
    for name, where in zip(names, changed, strict=True):
        stray = where.copy()
        for dim in range(where.ndim):
            if (atoms := group.atoms.get(Axis(name, dim))) is not None:
                stray[(slice(None),) * dim + (atoms == atom,)] = False
        if stray.any():
            return f"{name}{np.argwhere(stray)[0].tolist()}"
    return None


def _contracted(
    form: Form, run: Run, group: Group, axis: Axis, slot: int, names: list[str], rng: np.random.Generator
) -> bool:
    """Whether nothing strays once another input is silent where it is tied to the slot: the two are multiplied."""
    atom = int(group.atoms[axis][slot])
    for silent in silencings(form, group, np.array([atom]), without=axis):
        name = next(iter(silent))
        try:
            before = run({**form.inputs, **silent})
        except Exception:  # no silence: an index, say, that is out of bounds
            continue
        changed = [_changes(form, run, before, axis, slot, rng, **silent) for _ in range(DRAWS)]
        if name != axis.tensor and _stray(group, atom, names, _union(changed, before)) is None:
            return True
    return False


def silencings(form: Form, group: Group, doomed: Array, without: Axis | None = None) -> Iterator[dict[str, Array]]:
    """Each input in turn with zeros, or any zero point there is, in its slots of the atoms."""
    for axis, atoms in group.atoms.items():
        if axis == without or axis.tensor not in form.inputs or axis.tensor in form.settings:
            continue
        value = form.inputs[axis.tensor]
        where = (slice(None),) * axis.dim + (np.isin(atoms, doomed),)
        for zero in _zeros(form, value):
            silent = value.copy()
            silent[where] = zero
            yield {axis.tensor: silent}


def _zeros(form: Form, value: Array) -> Iterator[Any]:
    yield np.zeros((), value.dtype)
    if value.dtype.kind in "iu":
        yield from (v.ravel()[0] for v in form.inputs.values() if v.dtype == value.dtype and v.size == 1)
