"""What a criterion may need of a network and of its data, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnxprune.axes.linear import Linear, linear
from onnxprune.footprints import families
from onnxprune.importance import CRITERIA
from onnxprune.importance.evidence import Need
from onnxprune.model import Model
from onnxprune.node import Node
from onnxprune.passes import Context
from onnxprune.watching import gain_of

__all__ = ["lacking", "refusal"]


def refusal(criterion: str, model: Model, ctx: Context, approximate: bool) -> str | None:
    """Why a criterion cannot judge, with those that can; None when it can."""
    lacks = lacking(model, ctx, approximate)
    why = next((lacks[need] for need in sorted(CRITERIA[criterion].needs & lacks.keys())), None)
    others = ", ".join(name for name, each in CRITERIA.items() if not each.needs & lacks.keys())
    return None if why is None else f"importance={criterion} {why} take one of {others}"


def lacking(model: Model, ctx: Context, approximate: bool) -> Mapping[Need, str]:
    """What is not there, with why it is needed and the way out; ``approximate`` cuts are wanted."""
    found = dict[Need, str]()
    views = {node.name: view for node in model.nodes if (view := linear(node)) is not None}
    if ctx.calibration is None:
        found["data"] = "judges channels by what they do on data: give --calib, or"
        layers = (views[name] for name in _makers(model, ctx, approximate))
        if bare := next((view.node.name for view in layers if gain_of(model, view) is None), None):
            found["gain"] = (
                "goes by γ of the BatchNormalization behind each layer, or by data where it was folded away:"
                f" '{bare}' has none behind it; give --calib, or"
            )
    if not _rectified(model, views.values()):
        found["relu"] = "counts zeros, and no ReLU (Relu, or Clip from 0) makes any that a layer reads:"
    return found


def _makers(model: Model, ctx: Context, approximate: bool) -> Iterable[str]:
    free = (family for family in families(model, ctx) if len(family.free((), approximate)))
    return (name for family in free for layers in family.made.values() for name in layers)


def _rectified(model: Model, views: Iterable[Linear]) -> bool:
    """Whether some layer reads what a ReLU made, with no other layer between the two."""
    waiting, met = [view.x.name for view in views], set[str]()
    while waiting:
        node = model.producer(name := waiting.pop())
        if name in met or node is None or linear(node) is not None:
            continue
        if _from_zero(node):
            return True
        met.add(name)
        waiting += [t.name for t in node.inputs if t is not None and not t.fixed]
    return False


def _from_zero(node: Node) -> bool:
    if node.kind != "Clip":
        return node.kind == "Relu"
    least = None if node.opset >= 11 and (t := node.input(1)) is not None and not t.constant else node.setting("min", 1)
    return least is not None and float(least) == 0
