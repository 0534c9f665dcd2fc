"""What TVM's frontend overlooks, does in another way, or stops at: written out, or refused with the reason.

A rule writes the node out, leaves it as it is, or raises ValueError for what nothing can be done about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxprune.backends.lowering.site import Site
from onnxprune.node import Array

__all__ = ["OVERLOOKED", "FinalError"]


class FinalError(ValueError):
    """To write the operator out as ONNX defines it would be no better."""


def _constant(site: Site, index: int) -> Array | None:
    """An input that the frontend wants to know, None where it is omitted."""
    name = site.input(index)
    if name and (value := site.value(name)) is not None:
        return value
    if name:
        raise ValueError(f"'{name}' is computed at run time")
    return None


def known_at(*indices: int) -> Callable[[Site], None]:
    """Refuses what is computed at run time though it has to be known."""

    def rule(site: Site) -> None:
        for index in indices:
            _constant(site, index)

    return rule


def one_output(why: str) -> Callable[[Site], None]:
    """Refuses further outputs."""

    def rule(site: Site) -> None:
        if any(site.node.output[1:]):
            raise ValueError(why)

    return rule


def arg_extreme(site: Site) -> None:
    """Where all is -inf the compiler finds nothing, and says -1; ONNX means the first, or the last."""
    if site.dtype(site.input(0)).kind != "f":
        return
    last = site.shape(site.input(0))[site.attribute("axis", 0)] - 1
    found = site.emit("Max", site.again(), site.constant(0))
    site.write(0, site.emit("Min", found, site.constant(last)))


def attention(site: Site) -> None:
    """Scores that are masked: onnxruntime shows the lowest number for ONNX's -inf."""
    mask = site.input(3)
    masked = site.attribute("is_causal", 0) or site.input(6) or (mask and site.dtype(mask).kind == "b")
    if site.output(3) and masked and site.attribute("qk_matmul_output_mode", 0) in (1, 2):
        raise FinalError("runtimes do not agree on its masked scores")


def batch_normalization(site: Site) -> None:
    """The running variance of training is another one."""
    if site.attribute("training_mode", 0):
        raise ValueError("it is in training mode")


