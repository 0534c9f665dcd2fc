"""Well-known networks with random weights, as exporters write them: 1×3×224×224, normalisation folded into biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from benchmarks.graphs import Builder

__all__ = ["MADE", "mobilenet_v2", "resnet18", "resnet50", "squeezenet", "vgg11"]

SHAPE, CLASSES = (1, 3, 224, 224), 1000

# Expansion, channels, blocks, first stride (Sandler et al. 2018, table 2).
INVERTED = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
# Squeezed and expanded channels of the fire modules, and None where maxima are taken (SqueezeNet 1.1).
FIRES = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))


def resnet18() -> onnx.ModelProto:
    """ResNet-18 (He et al. 2015)."""
    return _resnet((2, 2, 2, 2), _basic, 1)


def resnet50() -> onnx.ModelProto:
    """ResNet-50, its stride in the 3×3 convolution."""
    return _resnet((3, 4, 6, 3), _bottleneck, 4)


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 (Sandler et al. 2018)."""
    made = Builder()
    x, read = _clipped(made, made.biased("x", 3, 32, 3, stride=2)), 32
    for expansion, width, blocks, stride in INVERTED:
        for block in range(blocks):
            y = _inverted(made, x, read, width, expansion, 1 if block else stride)
            x, read = made.add("Add", x, y) if block else y, width
    return made.model(_clipped(made, made.biased(x, read, 1280)), SHAPE, CLASSES, 1280)


def squeezenet() -> onnx.ModelProto:
    """SqueezeNet 1.1 (Iandola et al. 2016)."""
    made = Builder()
    x, read = _halved(made, _relu(made, "x", 3, 64, 3, stride=2)), 64
    for fire in FIRES:
        if fire is None:
            x = _halved(made, x)
            continue
        few, many = fire
        squeezed = _relu(made, x, read, few)
        x = made.add("Concat", *(_relu(made, squeezed, few, many, kernel) for kernel in (1, 3)), axis=1)
        read = 2 * many
    return made.ended(made.pooled(_relu(made, x, read, CLASSES)), SHAPE, CLASSES)


def vgg11() -> onnx.ModelProto:
    """The convolutions of VGG-11 (Simonyan and Zisserman 2014), pooled into one dense layer."""
    made = Builder()
    x, read = "x", 3
    for width in (64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512, None):
        if width is None:
            x = made.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        else:
            x, read = _relu(made, x, read, width, 3), width
    return made.model(x, SHAPE, CLASSES, read)


Block = Callable[[Builder, str, int, int, int], str]


def _resnet(depths: Sequence[int], block: Block, expansion: int) -> onnx.ModelProto:
    made = Builder()
    x, read = _halved(made, _relu(made, "x", 3, 64, 7, stride=2), pads=[1] * 4), 64
    for stage, blocks in enumerate(depths):
        for index in range(blocks):
            inner, stride = 64 * 2**stage, 2 if stage and not index else 1
            same = stride == 1 and read == expansion * inner
            short = x if same else made.biased(x, read, expansion * inner, stride=stride)
            deep = block(made, x, read, inner, stride)
            x, read = made.add("Relu", made.add("Add", deep, short)), expansion * inner
    return made.model(x, SHAPE, CLASSES, read)


def _basic(made: Builder, x: str, read: int, inner: int, stride: int) -> str:
    return made.biased(_relu(made, x, read, inner, 3, stride=stride), inner, inner, 3)


def _bottleneck(made: Builder, x: str, read: int, inner: int, stride: int) -> str:
    return made.biased(_relu(made, _relu(made, x, read, inner), inner, inner, 3, stride=stride), inner, 4 * inner)


def _inverted(made: Builder, x: str, read: int, width: int, expansion: int, stride: int) -> str:
    inner = read * expansion
    wide = x if expansion == 1 else _clipped(made, made.biased(x, read, inner))
    deep = _clipped(made, made.biased(wide, inner, inner, 3, stride=stride, group=inner))
    return made.biased(deep, inner, width)


def _relu(made: Builder, x: str, read: int, out: int, kernel: int = 1, stride: int = 1) -> str:
    return made.add("Relu", made.biased(x, read, out, kernel, stride))


def _clipped(made: Builder, x: str) -> str:
    return made.add("Clip", x, *(made.kept(np.array(bound, np.float32)) for bound in (0, 6)))


def _halved(made: Builder, x: str, pads: Sequence[int] = (0, 0, 0, 0)) -> str:
    return made.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=list(pads))


MADE: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "squeezenet": squeezenet,
    "vgg11": vgg11,
}
