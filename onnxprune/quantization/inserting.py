"""Writing a quantized network: QuantizeLinear and DequantizeLinear around what is computed on integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxprune.axes.linear import Linear, bias_of, linear
from onnxprune.model import Model
from onnxprune.node import Array, Node
from onnxprune.quantization.grids import Format, Grid, activation_grid
from onnxprune.quantization.operators import OPERATORS
from onnxprune.quantization.placement import Placement, Site, activations
from onnxprune.quantization.settled import on_grid, restored

__all__ = ["INT32", "Codes", "insert"]

INT32 = Format("int32", -(2**31), 2**31 - 1)


@dataclass(frozen=True, eq=False)
class Codes:
    """A weight as whole numbers [the weight's shape], and the grid that they lie on."""

    values: Array = field(repr=False)
    grid: Grid

    @property
    def restored(self) -> Array:
        """What the numbers stand for, float32."""
        return self.grid.restored(self.values)


def insert(model: Model, placement: Placement, grids: Mapping[str, Grid], weights: Mapping[str, Codes]) -> None:
    """Put pairs around what is computed on integers.

    ``grids`` go by the names of the placement's grids, ``weights`` by that of the node.
    """
    of_tensor = {site.tensor: grids[site.grid] for site in placement.sites}
    pairs, chosen = _Pairs(model), set(placement.nodes)
    twins = {site.tensor: restored(model, site.tensor) for site in placement.sites if on_grid(model, site.tensor)}
    for node in pairs.nodes:
        view = linear(node)
        if node.name in weights and view is not None:
            _insert_layer(pairs, view, weights[node.name], of_tensor[view.x.name])
        elif node.name in chosen and OPERATORS[node.op].kind != "move":
            _insert_operands(pairs, node, of_tensor[activations(node)[0].name].format)
    for site in placement.sites:
        if (twin := twins.get(site.tensor)) is None:
            _insert_site(pairs, site, of_tensor[site.tensor], chosen)
        elif twin != site.tensor:
            pairs.lead(site.tensor, twin, None if site.made else chosen)
    model.sweep()


def _insert_layer(pairs: _Pairs, view: Linear, codes: Codes, x: Grid) -> None:
    """Weight and bias of a layer, the latter on the grid of the products of weight and input."""
    bias = bias_of(view)
    if view.bias is not None and bias is not None:
        scale = x.scale * np.broadcast_to(codes.grid.scale, bias.shape)
        grid = Grid(INT32, scale.astype(np.float32), np.zeros(bias.shape, np.int32), 0)
        values = np.clip(np.rint(bias / grid.scale.astype(np.float64)), INT32.low, INT32.high).astype(np.int32)
        pairs.model.set_input(view.node, 2, pairs.constant(view.bias.name, Codes(values, grid), keeps=False))
        pairs.model.set_attribute(view.node, "beta", None)
    pairs.weight(view, codes)


def _insert_operands(pairs: _Pairs, node: Node, format: Format) -> None:
    """The constants that an operator reads beside what is computed."""
    for index, operand in enumerate(node.inputs):
        if operand is not None and operand.constant:
            value = operand.value()
            grid = activation_grid(float(value.min()), float(value.max()), format)
            codes = Codes(grid.quantized(value), grid)
            pairs.model.set_input(node, index, pairs.constant(operand.name, codes, keeps=False, zero=True))


def _insert_site(pairs: _Pairs, site: Site, grid: Grid, chosen: Collection[str]) -> None:
    """What an integer kernel makes is read from the grid by all; else by those alone that compute on integers."""
    model, name = pairs.model, site.tensor
    if site.made and (place := pairs.producers.get(name)) is not None:
        raw = model.fresh_name(f"{name}_raw")
        model.set_output(*place, raw)
        pairs.pair(raw, grid, site.grid, name)
        return
    pairs.pair(name, grid, site.grid, twin := model.fresh_name(f"{name}_dequantized"))
    pairs.lead(name, twin, chosen)


def _computes(node: Node, name: str) -> bool:
    return any(t.name == name for t in activations(node))


class _Pairs:
    """Pairs and constants of one model; equal grids share their constants."""

    def __init__(self, model: Model) -> None:
        """What is asked of the graph is asked before the first edit: after each, all would be inferred anew."""
        self.model, self.nodes = model, model.nodes
        self.producers, self.readers = dict[str, tuple[Node, int]](), dict[str, list[tuple[Node, int]]]()
        for node in self.nodes:
            for index, tensor in enumerate(node.outputs):
                if tensor is not None:
                    self.producers[tensor.name] = node, index
            for index, tensor in enumerate((*node.inputs, *node.captures)):
                if tensor is not None:
                    self.readers.setdefault(tensor.name, []).append((node, index))
        self._outputs = {t.name for t in model.outputs}
        self._named: dict[str, tuple[str, ...]] = {}

    def pair(self, source: str, grid: Grid, of: str, result: str) -> None:
        """``result`` is what becomes of ``source`` on a grid that others may share."""
        if of not in self._named:
            self._named[of] = self._parameters(of, grid)
        codes = self.model.fresh_name(f"{result}_quantized")
        parameters = self._named[of]
        self.model.insert("QuantizeLinear", [source, *parameters], [codes], name=f"{result}_QuantizeLinear")
        self.model.insert("DequantizeLinear", [codes, *parameters], [result], name=f"{result}_DequantizeLinear")

    def lead(self, name: str, twin: str, chosen: Collection[str] | None) -> None:
        """Let nodes read a twin of a tensor: those ``chosen`` for what they compute with, or all but what rounds it."""
        for node, index in self.readers.get(name, ()):
            rounds, captures = node.op == "QuantizeLinear", index >= len(node.inputs)
            if not (rounds or captures) if chosen is None else node.name in chosen and _computes(node, name):
                self.model.set_input(node, index, twin)

    def weight(self, view: Linear, codes: Codes) -> None:
        """A layer's weight; it keeps its name where nobody else reads it."""
        source = view.weight.name
        alone = len(self.readers[source]) == 1 and source not in self._outputs
        name = self.constant(source, codes, keeps=alone, zero=view.node.op != "Conv")
        if name != source:
            self.model.set_input(view.node, 1, name)

    def constant(self, source: str, codes: Codes, *, keeps: bool, zero: bool = False) -> str:
        """A constant that is restored from whole numbers; their rounding error apart, it is ``source``.

        A zero point of 0 may be left out, but for kernels that look for it (``zero``).
        """
        model = self.model
        held = model.fresh_name(f"{source}_quantized")
        model.put(held, codes.values)
        model.provenance.duplicate(source, held, codes.values.shape)
        if keeps:
            model.discard(source)
        result = source if keeps else model.fresh_name(f"{source}_dequantized")
        parameters = self._parameters(held, codes.grid, zero=zero or bool(codes.grid.zero.any()))
        axis = {} if codes.grid.axis is None else {"axis": codes.grid.axis}
        model.insert("DequantizeLinear", [held, *parameters], [result], name=f"{held}_DequantizeLinear", **axis)
        return result

    def _parameters(self, stem: str, grid: Grid, *, zero: bool = True) -> tuple[str, ...]:
        """The names of the constants for a grid's scale and, if asked for, its zero point."""
        names = []
        for kind, value in (("scale", grid.scale), ("zero_point", grid.zero))[: 1 + zero]:
            names.append(self.model.fresh_name(f"{stem}_{kind}"))
            self.model.put(names[-1], value)
        return tuple(names)
