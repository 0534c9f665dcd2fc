"""What each layer is to make when layers are refitted one behind the other, and which of them share runs.

A layer aims at what it made in the original. The last summand of a sum aims at the original's sum, less what the other
summand is by then: it makes up for what the other lacks (He et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from onnxprune.clipped import Limits
from onnxprune.model import Model
from onnxprune.node import Node, Tensor

__all__ = ["Aim", "waves"]


class Aim(NamedTuple):
    """What a node is to make, by name: a tensor of the original, less what another of the network is by now.

    ``limits`` are those of an operator that clips it next.
    """

    node: str
    tensor: str
    other: str | None = None
    limits: Limits | None = None


def waves(model: Model, original: Model, nodes: Collection[str]) -> list[list[Aim]]:
    """The nodes by the number of them that lie before each, with what each is to make."""
    depths, behind = _depths(model, nodes)
    waves: dict[int, list[Aim]] = {}
    for node in (model.node(name) for name in nodes):
        waves.setdefault(depths[node.name], []).append(_aim(model, original, node, depths[node.name], behind))
    return [waves[depth] for depth in sorted(waves)]


def _depths(model: Model, nodes: Collection[str]) -> tuple[dict[str, int], dict[str, int]]:
    """How many of the nodes lie one behind the other before each of them, and before every tensor."""
    depths, behind, wanted = dict[str, int](), dict[str, int](), set(nodes)
    for node in model.nodes:
        depth = max((behind.get(t.name, 0) for t in (*node.inputs, *node.captures) if t is not None), default=0)
        if node.name in wanted:
            depths[node.name] = depth
            depth += 1
        behind.update((t.name, depth) for t in node.outputs if t is not None)
    return depths, behind


def _aim(model: Model, original: Model, node: Node, depth: int, behind: Mapping[str, int]) -> Aim:
    """The node's own output, or the sum that it is a summand of, once all is healed that makes the other summand."""
    y, readers = node.y(), model.consumers(node.y().name)
    own = Aim(node.name, y.name, None, _limits(model, y))
    if len(readers) != 1 or readers[0].op != "Add" or readers[0].domain or model.is_output(y.name):
        return own
    total, others = readers[0].y(), [t for t in readers[0].inputs if t is not None and t.name != y.name]
    if len(others) != 1 or others[0].fixed or others[0].shape != y.shape or original.tensor(total.name).shape is None:
        return own
    healed = behind.get(others[0].name, 0) <= depth
    return Aim(node.name, total.name, others[0].name, _limits(model, total)) if healed else own


def _limits(model: Model, tensor: Tensor) -> Limits | None:
    """What is clipped of a tensor before anything else reads it: all but what a Relu or Clip passes on."""
    readers = model.consumers(tensor.name)
    if len(readers) != 1 or readers[0].domain or model.is_output(tensor.name):
        return None
    if readers[0].op == "Relu":
        return Limits(0.0, math.inf)
    if readers[0].op != "Clip":
        return None
    low, high = (_bound(readers[0], *each) for each in ((1, "min", -math.inf), (2, "max", math.inf)))
    return None if low is None or high is None else Limits(low, high)


def _bound(clip: Node, place: int, attribute: str, default: float) -> float | None:
    """A limit of a Clip, an attribute before opset 11; None when it is no constant."""
    given = clip.input(place)
    if given is None:
        return float(clip.attrs.get(attribute, default))
    return float(given.value()) if given.constant else None
