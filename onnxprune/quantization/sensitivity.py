"""How much a network loses by each of its nodes on integers, when all others are left in float."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.errors import PassError
from onnxprune.model import Model
from onnxprune.node import Array
from onnxprune.passes import Analysis, Context
from onnxprune.quantization.inserting import Codes, insert
from onnxprune.quantization.network import Quantized, Scheme, quantized
from onnxprune.quantization.operators import OPERATORS
from onnxprune.quantization.placement import activations, alone, made_by
from onnxprune.reference import Change, Reference, behind
from onnxprune.taps import apart, tapped

__all__ = ["MOST", "SAMPLES", "NodeLosses"]

SAMPLES = 16
MOST = 1e12  # of a loss


@dataclass(frozen=True)
class NodeLosses(Analysis[Mapping[str, float]]):
    """The loss (``loss.Loss``) of the network in which one node alone is on integers, for each that may be.

    It is measured on a few samples. What only carries integers from place to place loses nothing, and is left out.
    """

    scheme: Scheme
    uses = ("calibration", "seed", "shapes")

    def compute(self, model: Model, ctx: Context) -> Mapping[str, float]:
        """Node after node: what lies before it is computed once, and what lies behind it runs in float."""
        if ctx.calibration is None:
            raise PassError("losses are measured on calibration data: give --calib")
        whole = quantized(model, ctx, self.scheme)
        names = [name for name in whole.placement.nodes if OPERATORS[model.node(name).op].kind != "move"]
        changes = [behind(model, (t.name for t in model.node(name).outputs if t is not None)) for name in names]
        reference, found = Reference(model, ctx.calibration.few(SAMPLES)), dict[str, float]()
        with ctx.progress.task("sensitivity", len(names)) as step:
            for number, (name, change) in enumerate(zip(names, changes, strict=True)):
                run = _Alone(model, whole, name, change)
                (loss,) = reference.compared([run], change, changes[number + 1 :])
                found[name] = min(loss.value, MOST)
                step()
        return found

    def pack(self, result: Mapping[str, float]) -> dict[str, Array]:
        """As named arrays."""
        return {"names": np.array(json.dumps(list(result))), "losses": np.array(list(result.values()), np.float64)}

    def unpack(self, arrays: Mapping[str, Array]) -> Mapping[str, float]:
        """From named arrays."""
        return dict(zip(json.loads(str(arrays["names"])), arrays["losses"].tolist(), strict=True))


class _Alone:
    """A run of the network with one node on integers: the node, then what lies behind it in float."""

    def __init__(self, model: Model, whole: Quantized, name: str, change: Change) -> None:
        node = model.node(name)
        made, read = made_by(model, node), [t.name for t in activations(node)]
        single = _single(model, made, read)
        insert(single, alone(model, whole.placement, name), whole.grids, _only(whole.weights, name))
        self._node, self._made, self._outputs = tapped(single, made, given=read), made, change.outputs
        rest = [output for output in change.outputs if output not in made]
        self._tail = tapped(model, rest, given=(*change.given, *made)) if rest else None

    def __call__(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs of the graph that become others."""
        known = {**feeds, **dict(zip(self._made, self._node(feeds, self._made), strict=True))}
        if self._tail is not None:
            known |= zip(self._tail.outputs, self._tail(known), strict=True)
        return [known[name] for name in self._outputs]


def _only(weights: Mapping[str, Codes], name: str) -> dict[str, Codes]:
    return {name: weights[name]} if name in weights else {}


def _single(model: Model, made: Sequence[str], read: Sequence[str]) -> Model:
    """A network of one node, where there can be one: quicker to edit than the whole."""
    try:
        return Model(apart(model, made, read))
    except ValueError:
        return model.copy()
