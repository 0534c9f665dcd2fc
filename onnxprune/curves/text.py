"""The curves for a person: a row for each family, the most sensitive first."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxprune.curves.curves import Curve, Curves, Spot, at
from onnxprune.table import columns

__all__ = ["text"]

FEW = 6  # layers that are named
SHOWN = (1, 3, 5, 7, 9)  # tenths of a family


def text(found: Curves, width: int, colour: bool) -> str:
    """The curves as lines of at most ``width`` letters, in colours where they are asked for."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    for block in _blocks(found):
        console.print(block)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _blocks(found: Curves) -> Iterator[RenderableType]:
    how = "measured" if found.exact else "estimated"
    head = f"{found.model or 'the model'}: what is lost as channels go (importance={found.importance})"
    yield Text(head, "bold")
    if found.data.calib is not None and found.data.calib.random:
        yield Text("RANDOM INPUTS, NOT DATA: the losses say nothing of the model.", "bold red")
    yield Text("")
    if found.curves:
        yield Padding(_table(found), (0, 1), expand=False)
        yield Text("")
        yield Text(
            f"Losses are {how} on {found.samples:,} samples, the next layers refitted where that helps: nats of"
            " divergence from the original's class scores, or relative squared errors of other outputs.",
            "dim",
        )
    if found.metric is not None:
        yield Text(f"Below them: the change of {found.metric.rpartition(':')[2]}, in points.", "dim")
    if found.fixed:
        yield Text(f"Families of which nothing can go: {len(found.fixed)} (--explain tells why).", "dim")


def _table(found: Curves) -> Table:
    table = columns("channels", *(f"{10 * tenths}%" for tenths in SHOWN))
    table.add_column("made by", overflow="fold")
    for column in list(table.columns)[:-1]:
        column.no_wrap = True
    table.columns[0].justify = "right"
    for curve in found.ranked:
        cells = [_cell(_spot(curve, tenths)) for tenths in SHOWN]
        table.add_row(str(curve.channels), *cells, _layers(curve))
    return table


def _cell(spot: Spot | None) -> Text:
    """The loss, and below it the change of the metric where that was measured."""
    if spot is None:
        return Text("")
    below = Text("" if spot.drop is None else f"\n{0.0 - spot.drop:+.2f}", "dim")
    return Text(f"{spot.loss:.3g}") + below


def _layers(curve: Curve) -> Text:
    more = [f"and {len(curve.layers) - FEW} more"] if len(curve.layers) > FEW else []
    return Text("\n".join([*curve.layers[:FEW], *more]))


def _spot(curve: Curve, tenths: int) -> Spot | None:
    """Where so many tenths of the family are gone; None where they are less than an atom, or cannot all go."""
    return next((spot for spot in curve.spots if spot.atoms == at(tenths, curve.atoms)), None)
