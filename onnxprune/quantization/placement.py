"""Where a graph is computed on integers: which nodes, which tensors lie on which grid, and why others stay in float.

Layers are wanted wherever there is a kernel for them. What lies between two of them comes along if it reads nothing
but what lies on a grid already, so that nothing is rounded for its sake alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from onnxprune.axes.linear import bias_of, linear
from onnxprune.model import Model
from onnxprune.node import Node, Tensor
from onnxprune.quantization.grids import UNLIMITED
from onnxprune.quantization.operators import OPERATORS, WITHOUT_KERNEL, Fact
from onnxprune.quantization.settled import on_grid

__all__ = [
    "ALREADY",
    "Placement",
    "Site",
    "activations",
    "alone",
    "clip_behind",
    "limits_of",
    "made_by",
    "obstacle",
    "pads_with_zero",
    "placed",
]

ALREADY = "it is quantized already"


@dataclass(frozen=True)
class Site:
    """A tensor that lies on a grid: all of one ``grid`` (the name of one of them) share it.

    ``made`` says that an integer kernel makes it, so that all read what is on the grid; else only the kernels do.
    """

    tensor: str
    grid: str
    made: bool


@dataclass(frozen=True)
class Placement:
    """What is to be done: ``sites`` in the order of the graph, the ``nodes`` on integers, and why others are not."""

    sites: tuple[Site, ...]
    nodes: tuple[str, ...]
    floats: Mapping[str, str] = field(repr=False)  # layers that stay in float, and why

    @property
    def grids(self) -> Mapping[str, tuple[str, ...]]:
        """The tensors of every grid."""
        found: dict[str, list[str]] = {}
        for site in self.sites:
            found.setdefault(site.grid, []).append(site.tensor)
        return {name: tuple(tensors) for name, tensors in found.items()}


def placed(model: Model, excluded: Collection[str] = ()) -> Placement:
    """The placement for a model; the nodes ``excluded`` stay in float."""
    floats = {}
    layers = set[str]()
    for node in model.nodes:
        fact = _fact(node)
        if node.kind in WITHOUT_KERNEL:
            floats[node.name] = WITHOUT_KERNEL[node.kind]
        if fact is not None and fact.kind == "layer":
            why = obstacle(model, node) or ("excluded" if node.name in excluded else None)
            if why is None:
                layers.add(node.name)
            else:
                floats[node.name] = why
    draft = _Draft(model, layers, excluded)
    return Placement(draft.sites(), tuple(node.name for node in model.nodes if node.name in draft.chosen), floats)


def alone(model: Model, placement: Placement, name: str) -> Placement:
    """What a placement says of one node: what it reads lies on grids for it alone, what it makes for all."""
    node = model.node(name)
    read, made = {t.name for t in activations(node)}, set(made_by(model, node))
    sites = [replace(site, made=site.tensor in made) for site in placement.sites if site.tensor in read]
    sites += [site for site in placement.sites if site.made and site.tensor in made]
    return Placement(tuple(sites), (name,), {})


def made_by(model: Model, node: Node) -> list[str]:
    """The tensors on a grid that a node makes: what a clip behind it makes, where there is one."""
    outputs = [t.name for t in node.outputs if t is not None]
    return [clip.y().name if (clip := clip_behind(model, node)) is not None else outputs[0], *outputs[1:]]


def obstacle(model: Model, node: Node) -> str | None:
    """Why a layer cannot be computed on integers; None when it can."""
    if any(t is not None and t.dtype != np.float32 for t in (*node.inputs, *node.outputs)):
        kinds = {str(t.dtype) for t in node.tensors() if t.dtype is not None} - {"float32"}
        return f"it computes on {', '.join(sorted(kinds)) or 'a type that is not known'}, and kernels take float32"
    if (where := [_quantized(model, t) for t in node.inputs[:2] if t is not None]) and (where[-1] or all(where)):
        return ALREADY
    view = linear(node)
    if view is None:
        both = node.op == "MatMul" and not any(t is not None and t.fixed for t in node.inputs)
        return None if both else "its weight is computed at run time"
    if not view.plain:
        return f"its weight '{view.weight.name}' is no constant that is multiplied from the right"
    if node.op == "Gemm" and node.attrs.get("alpha", 1.0) != 1:
        return "there is no integer kernel for an alpha that is not 1"
    if bias_of(view) is None:
        return f"its bias '{view.bias.name if view.bias else ''}' is no constant of one number per channel"
    if not np.isfinite(view.weight.value()).all():
        return f"its weight '{view.weight.name}' is not finite"
    return None


def _quantized(model: Model, tensor: Tensor) -> bool:
    producer = model.producer(tensor.name)
    return producer is not None and producer.op == "DequantizeLinear"


def _fact(node: Node) -> Fact | None:
    return None if node.domain else OPERATORS.get(node.op)


class _Draft:
    """A placement in the making."""

    def __init__(self, model: Model, layers: Collection[str], excluded: Collection[str]) -> None:
        self._model = model
        self._layers, self._excluded = layers, excluded
        self.chosen = set(layers)
        needed = {t.name for node in map(model.node, layers) for t in activations(node)}
        self._on_grid = set(needed)
        for node in model.nodes:
            if node.name in layers:
                self._on_grid.update([] if OPERATORS[node.op].floats else made_by(self._model, node))
            elif self._joins(node):
                self.chosen.add(node.name)
                self._on_grid.update(made_by(self._model, node))
        self._withdraw()
        self._on_grid = self._needed()

    def sites(self) -> tuple[Site, ...]:
        """Every tensor on a grid, those that must share one under one name."""
        model, parent = self._model, dict[str, str]()

        def root(name: str) -> str:
            while parent.get(name, name) != name:
                name = parent[name]
            return name

        made = {name for node in map(model.node, self.chosen) for name in made_by(self._model, node)}
        settled = {name for name in self._on_grid if on_grid(model, name) is not None}
        for node in model.nodes:
            fact = _fact(node)
            if node.name in self.chosen and fact is not None and fact.kind == "move":
                tied = self._tied(node, settled)
                for name in tied:
                    parent[root(name)] = root(node.y().name)
                settled.update(tied if settled.intersection(tied) else [])
        names = [t.name for t in model.inputs if t.name in self._on_grid]
        names += [t.name for n in model.nodes for t in n.outputs if t is not None and t.name in self._on_grid]
        return tuple(Site(name, root(name), name in made) for name in names)

    def _alone(self, name: str) -> bool:
        """Whether one node reads a tensor, and nobody else."""
        return len(self._model.consumers(name)) == 1 and not self._model.is_output(name)

    def _tied(self, node: Node, settled: Collection[str]) -> list[str]:
        """What lies on the grid of what a move makes.

        Of several inputs those whose grid is not settled, that nobody else reads, and that are clipped alike.
        """
        read, outputs = [t.name for t in activations(node)], made_by(self._model, node)
        if OPERATORS[node.op].tied:
            alone = [name for name in read if name not in settled and self._alone(name)]
            ends = {name: limits_of(self._model, name) for name in read}
            free = [name for name in alone if ends[name] == UNLIMITED]
            read = alone if len({*ends.values()}) == 1 else free
        return [*read, *outputs]

    def _joins(self, node: Node) -> bool:
        """Whether a node between layers computes on integers: it reads nothing else."""
        fact = _fact(node)
        if fact is None or fact.kind not in ("sum", "move") or node.name in self._excluded:
            return False
        read = activations(node)
        alike = all(t.dtype == np.float32 for t in (*read, *(t for t in node.outputs if t is not None)))
        return bool(read) and alike and all(t.name in self._on_grid for t in read) and _has_kernel(node)

    def _withdraw(self) -> None:
        """Take back what leads to no layer."""
        read = set[str]()
        for node in reversed(self._model.nodes):
            if node.name in self.chosen and (
                node.name in self._layers or not read.isdisjoint(made_by(self._model, node))
            ):
                read.update(t.name for t in activations(node))
            else:
                self.chosen.discard(node.name)
        self._read = read

    def _needed(self) -> set[str]:
        """What is read as integers, and what no kernel leaves in float."""
        forced = {
            name
            for node in map(self._model.node, self.chosen)
            if not OPERATORS[node.op].floats
            for name in made_by(self._model, node)
        }
        return self._read | forced


def activations(node: Node) -> list[Tensor]:
    """What an operator reads that is computed at run time; of a move only what it carries."""
    fact = OPERATORS[node.op]
    read = node.inputs if fact.kind != "move" or fact.tied else node.inputs[:1]
    return [t for t in read if t is not None and not t.fixed]


def _has_kernel(node: Node) -> bool:
    if node.op == "Resize":
        return bool(node.attrs.get("mode", "nearest") != "cubic")
    return node.op != "Pad" or pads_with_zero(node)


def pads_with_zero(node: Node) -> bool:
    """Whether what a Pad puts in of its own, if anything, is 0."""
    if node.attrs.get("mode", "constant") != "constant":
        return True
    value = node.input(2)
    return not node.attrs.get("value", 0.0) if value is None else value.constant and not np.any(value.value())


def clip_behind(model: Model, node: Node) -> Node | None:
    """The Relu or Clip that alone reads what a layer or a sum makes: the ends of its grid do what it does."""
    fact = _fact(node)
    if fact is None or fact.kind not in ("layer", "sum") or len(node.outputs) != 1:
        return None
    y = node.y().name
    readers = model.consumers(y)
    if len(readers) != 1 or model.is_output(y) or model.captured(y):
        return None
    (reader,) = readers
    fact = _fact(reader)
    return reader if fact is not None and fact.kind == "clip" and clip_limits(reader) is not None else None


def limits_of(model: Model, name: str) -> tuple[float, float]:
    """The ends that a clip behind a layer or a sum gives a tensor, which its grid must not go beyond."""
    node = model.producer(name)
    fact = None if node is None else _fact(node)
    if node is None or fact is None or fact.kind != "clip" or (before := model.producer(node.x().name)) is None:
        return UNLIMITED
    absorbed = clip_behind(model, before) is not None
    return (clip_limits(node) or UNLIMITED) if absorbed else UNLIMITED


def clip_limits(node: Node) -> tuple[float, float] | None:
    """What a Relu or Clip leaves of the numbers; None where 0 is not among it, or that is not known."""
    if node.op == "Relu":
        return 0.0, np.inf
    try:
        low, high = node.setting("min", 1), node.setting("max", 2)
    except ValueError:
        return None
    ends = (-np.inf if low is None else float(low), np.inf if high is None else float(high))
    return ends if ends[0] <= 0 <= ends[1] else None
