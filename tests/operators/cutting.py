"""Cut every atom for real, and compare with the same slots left out of the operator's own result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from onnxprune.axes.cutting import cut
from onnxprune.axes.groups import Group
from onnxprune.node import Array, Axis

from .forms import Form, stored
from .perturb import Findings, Run, runner, silencings, some

TOLERANCE = 1e-5  # of the largest value: sums of fewer terms, and vector instructions, round in another way


def cut_each(form: Form, run: Run, most: int, findings: Findings) -> None:
    """Check every atom that is said to be free, up to ``most`` of a group."""
    model = stored(form)
    for group in form.groups:
        for atom in some(group.free, most):
            slots = group.slots(np.array([atom]))
            if any(len(gone) == len(group.atoms[axis]) for axis, gone in slots.items()):
                continue  # nothing would be left
            findings.atoms += 1
            try:
                after = model.copy()
                cut(after, slots)
                got = runner(after.proto(), {})({})
            except Exception as error:  # whatever is wrong with the graph
                findings.unequal.append(f"{form.name}: without {_told(slots)}: {type(error).__name__}: {error}"[:300])
                continue
            if not any(_alike(got, want) for want in _wanted(form, run, group, int(atom), slots)):
                findings.unequal.append(f"{form.name}: without {_told(slots)} it computes something else")


def _told(slots: dict[Axis, Array]) -> str:
    return ", ".join(f"{axis}:{gone.tolist()}" for axis, gone in sorted(slots.items()))


def _wanted(form: Form, run: Run, group: Group, atom: int, slots: dict[Axis, Array]) -> Iterator[list[Array]]:
    """The results without the slots; of slots that no output has, with one of the inputs silent there."""
    names = [o.name for o in form.proto.graph.output]
    if any(axis.tensor in names for axis in slots):
        yield [_without(y, name, slots) for y, name in zip(run(form.inputs), names, strict=True)]
        return
    for silent in silencings(form, group, np.array([atom])):
        with suppress(Exception):  # no silence: an index, say, that is out of bounds
            yield run({**form.inputs, **silent})


def _without(value: Array, name: str, slots: dict[Axis, Array]) -> Array:
    for axis, gone in slots.items():
        if axis.tensor == name:
            value = np.delete(value, gone, axis.dim)
    return value


def _alike(got: list[Array], want: list[Array]) -> bool:
    return all(map(_close, got, want))


def _close(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    same = (a == b) | ((a != a) & (b != b))
    if same.all() or (a.dtype.kind not in "fc" and a.dtype.kind != "V"):
        return bool(same.all())
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0)) or 1.0
    return bool(np.allclose(a.astype(np.float64), b.astype(np.float64), TOLERANCE, TOLERANCE * scale, equal_nan=True))