def conv_transpose(site: Site) -> None:
    """``output_shape`` stands for pads: equations of the operator's specification."""
    if not (wanted := site.attribute("output_shape")):
        return
    sizes, kernel = (site.shape(site.input(k))[2:] for k in range(2))
    rank = len(sizes)
    steps, dilations = (site.attribute(name, [1] * rank) for name in ("strides", "dilations"))
    more = site.attribute("output_padding", [0] * rank)
    each = zip(steps, sizes, more, kernel, dilations, wanted[-rank:], strict=True)
    spare = [s * (size - 1) + extra + (k - 1) * d + 1 - out for s, size, extra, k, d, out in each]
    more = [extra + max(-pad, 0) for extra, pad in zip(more, spare, strict=True)]
    pads = [max(pad, 0) for pad in spare]
    before = [pad // 2 if site.attribute("auto_pad") == "SAME_UPPER" else pad - pad // 2 for pad in pads]
    after = [pad - first for pad, first in zip(pads, before, strict=True)]
    site.write(0, site.again(output_shape=None, auto_pad=None, pads=[*before, *after], output_padding=more))


def hyperbolic(site: Site) -> None:
    """cosh x = exp(x - ln 2) + exp(-x - ln 2), sinh x = tanh x cosh x: the compiler has no vectors of them."""
    x, less = site.input(0), site.constant(np.log(2), site.dtype(site.input(0)))
    cosh = site.emit("Add", *(site.emit("Exp", site.emit("Sub", side, less)) for side in (x, site.emit("Neg", x))))
    site.write(0, site.emit("Mul", site.emit("Tanh", x), cosh) if site.node.op_type == "Sinh" else cosh)


def counted(site: Site) -> None:
    """So many numbers as are known before: ONNX defines it as a loop."""
    try:
        known_at(0, 1, 2)(site)
    except ValueError as error:
        raise FinalError(str(error)) from error


def dropout(site: Site) -> None:
    """Nothing is dropped but in training; the mask says so."""
    training, ratio = _constant(site, 2), _constant(site, 1)
    if training is not None and training.any() and (ratio is None or ratio.any()):
        raise ValueError("it drops at random")
    site.write(0, site.input(0))
    site.write(1, site.constant(np.ones(site.shape(site.input(0))), bool) if site.output(1) else "")


def is_inf(site: Site) -> None:
    """Of one sign alone."""
    above, below = (site.attribute(f"detect_{sign}", 1) for sign in ("positive", "negative"))
    if above and below:
        return
    zero = site.constant(0, site.dtype(site.input(0)))
    signs = [op for op, wanted in (("Greater", above), ("Less", below)) if wanted] or ["Greater", "Less"]
    parts = [site.emit("IsInf", site.input(0)), *(site.emit(op, site.input(0), zero) for op in signs)]
    whole = parts[0]
    for part in parts[1:]:  # of none of the signs: nothing is above and below zero
        whole = site.emit("And", whole, part)
    site.write(0, whole)


def layer_normalization(site: Site) -> None:
    """The one output, and a scale and a bias of just the axes that are normalised."""
    one_output("its mean and deviation are wanted too")(site)
    axis = site.attribute("axis", -1)
    sizes = site.shape(site.input(0))[axis:]
    if all(site.shape(name) == sizes for name in site.node.input[1:] if name):
        return
    names = [site.emit("Expand", name, site.constant(sizes)) if name else "" for name in site.node.input[1:]]
    site.write(0, site.again([site.input(0), *names]))


def mean(site: Site) -> None:
    """Of numbers that have halves."""
    if (kind := site.dtype(site.input(0))).kind != "f":
        raise ValueError(f"it averages {kind.name}")


def max_suppression(site: Site) -> None:
    """The frontend suppresses from the threshold on, ONNX above it: by the next larger number."""
    known_at(2, 3, 4)(site)
    if (threshold := _constant(site, 3)) is None:
        return
    larger = site.constant(np.nextafter(threshold, np.float32(np.inf), dtype=np.float32), np.float32)
    inputs = [larger if k == 3 else name for k, name in enumerate(site.node.input)]
    site.write(0, site.again(inputs))


def one_hot(site: Site) -> None:
    """Comparison and choice: the frontend forgets the type of the values."""
    depth, values = _constant(site, 1), _constant(site, 2)
    indices, kind, rank = site.input(0), site.dtype(site.input(0)), len(site.shape(site.input(0))) + 1
    if depth is None or values is None:
        raise ValueError("its depth or its values are not given")
    count, axis = depth.astype(kind).reshape(()), site.attribute("axis", -1) % rank
    below = site.emit("Less", indices, site.constant(0, kind))
    positive = site.emit("Where", below, site.emit("Add", indices, site.constant(count, kind)), indices)
    slots = np.arange(int(count)).reshape([-1 if k == axis else 1 for k in range(rank)])
    raised = site.emit("Unsqueeze", positive, site.constant([axis]))
    hot = site.emit("Equal", raised, site.constant(slots, kind))
    off, on = (site.constant(value, values.dtype) for value in values)
    site.write(0, site.emit("Where", hot, on, off))


def power(site: Site) -> None:
    """The exponent is of the base's type, and that is no integer."""
    base, exponent = (site.dtype(site.input(k)) for k in range(2))
    if base.kind in "iu":
        raise ValueError(f"its base is {base.name}")
    if base != exponent:
        cast = site.emit("Cast", site.input(1), to=helper.np_dtype_to_tensor_dtype(base))
        site.write(0, site.emit("Pow", site.input(0), cast))


def extreme(site: Site) -> None:
    """Of truth values that of numbers; of numbers twice that of their halves.

    The compiler's maximum begins with the lowest finite number, and that is what it makes of -inf alone. Halved, no
    number is as low, and twice that is -inf.
    """
    kind = site.dtype(site.input(0)).kind
    if kind == "f":
        half, two = (site.constant(value, site.dtype(site.input(0))) for value in (0.5, 2))
        halves = site.emit("Mul", site.input(0), half)
        site.write(0, site.emit("Mul", site.again([halves, *site.node.input[1:]]), two))
    elif kind == "b":
        numbers = site.emit("Cast", site.input(0), to=onnx.TensorProto.INT32)
        result = site.again([numbers, *site.node.input[1:]])
        site.write(0, site.emit("Cast", result, to=onnx.TensorProto.BOOL))


def root_mean_square(site: Site) -> None:
    """Not over all axes."""
    if site.attribute("axis", -1) % len(site.shape(site.input(0))) == 0:
        raise ValueError("it normalises over all axes")


def roi_align(site: Site) -> None:
    """The frontend takes half a pixel off before it scales, ONNX after it."""
    if site.attribute("mode", "avg") != "avg":
        raise ValueError("runtimes do not agree on its maximum")
    scale = site.attribute("spatial_scale", 1.0)
    default = "half_pixel" if site.known.opset >= 16 else "output_half_pixel"
    if scale != 1 and site.attribute("coordinate_transformation_mode", default) == "half_pixel":
        x, regions, batches = site.node.input
        scaled = site.emit("Mul", regions, site.constant(scale, site.dtype(regions)))
        site.write(0, site.again([x, scaled, batches], spatial_scale=1.0))


def shape(site: Site) -> None:
    """A constant, since all shapes are."""
    sizes = list(site.shape(site.input(0)))
    if site.node.op_type == "Shape":
        end = site.attribute("end", len(sizes))
        site.write(0, site.constant(sizes[slice(site.attribute("start", 0), end)]))
    else:
        site.write(0, site.constant(math.prod(sizes)))


def split(site: Site) -> None:
    """Where no sizes are given, all pieces are to be equal but the last."""
    sizes, axis = _constant(site, 1), site.attribute("axis", 0)
    size, count = site.shape(site.input(0))[axis], len(site.node.output)
    if sizes is None and size % count:
        sizes = np.diff(np.minimum(np.arange(count + 1) * -(-size // count), size))
        pieces = [site.known.fresh(name) for name in site.node.output]
        inputs = [site.input(0), site.constant(sizes)]
        site.nodes.append(helper.make_node("Split", inputs, pieces, pieces[0], axis=axis))
        for k, piece in enumerate(pieces):
            site.write(k, piece)


def tile(site: Site) -> None:
    """By index: of indices modulo a power of two LLVM 22 makes wrong code for AVX-512."""
    repeats, x = _constant(site, 1), site.input(0)
    sizes = site.shape(x)
    if repeats is None or not all(sizes) or not repeats.all():
        raise ValueError("it makes nothing")
    for axis, (size, times) in enumerate(zip(sizes, repeats.tolist(), strict=True)):
        if times > 1:
            x = site.emit("Gather", x, site.constant(np.tile(np.arange(size), times)), axis=axis)
    site.write(0, x)


OVERLOOKED: Mapping[str, Callable[[Site], Any]] = {
    "ArgMax": arg_extreme,
    "ArgMin": arg_extreme,
    "Attention": attention,
    "BatchNormalization": batch_normalization,
    "ConstantOfShape": known_at(0),
    "ConvTranspose": conv_transpose,
    "Cosh": hyperbolic,
    "Dropout": dropout,
    "Expand": known_at(1),
    "IsInf": is_inf,
    "LayerNormalization": layer_normalization,
    "MaxPool": one_output("it is asked where the largest were"),
    "NonMaxSuppression": max_suppression,
    "OneHot": one_hot,
    "Pow": power,
    "RMSNormalization": root_mean_square,
    "Range": counted,
    "ReduceMax": extreme,
    "ReduceMean": mean,
    "ReduceMin": extreme,
    "RoiAlign": roi_align,
    "Shape": shape,
    "Sinh": hyperbolic,
    "Size": shape,
    "Split": split,
    "Tile": tile,
}
