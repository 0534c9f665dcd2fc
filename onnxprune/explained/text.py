"""An explanation for a person: the groups in one table, or one operator and the way to what holds it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxprune.axes.reasons import KINDS
from onnxprune.explained.explanation import Blocker, Channels, Explanation, Focus, Side
from onnxprune.table import columns

__all__ = ["text"]

FEW = 6  # names or blockers that are listed
FREE = (
    "Nothing in the graph is in the way. Where prune leaves it whole all the same, an option does (align=, min=, keep=)"
    " or the goal, and the report says which."
)


def text(explanation: Explanation, width: int, colour: bool) -> str:
    """The explanation as lines of at most ``width`` letters, in colours where they are asked for."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    blocks = _overview(explanation) if explanation.focus is None else _focus(explanation, explanation.focus)
    for block in blocks:
        console.print(block)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _overview(explanation: Explanation) -> Iterator[RenderableType]:
    groups = explanation.groups
    free = sum(_can_go(group.free, group.atoms) > 0 for group in groups)
    yield Text(f"{explanation.model or 'the model'}: {len(groups)} groups of channels, {free} can be cut", "bold")
    yield Text("")
    table = columns("group", "channels", "can go")
    table.add_column("", overflow="fold")
    for group in groups:
        can_go = _can_go(group.free, group.atoms)
        style = "green" if can_go == group.channels else "red" if not can_go else "yellow"
        table.add_row(str(group.group), str(group.channels), Text(str(can_go), style), _members(group))
    yield Padding(table, (0, 1), expand=False)


def _can_go(free: int, atoms: int) -> int:
    """How many channels can go where one atom has to stay."""
    return free if atoms > 1 else 0


def _members(group: Channels) -> Table:
    lines = [("makes", Text(_list(group.makes))), ("reads", Text(_list(group.reads)))]
    lines += [("shares", Text(f"{name}, the weight of {_list(layers)}")) for name, layers in group.shared.items()]
    if group.atoms != group.channels:
        lines.append(("atoms", Text(_atoms(group.channels, group.atoms))))
    said = dict.fromkeys(_short(blocker, group.channels) for blocker in group.blockers)
    lines += [("stays", Text(words, "dim")) for words in list(said)[:FEW]]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for label, line in lines:
        if line:
            grid.add_row(label, line)
    return grid


def _atoms(channels: int, atoms: int) -> str:
    if atoms == 1:
        return f"all {channels} live or die together, and something has to stay"
    each = f" of {channels // atoms} channels" if channels % atoms == 0 and channels > atoms else ""
    return f"{atoms}{each}, which live or die together"


def _short(blocker: Blocker, channels: int) -> str:
    part = "" if blocker.slots == channels else f"{blocker.slots} of {channels}: "
    return f"{part}{blocker.why}"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _focus(explanation: Explanation, focus: Focus) -> Iterator[RenderableType]:
    yield Text(f"{focus.op} {focus.node}", "bold")
    if focus.note is not None:
        yield Padding(Text(focus.note), (0, 0, 0, 2))
    groups = {group.group: group for group in explanation.groups}
    for side in focus.sides:
        yield Text("")
        yield from _side(side, groups.get(side.group or 0), focus.node)


def _side(side: Side, group: Channels | None, node: str) -> Iterator[RenderableType]:
    where = side.axis if group is None else f"{side.axis}, group {group.group}"
    if side.slots is None:
        yield Text(f"{side.role} {where}: nothing is known of it")
        return
    atoms = side.slots if group is None else group.atoms
    verdict, style = _verdict(side, atoms)
    yield Text(f"{side.role} {side.slots} channels ({where}): ") + Text(verdict, style)
    if group is not None:
        yield Padding(_others(group, node), (0, 0, 0, 2))
    if side.blockers:
        yield Padding(_blockers(side), (0, 0, 0, 2))
    if side.path:
        yield Padding(_path(side), (0, 0, 0, 2))
    elif not side.blockers and atoms > 1 and side.role == "makes":
        yield Padding(Text(FREE, "dim"), (0, 0, 0, 2))


def _verdict(side: Side, atoms: int) -> tuple[str, str]:
    if side.free and atoms == 1:
        return "they live or die together, and something has to stay", "red"
    if side.free == side.slots:
        return "all can go" if atoms == side.slots else f"all can go, in {atoms} atoms", "green"
    return (f"{side.free} can go", "yellow") if side.free else ("none can go", "red")


def _others(group: Channels, node: str) -> Table:
    """Who else has to do with the channels."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    made, read = ([name for name in names if name != node] for names in (group.makes, group.reads))
    for label, names in (("made by", made), ("read by", read)):
        if names:
            grid.add_row(label, _list(names))
    for weight, layers in group.shared.items():
        if node in layers:
            grid.add_row("shares", f"{weight}, the weight of {_list([name for name in layers if name != node])} too")
    return grid


def _blockers(side: Side) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    said = {_short(blocker, side.slots or 0): blocker.kind for blocker in side.blockers}
    told = set[str]()
    for words, kind in list(said.items())[:FEW]:
        grid.add_row("and by" if told else "held by", Text(words, "red"))
        if kind not in told:
            grid.add_row("", Text(f"{kind}: {KINDS.get(kind, '')}", "dim"))
        told.add(kind)
    if len(said) > FEW:
        grid.add_row("", f"and {len(said) - FEW} more")
    return grid


def _path(side: Side) -> Table:
    """The way from the operator to what holds it, tie by tie."""
    grid = Table.grid(padding=(0, 2))
    for style in ("dim", "", "dim"):
        grid.add_column(style=style, overflow="fold")
    for index, step in enumerate(side.path):
        tied = "" if step.node is None else f"{step.op} {step.node}"
        grid.add_row("the way there" if not index else "", f"{step.before} → {step.after}", tied)
    return grid
