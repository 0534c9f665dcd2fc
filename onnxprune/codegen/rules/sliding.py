"""Convolutions and pools: a window that slides over an image in blocks of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxprune.codegen.importer import Importer, rule
from onnxprune.codegen.kernels import Kernel, Kind, Source, Window, blocked
from onnxprune.node import Array

FEW = 4  # input channels that are not worth a block


@rule("Conv")
def conv(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """A convolution with constant weights over an image, or over a line."""
    x, weights = inputs[0], graph.constant(inputs[1])
    bias = graph.constant(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    if weights is None or not graph.is_float(x) or weights.ndim not in (3, 4) or (len(inputs) > 2 and bias is None):
        return None
    if weights.ndim == 3:
        return _line(graph, inputs, attrs)
    window = _window(graph.shape(x)[2:], weights.shape[2:], attrs)
    made = convolved(graph, x, weights, window, int(attrs.get("group", 1)))
    return graph.plain(graph.add(made, bias_of(graph, bias)), len(weights))


def convolved(graph: Importer, x: Any, weights: Array, window: Window, groups: int) -> Any:
    """A convolution in blocks: ``x`` is [n, c, h, w], ``weights`` [o, c/groups, kh, kw]."""
    n, c, *_ = graph.shape(x)
    if groups == c == len(weights) and groups > 1:
        kernel = Kernel("depthwise", window, 1, c, graph.lanes, n)
    else:
        groups, weights = _merged(weights, groups, graph.lanes)
        few = groups == 1 and c <= FEW and not graph.has_blocks(x)
        source: Source = "plain" if few else "blocked"
        kernel = Kernel("product", window, weights.shape[1], len(weights), graph.lanes, n, groups, source)
    read = x if kernel.source == "plain" else graph.block(x)
    return graph.kernel(kernel, read, graph.const(kernel.pack(weights)))


def bias_of(graph: Importer, bias: Array | None) -> Array | None:
    """One number for each channel, to be added to an image in blocks."""
    return None if bias is None else blocked(bias.reshape(1, -1, 1, 1), graph.lanes)


def _merged(weights: Array, groups: int, lanes: int) -> tuple[int, Array]:
    """As few groups put together as fill whole blocks; weights between them are zero."""
    outputs, inputs = len(weights) // groups, weights.shape[1]
    fitting = (m for m in range(1, groups) if groups % m == 0 and m * inputs % lanes == 0 and m * outputs % lanes == 0)
    together = next(fitting, groups)
    wide = np.zeros((len(weights), inputs * together, *weights.shape[2:]), weights.dtype)
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        start = group % together * inputs
        wide[rows, start : start + inputs] = weights[rows]
    return groups // together, wide


def _line(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Over a line: an image of one row."""
    x, weights, *bias = inputs
    wide = {"strides": 1, "dilations": 1}
    flat = {name: (one, *attrs[name]) for name, one in wide.items() if name in attrs}
    if "pads" in attrs:
        flat["pads"] = (0, attrs["pads"][0], 0, attrs["pads"][1])
    n, c, length = graph.shape(x)
    array = graph.constant(weights)
    assert array is not None
    image = graph.reshaped(x, (n, c, 1, length))
    made = conv(graph, [image, graph.const(array[:, :, None]), *bias], {**attrs, **flat, "kernel_shape": None})
    return None if made is None else graph.reshaped(made, (*graph.shape(made)[:2], graph.shape(made)[3]))


@rule("MaxPool")
def max_pool(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The largest element under the window."""
    return _pool(graph, inputs[0], "max", attrs)


@rule("AveragePool")
def average_pool(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The mean of what lies under the window."""
    return _pool(graph, inputs[0], "mean", attrs)


@rule("GlobalAveragePool")
def global_average_pool(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The mean of every channel."""
    x = inputs[0]
    return _pool(graph, x, "mean", {"kernel_shape": graph.shape(x)[2:]}) if graph.is_image(x) else None


@rule("GlobalMaxPool")
def global_max_pool(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The largest element of every channel."""
    x = inputs[0]
    return _pool(graph, x, "max", {"kernel_shape": graph.shape(x)[2:]}) if graph.is_image(x) else None


@rule("ReduceMean")
def reduce_mean(graph: Importer, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Over the positions of an image: the mean of every channel."""
    x, axes = inputs[0], attrs.get("axes")
    if len(inputs) > 1 and inputs[1] is not None:
        axes = graph.constant(inputs[1])
    if axes is None or not graph.is_image(x) or sorted(int(a) % 4 for a in axes) != [2, 3]:
        return None
    made = _pool(graph, x, "mean", {"kernel_shape": graph.shape(x)[2:]})
    return made if attrs.get("keepdims", 1) else graph.reshaped(made, graph.shape(x)[:2])


def _pool(graph: Importer, x: Any, kind: Kind, attrs: dict[str, Any]) -> Any:
    if not graph.is_image(x) or attrs.get("ceil_mode") or attrs.get("storage_order"):
        return None
    n, c, *size = graph.shape(x)
    counts = bool(attrs.get("count_include_pad", 0))
    window = _window(size, attrs["kernel_shape"], attrs)
    if kind == "mean" and window.dilation != (1, 1):
        return None
    kernel = Kernel(kind, window, 1, c, graph.lanes, n, counts_pads=counts)
    return graph.plain(graph.kernel(kernel, graph.block(x)), c)


def _window(source: Sequence[int], kernel: Sequence[int], attrs: dict[str, Any]) -> Window:
    stride = tuple(attrs.get("strides") or (1, 1))
    dilation = tuple(attrs.get("dilations") or (1, 1))
    return Window(
        _pair(source), _pair(kernel), _pair(stride), _pair(dilation), _pads(source, kernel, stride, dilation, attrs)
    )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return int(first), int(second)


def _pads(
    source: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], attrs: dict[str, Any]
) -> tuple[int, int, int, int]:
    way = attrs.get("auto_pad", b"NOTSET").decode()
    if way == "VALID":
        return 0, 0, 0, 0
    if way == "NOTSET":
        top, left, bottom, right = attrs.get("pads") or (0, 0, 0, 0)
        return top, left, bottom, right
    size = np.asarray(source)
    step = np.asarray(stride)
    reach = np.asarray(dilation) * (np.asarray(kernel) - 1) + 1
    whole = np.maximum((-(-size // step) - 1) * step + reach - size, 0)
    less, more = whole // 2, whole - whole // 2
    before, after = (less, more) if way == "SAME_UPPER" else (more, less)
    return int(before[0]), int(before[1]), int(after[0]), int(after[1])
