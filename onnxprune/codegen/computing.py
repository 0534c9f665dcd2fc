"""What a kernel computes, element by element, as tensor expressions of TVM: the meaning that a loop nest must keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tvm import te, tirx
from tvm.te import Tensor

from onnxprune.codegen.kernels import ATTRIBUTE, Kernel

__all__ = ["LOWEST", "computed"]

Indices: TypeAlias = tuple[Any, ...]

LOWEST = float("-inf")  # the start of a maximum


def computed(kernel: Kernel, *inputs: Tensor) -> Tensor:
    """The result of a kernel on its ``inputs``: what the window slides over, and the weights if there are any.

    Shapes: ``plain`` [n, c, h, w], ``blocked`` [n, c/lanes, h, w, lanes] or ``rows`` [..., c] in; ``rows`` [..., o]
    or [n, o/lanes, h, w, lanes] out.
    """
    shape = _shape(kernel, inputs[0])
    body = {"product": _product, "depthwise": _depthwise}.get(kernel.kind, _pooled)(kernel, *inputs)
    result: Tensor = te.compute(shape, body, name="kernel", attrs={ATTRIBUTE: kernel.written()})
    return result


def _shape(kernel: Kernel, source: Tensor) -> list[Any]:
    if kernel.source == "rows":
        return [*source.shape[:-1], kernel.outputs]
    return [kernel.batch, kernel.blocks, *kernel.window.target, kernel.lanes]


def _axes(kernel: Kernel) -> list[Any]:
    return [te.reduce_axis((0, size), name) for size, name in zip(kernel.window.kernel, ("kh", "kw"), strict=True)]


def _product(kernel: Kernel, x: Tensor, w: Tensor) -> Callable[..., Any]:
    c = te.reduce_axis((0, kernel.channels), "c")
    if kernel.source == "rows":
        lanes = kernel.lanes

        def row(*at: Any) -> Any:
            weight = w[at[-1] // lanes, c, at[-1] % lanes] if kernel.packed else w[at[0], c, at[-1]]
            return te.sum(x[(*at[:-1], c)] * weight, axis=[c])

        return row
    kh, kw = _axes(kernel)
    block = kernel.block
    whole, rest = kernel.channels // block * block, kernel.channels % block
    tap = kh * kernel.window.kernel[1] + kw
    at = (c // block * kernel.taps + tap) * block + c % block
    if rest:
        at = tirx.if_then_else(c < whole, at, whole * kernel.taps + tap * rest + c - whole)
    per_group = kernel.blocks // kernel.groups

    def value(n: Any, o: Any, i: Any, j: Any, lane: Any) -> Any:
        first = (o // per_group) * (kernel.channels // block) if kernel.groups > 1 else 0
        inner = (c % block,) if kernel.source == "blocked" else ()
        element = _inside(kernel, x, (n, first + c // block), (i, j), (kh, kw), inner)
        return te.sum(element * w[o, at, lane], axis=[c, kh, kw])

    return value


def _depthwise(kernel: Kernel, x: Tensor, w: Tensor) -> Callable[..., Any]:
    kh, kw = _axes(kernel)

    def value(n: Any, o: Any, i: Any, j: Any, lane: Any) -> Any:
        element = _inside(kernel, x, (n, o), (i, j), (kh, kw), (lane,))
        return te.sum(element * w[o, kh * kernel.window.kernel[1] + kw, lane], axis=[kh, kw])

    return value


def _pooled(kernel: Kernel, x: Tensor) -> Callable[..., Any]:
    """A maximum, a sum, or a mean: the sum of shares, which the loop nest makes of the whole."""
    kh, kw = _axes(kernel)

    def value(n: Any, o: Any, i: Any, j: Any, lane: Any) -> Any:
        element = _inside(kernel, x, (n, o), (i, j), (kh, kw), (lane,))
        if kernel.kind == "mean":
            element = element / _count(kernel, i, j).astype("float32")
        return (te.max if kernel.kind == "max" else te.sum)(element, axis=[kh, kw])

    return value


def _count(kernel: Kernel, i: Any, j: Any) -> Any:
    """How many elements lie under the window."""
    window = kernel.window
    if kernel.counts_pads or not any(window.pads):
        return tirx.const(kernel.taps, "int32")
    ranges = [
        (at * window.stride[k] - window.pads[k], window.kernel[k], window.source[k]) for k, at in enumerate((i, j))
    ]
    high, wide = (te.min(first + size, end) - te.max(first, 0) for first, size, end in ranges)
    return high * wide


def _inside(kernel: Kernel, x: Tensor, before: Indices, position: Indices, tap: Indices, inner: Indices = ()) -> Any:
    """The element under a tap of the window, and beyond the edge what changes no sum or maximum."""
    window = kernel.window
    at = [position[k] * window.stride[k] + tap[k] * window.dilation[k] - window.pads[k] for k in (0, 1)]
    element = x[(*before, *at, *inner)]
    if not any(window.pads):
        return element
    inside = tirx.all(*(condition for k in (0, 1) for condition in (at[k] >= 0, at[k] < window.source[k])))
    return tirx.if_then_else(inside, element, tirx.const(LOWEST if kernel.kind == "max" else 0.0, "float32"))
