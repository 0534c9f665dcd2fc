"""Which channels may be multiplied by positive factors that nobody notices: what reads them makes up for it.

Every slot of every axis that is computed has a factor. An operator that carries channels on ties the factors of what it
reads to those of what it makes. A layer ties nothing: the rows of its weight take up the factors of what it makes, its
columns the inverse of those of what it reads; so do factors of normalisations. All else holds what it touches at 1.
Pairs of layers, depthwise triples, residual networks and SmoothQuant are all of this kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxprune.analyses.channels import sized
from onnxprune.axes.facts import Either, Fact, Facts, Free, Pin, Tie, at
from onnxprune.axes.groups import settle
from onnxprune.axes.linear import Linear, bias_of, linear
from onnxprune.axes.rules import facts_of
from onnxprune.model import Model
from onnxprune.node import Array, Axis, Node, Tensor
from onnxprune.quantization.placement import clip_limits, pads_with_zero

__all__ = ["Gain", "Scales", "scales"]

CARRY = frozenset(
    """
    Relu LeakyRelu PRelu Identity Dropout Abs Neg MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean
    ReduceSum ReduceMax ReduceMin Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather Pad DepthToSpace
    SpaceToDepth Resize Upsample
    """.split()
)
SUMS = ("Add", "Sub", "Sum")
PRODUCTS = ("Mul", "Div")
LAST = ("LayerNormalization", "RMSNormalization")
NORMS = (*LAST, "InstanceNormalization", "BatchNormalization")
HELD = "it notices factors"


@dataclass(frozen=True)
class Gain:
    """The axis of a constant that takes up the factors of axis ``by``, and the inverse of those of ``less``."""

    axis: Axis
    by: Axis
    less: Axis | None = None


@dataclass(frozen=True, eq=False)
class Scales:
    """The factors of a network, by number; 0 is the factor 1.

    ``layers`` take them up in weight and bias, ``gains`` in a constant that multiplies; ``addends`` are axes of
    constants that are added to what has the factors, and get them too. Tensors that are clipped have ``limits``:
    what a channel reaches must stay below, or its factor is 1.
    """

    count: int
    numbers: Mapping[Axis, Array] = field(repr=False)
    layers: tuple[Linear, ...]
    gains: tuple[Gain, ...]
    addends: tuple[Axis, ...]
    limits: Mapping[str, float]

    def made(self, layer: Linear) -> Array:
        """The numbers [outputs] of what a layer makes."""
        return self.numbers[at(layer.y, layer.y_channel)]

    def read(self, layer: Linear) -> Array:
        """The numbers [groups, inputs of a group] of what a layer reads."""
        return self.numbers[at(layer.x, layer.x_channel)].reshape(layer.groups, -1)


def scales(model: Model) -> Scales:
    """All factors that a network leaves open."""
    draft = _Draft(model)
    facts = [fact for node in model.nodes for fact in draft.facts(node)]
    facts += (Pin(axis, "signature") for tensor in (*model.inputs, *model.outputs) for axis in tensor.axes())
    numbers, count = dict[Axis, Array](), 1
    for group in settle(facts, sized(model, facts)):
        free = np.setdiff1d(np.arange(group.size), [*group.pinned])
        own = np.zeros(group.size, np.intp)
        own[free] = np.arange(count, count + len(free))
        count += len(free)
        numbers |= {axis: own[atoms] for axis, atoms in group.atoms.items()}
    return Scales(count, numbers, tuple(draft.layers), tuple(draft.gains), tuple(draft.addends), draft.limits)


class _Draft:
    """What every node says of factors, and who takes them up."""

    def __init__(self, model: Model) -> None:
        self.layers, self.gains, self.addends = list[Linear](), list[Gain](), list[Axis]()
        self.limits = dict[str, float]()
        read = [t.name for n in model.nodes for t in (*n.inputs, *n.captures) if t is not None]
        self._uses = Counter([*read, *(t.name for t in model.outputs)])

    def facts(self, node: Node) -> Iterable[Fact]:
        if node.domain or node.captures or any(t.rank is None for t in node.tensors()):
            return _held(node.tensors())
        if (view := linear(node)) is not None:
            return self._layer(view)
        if node.op in SUMS:
            return self._sum(node)
        if node.op in NORMS:
            return self._norm(node)
        if node.op in PRODUCTS:
            return self._product(node)
        if node.op == "Clip":
            return self._clip(node)
        if node.op not in CARRY or not _fills_with_zero(node):
            return _held(node.tensors())
        fixed = [t for t in node.inputs if t is not None and t.fixed and node.op != "PRelu"]
        return (*_carried(node), *_held(fixed))

    def _own(self, tensor: Tensor | None) -> bool:
        """Whether a constant has one reader, so that it can take up factors."""
        return tensor is not None and tensor.constant and tensor.dtype == np.float32 and self._uses[tensor.name] == 1

    def _layer(self, view: Linear) -> Facts:
        """Weight and bias take up what is read and what is made; along other axes nothing may vary."""
        own = view.plain and self._own(view.weight) and (view.node.op == "Conv" or view.weight.rank == 2)
        if not own or bias_of(view) is None:
            yield from _held(view.node.tensors())
            return
        self.layers.append(view)
        for tensor, channel in ((view.x, view.x_channel), (view.y, view.y_channel)):
            yield Free(at(tensor, channel))
            yield from _held([tensor], but=at(tensor, channel))

    def _sum(self, node: Node) -> Facts:
        """All terms have the factors of the sum; none of them may be stretched along an axis that has some."""
        yield from _carried(node)
        y = node.y()
        for term in (t for t in node.inputs if t is not None):
            for back in range(1, (y.rank or 0) + 1):
                if back > (term.rank or 0) or term.size(-back) == 1 != y.size(-back):
                    yield Pin(at(y, -back), HELD)
            if self._own(term):
                self.addends += term.axes()
            elif term.fixed:
                yield from _held([term])

    def _product(self, node: Node) -> Facts:
        """A constant per channel takes up factors like a layer; else the second operand has none of its own."""
        x, other, y = node.x(0), node.x(1), node.y()
        if node.op == "Mul" and (x.fixed or (not other.fixed and x.elements() < other.elements())):
            x, other = other, x
        if x.fixed or x.rank != y.rank:
            yield from _held(node.tensors())
            return
        dims = [dim for dim in range(other.rank or 0) if other.size(dim) != 1]
        gain = self._own(other) and len(dims) == 1 and other.size(dims[0]) == x.size(dims[0] - (other.rank or 0))
        channel = dims[0] - (other.rank or 0) + (y.rank or 0) if gain else None
        if channel is not None:
            ends = at(x, channel), at(y, channel)
            self.gains.append(Gain(at(other, dims[0]), *(ends if node.op == "Div" else ends[::-1])))
            yield from map(Free, ends)
        yield from () if other.constant else _held([other])
        yield from (Tie(at(x, dim), at(y, dim)) for dim in range(y.rank or 0) if dim != channel)
        yield from (Pin(at(y, dim), HELD) for dim in range(y.rank or 0) if x.size(dim) == 1 != y.size(dim))

    def _clip(self, node: Node) -> Facts:
        """Above 0, a channel has a factor as long as the clip leaves it as it is."""
        ends = clip_limits(node)
        if ends is None or ends[0] not in (0, -np.inf):
            yield from _held(node.tensors())
            return
        if np.isfinite(ends[1]):
            self.limits[node.y().name] = ends[1]
        yield from (Tie(a, b) for a, b in zip(node.x().axes(), node.y().axes(), strict=True))

    def _norm(self, node: Node) -> Facts:
        """What it makes has the factors of its own gain and offset, and none of what it reads."""
        y, channel = node.y(), -1 if node.op in LAST else 1
        parameters = [t for t in node.inputs[1:3] if t is not None]
        plain = node.op not in LAST or node.attrs.get("axis", -1) in (-1, (y.rank or 0) - 1)
        fits = all(self._own(t) and t.shape == (y.size(channel),) for t in parameters)
        if not (plain and fits and parameters) or any(t is not None for t in node.outputs[1:]):
            yield from _held(node.tensors())
            return
        self.gains.append(Gain(at(parameters[0], 0), at(y, channel)))
        self.addends += [at(t, 0) for t in parameters[1:]]
        yield from (Tie(at(y, channel), at(t, 0)) for t in parameters)
        yield from _held([node.x(), *(t for t in node.inputs[3:] if t is not None)])
        yield from _held([y], but=at(y, channel))


def _carried(node: Node) -> Facts:
    """Slots that are tied have one factor; of an axis of which there is more to say than ties, none."""
    for fact in facts_of(node):
        yield fact if isinstance(fact, Tie | Either) else Pin(fact.axis, HELD)


def _held(tensors: Iterable[Tensor], but: Axis | None = None) -> Facts:
    yield from (Pin(axis, HELD) for tensor in tensors for axis in tensor.axes() if axis != but)


def _fills_with_zero(node: Node) -> bool:
    """Whether what an operator puts in of its own, if anything, is 0."""
    if node.op == "Resize":
        return bool(node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize")
    return node.op != "Pad" or pads_with_zero(node)
