"""Transposed convolutions: one convolution for each phase of the stride, then the phases interleaved.

Along an axis, output i with i + p = s·a + r sees x[a − t] times w[r + s·t], for every tap with r + s·t < k: for each
phase r a convolution with a part of the kernel, backwards. Nothing is multiplied by zeros between the elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx
from tvm.te import Tensor

from onnxprune.codegen.importer import Importer, rule
from onnxprune.codegen.kernels import Window
from onnxprune.codegen.rules.sliding import bias_of, convolved
from onnxprune.node import Array


@dataclass(frozen=True)
class Phase:
    """Along one axis of ``size`` elements, ``count`` outputs a stride apart, and the taps of the kernel they see.

    ``before`` and ``after`` is how much must be padded for them, which may be negative.
    """

    taps: tuple[int, ...]
    count: int
    size: int
    before: int
    after: int


@rule("ConvTranspose")
def transposed(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """A transposed convolution with constant weights."""
    x, weights = inputs[0], graph.constant(inputs[1])
    bias = graph.constant(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    if weights is None or weights.ndim != 4 or not graph.is_image(x) or (len(inputs) > 2 and bias is None):
        return None
    plan = _transposition(graph.shape(x)[2:], weights.shape[2:], attrs)
    if plan is None:
        return None
    groups = int(attrs.get("group", 1))
    straight = _swapped(weights, groups)
    phases = [[_phase(graph, x, straight, groups, (v, h)) for h in plan[1]] for v in plan[0]]
    made = graph.emit(interleaving(plan), *(each for row in phases for each in row), name="interleave")
    return graph.plain(graph.add(made, bias_of(graph, bias)), len(straight))


def _transposition(
    source: Sequence[int], kernel: Sequence[int], attrs: dict[str, Any]
) -> tuple[list[Phase], list[Phase]] | None:
    plain = attrs.get("auto_pad", b"NOTSET") == b"NOTSET" and not attrs.get("output_shape")
    strides, pads = attrs.get("strides") or (1, 1), attrs.get("pads") or (0, 0, 0, 0)
    extra = attrs.get("output_padding") or (0, 0)
    if (
        not plain
        or tuple(attrs.get("dilations") or (1, 1)) != (1, 1)
        or any(s > k for s, k in zip(strides, kernel, strict=True))
    ):
        return None
    sizes = (strides[a] * (source[a] - 1) + extra[a] + kernel[a] - pads[a] - pads[a + 2] for a in (0, 1))
    vertical, horizontal = (_phases(source[a], kernel[a], strides[a], pads[a], size) for a, size in enumerate(sizes))
    return vertical, horizontal


def _phases(size: int, kernel: int, stride: int, pad: int, target: int) -> list[Phase]:
    """One for each output position below the stride."""
    found = []
    for first in range(min(stride, target)):
        rest = (first + pad) % stride
        taps = tuple(range(rest, kernel, stride))
        start, count = (first + pad) // stride, -(-(target - first) // stride)
        found.append(Phase(taps[::-1], count, size, len(taps) - 1 - start, start + count - size))
    return found


def _phase(graph: Importer, x: Any, weights: Array, groups: int, axes: tuple[Phase, Phase]) -> Any:
    v, h = axes
    taps = np.ascontiguousarray(weights[:, :, v.taps][:, :, :, h.taps])
    window = Window((v.size, h.size), (len(v.taps), len(h.taps)), pads=(v.before, h.before, v.after, h.after))
    return convolved(graph, x, taps, window, groups)


def _swapped(weights: Array, groups: int) -> Array:
    """Weights [c, o/groups, kh, kw] as those of a convolution, [o, c/groups, kh, kw]."""
    parts = np.split(weights, groups)
    return np.concatenate([part.swapaxes(0, 1) for part in parts])


def interleaving(plan: tuple[list[Phase], list[Phase]]) -> Callable[..., Tensor]:
    """What puts the phases, row by row, back into one image in blocks."""
    down, across = (len(each) for each in plan)
    height, width = (sum(phase.count for phase in each) for each in plan)

    def of(*phases: Tensor) -> Tensor:
        def element(n: Any, o: Any, i: Any, j: Any, lane: Any) -> Any:
            found = phases[-1][n, o, i // down, j // across, lane]
            for at in range(down * across - 1):
                here = tirx.all(i % down == at // across, j % across == at % across)
                found = tirx.if_then_else(here, phases[at][n, o, i // down, j // across, lane], found)
            return found

        n, blocks, _, _, lanes = phases[0].shape
        result: Tensor = te.compute((n, blocks, height, width, lanes), element, name="interleave")
        return result

    return of
