"""Random weights under which a network lives: no activation dies or explodes, so that a difference is seen.

As libraries initialise them, deep networks let their signal vanish, or switch whole branches off (a scale of 1e-6 or
zero), and then a wrong cut would change nothing. Here every layer is scaled so that its output has a deviation of one
when it first runs (Mishkin & Matas 2016, "All you need is a good init", its second step).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["settle"]

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
OFF = 0.2  # a scale that is the same everywhere and smaller than this switches its branch off
RARE = -2.0  # what a class may start from: sigmoids of less are known to few digits


def settle(module: nn.Module, inputs: tuple[Tensor, ...], distinct: bool) -> None:
    """Scale every layer; ``distinct`` draws anew what is constant over a tensor, which else stays equal to others."""
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if value.is_floating_point() and value.numel() > 1 and value.min() == value.max():
                _draw(name, value, distinct)
        hooks = [m.register_forward_hook(_Scale()) for m in module.modules() if isinstance(m, LAYERS)]
        module(*inputs)
        for hook in hooks:
            hook.remove()


def _draw(name: str, value: Tensor, distinct: bool) -> None:
    shifts = name.endswith(("bias", "mean"))
    untrained = value.dim() > 1 and not value.any()  # a matrix, a token or an embedding
    if untrained or (distinct and shifts):
        value.normal_(0, 0.1)
    elif distinct:
        value.uniform_(0.5, 1.5)
    elif shifts:
        value.clamp_(min=RARE)
    elif value.abs().max() < OFF:
        value.fill_(1)


class _Scale:
    """Makes the deviation of a layer's output one, the first time that it runs."""

    def __init__(self) -> None:
        self.done = False

    def __call__(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        scale = float(output.std()) if output.numel() > 1 else 0.0
        if self.done or not 0 < scale < float("inf"):
            return None
        self.done = True
        layer.weight.div_(scale)  # not the bias, which says how rare a class is
        result: Tensor = type(layer).forward(layer, *inputs)
        return result
