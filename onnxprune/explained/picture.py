"""What a picture of an explanation shows, whoever draws it: boxes and arrows, with their words and colours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from onnxprune.explained.explanation import Channels, Explanation, Operator

__all__ = ["Arrow", "Box", "Look", "look"]

COLOURS = (  # light enough for black letters, neighbours told apart
    "#a5d8ff", "#b2f2bb", "#ffec99", "#ffc9c9", "#d0bfff", "#99e9f2", "#ffd8a8", "#eebefa", "#d8f5a2", "#bac8ff",
    "#96f2d7", "#fcc2d7",
)  # fmt: skip
NONE, LONG = "#f6f8fa", 30


@dataclass(frozen=True)
class Box:
    """An operator; ``held`` says that it makes channels of which none can go."""

    name: str
    label: str
    colour: str
    layer: bool
    held: bool


@dataclass(frozen=True)
class Arrow:
    """A tensor; ``marked`` where it is on the way to what holds the operator that was asked for."""

    source: str
    target: str
    label: str
    colour: str
    marked: bool


@dataclass(frozen=True)
class Look:
    """All that is drawn."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def look(explanation: Explanation) -> Look:
    """What to draw: all of the network, or of an operator that was asked for its own groups and the way out of them."""
    groups = {group.group: group for group in explanation.groups}
    shown = _shown(explanation)
    marked = _marked(explanation)
    boxes = tuple(_box(each, groups) for each in explanation.operators if each.node in shown)
    arrows = []
    for flow in explanation.flows:
        if flow.source in shown and flow.target in shown:
            colour = _darker(_colour(flow.group, "#c6cdd5"))
            label = "" if flow.group is None else str(groups[flow.group].channels)
            arrows.append(Arrow(flow.source, flow.target, label, colour, {flow.source, flow.target} <= marked))
    title = explanation.model or "the model"
    if explanation.focus is not None:
        title = f"{explanation.focus.op} {explanation.focus.node}"
    return Look(title, boxes, tuple(arrows))


def _shown(explanation: Explanation) -> Collection[str]:
    every = {each.node for each in explanation.operators}
    if explanation.focus is None:
        return every
    numbers = {side.group for side in explanation.focus.sides}
    groups = [group for group in explanation.groups if group.group in numbers]
    shown = {explanation.focus.node, *(name for g in groups for name in (*g.makes, *g.reads, *g.carries))}
    shown |= {step.node for side in explanation.focus.sides for step in side.path if step.node is not None}
    return shown | ({name for group in groups for name in _ends(group.axes)} & every)


def _ends(axes: Iterable[str]) -> Iterator[str]:
    """What graph inputs and outputs with one of the axes are called."""
    for tensor in (axis.rpartition("[")[0] for axis in axes):
        yield from (tensor, f"{tensor} (output)")


def _marked(explanation: Explanation) -> set[str]:
    """The operators on the way to what holds the one that was asked for, and where it ends."""
    focus = explanation.focus
    if focus is None or not focus.sides or not focus.sides[0].path:
        return set()
    path = focus.sides[0].path
    return {focus.node, *(step.node for step in path if step.node is not None), *_ends([path[-1].after])}


def _box(operator: Operator, groups: dict[int, Channels]) -> Box:
    group = None if operator.group is None else groups[operator.group]
    lines = [operator.op, _short(operator.node)]
    if operator.layer and group is not None:
        lines.append(f"{operator.channels} channels, {operator.free if group.atoms > 1 else 0} can go")
    held = operator.layer and group is not None and not (operator.free and group.atoms > 1)
    return Box(operator.node, "\n".join(lines), _colour(operator.group, NONE), operator.layer, held)


def _colour(group: int | None, otherwise: str) -> str:
    return otherwise if group is None else COLOURS[(group - 1) % len(COLOURS)]


def _darker(colour: str) -> str:
    return "#" + "".join(f"{int(colour[at : at + 2], 16) * 3 // 4:02x}" for at in (1, 3, 5))


def _short(name: str) -> str:
    return name if len(name) <= LONG else f"…{name[1 - LONG :]}"
