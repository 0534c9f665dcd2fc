"""``explain``: which channels of a network go together, and what is in the way of those that stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx

from onnxprune.axes.groups import Group
from onnxprune.axes.linear import Linear
from onnxprune.axes.reasons import Reason
from onnxprune.axes.silencing import WEIGHTY
from onnxprune.errors import UsageError, unknown
from onnxprune.explained.explanation import Blocker, Channels, Explanation, Flow, Focus, Operator, Side, Step
from onnxprune.explained.ground import Ground
from onnxprune.model import Model
from onnxprune.node import Axis, Node
from onnxprune.sharing import part

__all__ = ["explain"]

Source: TypeAlias = str | Path | onnx.ModelProto | Model


def explain(model: Source, node: str | None = None) -> Explanation:
    """Explain a network's channels, and of one operator in particular why it can or cannot be cut.

    ``node`` is the name of an operator, or of a tensor: then it is the operator that computes it, or that reads it
    where none does. Raises UsageError when there is none, ModelError when the model is not sound.
    """
    own = Model.load(model)
    part(own)  # as pruning does
    ground = Ground.of(own)
    return Explanation(
        model=str(model) if isinstance(model, str | Path) else None,
        groups=tuple(_channels(ground, group, number) for group, number in ground.numbers.items()),
        focus=None if node is None else _focus(ground, _named(ground.model, node)),
        operators=tuple(_operators(ground)),
        flows=tuple(_flows(ground)),
    )


def _named(model: Model, name: str) -> Node:
    nodes = {node.name: node for node in model.nodes}
    if name in nodes:
        return nodes[name]
    around = (model.producer(name), *model.consumers(name))
    if (found := next(filter(None, around), None)) is None:
        raise UsageError(f"--explain: {unknown('node', name, nodes)}")
    return found


# -- groups ------------------------------------------------------------------------------------------------------------


def _channels(ground: Ground, group: Group, number: int) -> Channels:
    makes = ground.made_in.get(group, [])
    reads = [view for view in ground.read_in.get(group, []) if view.made not in group.atoms]
    widest = max((v.made if makes else v.read for v in makes or reads), key=lambda axis: len(group.atoms[axis]))
    named = {view.node.name for view in (*makes, *reads)}
    carries = [n.name for n in ground.users(group) if n.name not in named]
    atoms = group.atoms[widest]
    return Channels(
        group=number,
        channels=len(atoms),
        free=int(np.isin(atoms, group.free).sum()),
        atoms=group.size,
        makes=_names(makes),
        reads=_names(reads),
        carries=tuple(carries),
        shared=_shared(makes),
        axes={str(axis): len(slots) for axis, slots in group.atoms.items()},
        blockers=tuple(_blocker(reason, slots) for reason, slots in _held(group, widest).items()),
    )


def _names(views: Iterable[Linear]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(view.node.name for view in views))


def _shared(views: Iterable[Linear]) -> dict[str, tuple[str, ...]]:
    """The weights that several layers make channels with, and those layers."""
    readers: dict[str, list[Linear]] = {}
    for view in views:
        readers.setdefault(view.weight.name, []).append(view)
    return {name: _names(held) for name, held in readers.items() if len(_names(held)) > 1}


def _held(group: Group, axis: Axis) -> dict[Reason, int]:
    """The reasons that hold an axis, as the report tells them, each with the number of slots that it holds."""
    held: dict[Reason, int] = {}
    for atom in group.atoms[axis].tolist():
        if (reason := group.reason(atom)) is not None:
            held[reason] = held.get(reason, 0) + 1
    return held


def _blocker(reason: Reason, slots: int) -> Blocker:
    tensor = None if reason.axis is None else reason.axis.tensor
    return Blocker(kind=reason.kind, why=reason.why, node=reason.node, tensor=tensor, slots=slots)


# -- one operator ------------------------------------------------------------------------------------------------------


def _focus(ground: Ground, node: Node) -> Focus:
    sides = tuple(_side(ground, role, axis) for role, axis in _roles(ground, node))
    if not sides:
        return Focus(node=node.name, op=node.kind, sides=(), note="it has no axis of more than one slot")
    odd = WEIGHTY.search(node.op) and not any(view.node.name == node.name for view in ground.layers)
    fixed = any(t is not None and t.fixed for t in node.inputs)
    note = "its weights are not those of a layer as they are known, and are not pruned" if odd and fixed else None
    return Focus(node=node.name, op=node.kind, sides=sides, note=note)


def _roles(ground: Ground, node: Node) -> Iterator[tuple[str, Axis]]:
    """The axes that matter: of a layer those it makes and reads, of others those along which channels lie, or all."""
    view = next((view for view in ground.layers if view.node.name == node.name), None)
    if view is not None:
        yield "makes", view.made
        if view.weight.size(view.columns) != 1:
            yield "reads", view.read
        return
    tensors = [t for t in node.outputs if t is not None]
    found = [axis for t in tensors if (axis := ground.carried(t.name, t.rank)) is not None]
    every = (axis for t in tensors for axis in t.axes() if t.size(axis.dim) != 1)
    yield from (("carries", axis) for axis in found or every)


def _side(ground: Ground, role: str, axis: Axis) -> Side:
    group = ground.of_axis(axis)
    if group is None:
        return Side(role=role, axis=str(axis), group=None, slots=None, free=0, blockers=(), path=())
    found, free = ground.blockers(axis, group), int(np.isin(group.atoms[axis], group.free).sum())
    path = ground.path(axis, group, found[0][0]) if found else []
    return Side(
        role=role,
        axis=str(axis),
        group=ground.numbers.get(group),
        slots=len(group.atoms[axis]),
        free=free,
        blockers=tuple(_blocker(reason, slots) for reason, slots in found),
        path=tuple(_step(ground, *step) for step in path),
    )


def _step(ground: Ground, before: Axis, after: Axis, node: str | None) -> Step:
    op = None if node is None else ground.model.node(node).kind
    return Step(node=node, op=op, before=str(before), after=str(after))


# -- the graph ---------------------------------------------------------------------------------------------------------


def _operators(ground: Ground) -> Iterator[Operator]:
    """Graph inputs, nodes and graph outputs, each under a name of its own."""
    for tensor in ground.model.inputs:
        yield _operator(ground, tensor.name, "input", False, tensor.name, tensor.rank)
    layers = {view.node.name for view in ground.layers}
    for node in ground.model.nodes:
        made = next((t for t in node.outputs if t is not None), None)
        where = ("", None) if made is None else (made.name, made.rank)
        yield _operator(ground, node.name, node.kind, node.name in layers, *where)
    for tensor in ground.model.outputs:
        yield _operator(ground, f"{tensor.name} (output)", "output", False, tensor.name, tensor.rank)


def _operator(ground: Ground, name: str, op: str, layer: bool, tensor: str, rank: int | None) -> Operator:
    axis = ground.carried(tensor, rank)
    if axis is None:
        return Operator(node=name, op=op, layer=layer, group=None, channels=None, free=None)
    group = ground.home[axis]
    atoms = group.atoms[axis]
    free = int(np.isin(atoms, group.free).sum())
    return Operator(node=name, op=op, layer=layer, group=ground.numbers[group], channels=len(atoms), free=free)


def _flows(ground: Ground) -> Iterator[Flow]:
    model = ground.model
    source = {t.name: t.name for t in model.inputs}
    source |= {t.name: node.name for node in model.nodes for t in node.outputs if t is not None}
    for node in model.nodes:
        for tensor in {t.name: t for t in (*node.inputs, *node.captures) if t is not None}.values():
            if tensor.name in source:
                yield _flow(ground, source[tensor.name], node.name, tensor.name, tensor.rank)
    for tensor in model.outputs:
        if tensor.name in source:
            yield _flow(ground, source[tensor.name], f"{tensor.name} (output)", tensor.name, tensor.rank)


def _flow(ground: Ground, source: str, target: str, tensor: str, rank: int | None) -> Flow:
    axis = ground.carried(tensor, rank)
    group = None if axis is None else ground.numbers[ground.home[axis]]
    return Flow(source=source, target=target, tensor=tensor, group=group)
