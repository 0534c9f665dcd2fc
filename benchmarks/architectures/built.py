"""Networks of torchvision and timm as modules that take one tensor and return tensors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.listed import Network
from benchmarks.architectures.operators import timm, torchvision
from benchmarks.architectures.weights import settle

__all__ = ["SEED", "built", "sample"]

SEED = 0

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # has no counterpart in ONNX


class Plain(nn.Module):
    """A network that returns its tensors one after the other, whatever it wraps them in."""

    def __init__(self, network: nn.Module, detects: bool) -> None:
        super().__init__()
        self.network, self.detects = network, detects

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Detectors take one image, the others a batch."""
        found = tuple(_tensors(self.network([x] if self.detects else x)))
        return found[0] if len(found) == 1 else found


def _tensors(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
        return
    for each in found.values() if isinstance(found, Mapping) else found:
        yield from _tensors(each)


def built(network: Network, distinct: bool) -> nn.Module:
    """The network in eval mode with random weights of a fixed seed."""
    torch.manual_seed(SEED)
    module = Plain(_made(network), network.task == "detect").eval()
    settle(module, (sample(network),), distinct)
    return module


def sample(network: Network) -> Tensor:
    """One image, or a batch of one."""
    shape = (3, network.size, network.size)
    generator = torch.Generator().manual_seed(SEED)
    return torch.rand(shape if network.task == "detect" else (1, *shape), generator=generator)


def _made(network: Network) -> nn.Module:
    made: nn.Module
    if network.library == "timm":
        made = timm.create_model(network.name, pretrained=False, **network.options)
        return made
    options = dict(network.options)
    if network.task != "classify":
        options["weights_backbone"] = None
    if network.task == "detect" and not network.name.startswith("ssd"):
        options |= {"min_size": network.size, "max_size": network.size}
    made = torchvision.models.get_model(network.name, weights=None, **options)
    return made
