"""Networks of the zoo as torch modules again, for peers that prune modules: weights and names are the graph's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["frozen", "rebuilt"]

RTOL = 1e-4  # of the largest output, between module and graph


def rebuilt(path: Path, inputs: np.ndarray[Any, Any]) -> nn.Module:
    """The module that computes what the graph does, checked on inputs; raises ValueError where there is none."""
    if (build := BUILDERS.get(path.stem)) is None:
        raise ValueError(f"nobody has written {path.stem} as a torch module")
    graph = onnx.load(path)
    weights = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.graph.initializer}
    module = build().eval()
    held = module.state_dict()
    module.load_state_dict({**held, **{name: value for name, value in weights.items() if name in held}})
    missing = [name for name in held if name not in weights and not name.endswith("num_batches_tracked")]
    if missing or not _alike(module, path, inputs):
        raise ValueError(f"the module of {path.stem} does not compute what the graph does {missing}")
    return module


def frozen(module: nn.Module) -> list[nn.Module]:
    """The layers that keep their outputs: the last, and those whose outputs a shortcut of zeros must line up with."""
    names = ("conv1",) if isinstance(module, ResNet) else ()
    named = dict(module.named_modules())
    tied = [m for name, m in named.items() if name in names or (isinstance(module, ResNet) and name.endswith(".conv2"))]
    return [*tied, [m for m in named.values() if isinstance(m, nn.Linear)][-1]]


def _alike(module: nn.Module, path: Path, inputs: np.ndarray[Any, Any]) -> bool:
    import onnxruntime as ort

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: inputs})
    with torch.no_grad():
        z = module(torch.from_numpy(inputs)).numpy()
    return bool(np.abs(z - y).max() <= RTOL * np.abs(y).max())


def _lenet5() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)),
    )


def _vgg_m() -> nn.Module:
    layers: list[nn.Module] = []
    for read, made, pooled in (
        *((3, 32, True), (32, 64, False), (64, 64, True), (64, 128, False)),
        *((128, 128, True), (128, 128, False)),
    ):
        layers += [nn.Conv2d(read, made, 3, padding=1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] * pooled
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


class Block(nn.Module):
    """Two convolutions beside a shortcut that, where they change the size, skips every other pixel and adds zeros."""

    def __init__(self, read: int, made: int) -> None:
        super().__init__()
        self.grown = made - read
        self.conv1 = nn.Conv2d(read, made, 3, 2 if self.grown else 1, 1, bias=False)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(made), nn.BatchNorm2d(made)

    def forward(self, x: Tensor) -> Tensor:
        """[N, read, H, W] to [N, made, H', W']."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        half = self.grown // 2
        short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half)) if self.grown else x
        return functional.relu(y + short)


class ResNet(nn.Module):
    """ResNet-20 for CIFAR-10 (He et al. 2016, option A)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(read, made), Block(made, made), Block(made, made))
            for read, made in ((16, 16), (16, 32), (32, 64))
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to [N, 10]."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


BUILDERS: Mapping[str, Callable[[], nn.Module]] = {"lenet5": _lenet5, "vgg_m": _vgg_m, "cifar10_resnet20_bn": ResNet}
