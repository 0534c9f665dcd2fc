"""The network as a picture (SVG), from inputs at the top to outputs at the bottom, its groups in colours.

Operators stand in rows, each below all that it reads; in a row they are put where their neighbours are (the barycentre
heuristic of Sugiyama, Tagawa and Toda 1981). The same explanation gives the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from onnxprune.explained.explanation import Explanation
from onnxprune.explained.picture import Arrow, Box, Look, look
from onnxprune.sweeps.chart import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "drawn"]

WIDE, HIGH = 2.4, 0.85  # inches from one operator to the next
NARROW, REACH = 0.3, 0.33  # of a place: the room of an arrow that passes, and from the middle of a box to its edge
SWEEPS = 8
LEAST, TITLE = 4.0, 0.5  # inches that a picture is wide, and that its title takes
HELD, EDGE = "#cf222e", "#57606a"

Spot = tuple[float, float]


def draw(explanation: Explanation) -> str:
    """The text of an SVG file."""
    return drawn(look(explanation))


def drawn(*panels: Look) -> str:
    """The text of an SVG file of several pictures, side by side."""
    layouts = [_Layout(panel, *_places(panel)) for panel in panels]
    widths = [max(layout.width, LEAST) for layout in layouts]
    width, height = sum(widths), max(layout.height for layout in layouts)
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks becomes a box
        figure = Figure(figsize=(width, height))
        for index, layout in enumerate(layouts):
            left, own = sum(widths[:index]), layout.height - TITLE
            layout.draw(
                figure.add_axes((left / width, 1 - layout.height / height, widths[index] / width, own / height))
            )
            at = (left + 0.1) / width, 1 - 0.12 / height
            figure.text(*at, layout.seen.title, fontsize=11, weight="bold", va="top")
        stream = io.StringIO()
        figure.savefig(
            stream, format="svg", metadata={"Date": None, "Title": ", ".join(panel.title for panel in panels)}
        )
    return stream.getvalue()


@dataclass(frozen=True)
class _Layout:
    """Where everything of one picture stands."""

    seen: Look
    spots: Mapping[str, Spot]
    ways: Sequence[Sequence[Spot]]

    def _ends(self, side: int) -> tuple[float, float]:
        held = [spot[side] for way in [self.spots.values(), *self.ways] for spot in way] or [0.0]
        return min(held), max(held)

    @property
    def width(self) -> float:
        """In inches, as is the height."""
        return (self._ends(0)[1] - self._ends(0)[0] + 1) * WIDE

    @property
    def height(self) -> float:
        return (self._ends(1)[1] - self._ends(1)[0] + 1) * HIGH + TITLE

    def draw(self, axes: Axes) -> None:
        (left, right), (top, bottom) = self._ends(0), self._ends(1)
        axes.set(xlim=(left - 0.5, right + 0.5), ylim=(bottom + 0.5, top - 0.5))
        axes.set_axis_off()
        for arrow, way in zip(self.seen.arrows, self.ways, strict=True):
            _draw_arrow(axes, arrow, way)
        for box in self.seen.boxes:
            _draw_box(axes, box, self.spots[box.name])


def _places(seen: Look) -> tuple[dict[str, Spot], list[list[Spot]]]:
    """Where every operator stands, column and row, and the corners of every arrow: one in each row that it passes."""
    graph = nx.DiGraph()
    graph.add_nodes_from(box.name for box in seen.boxes)
    graph.add_edges_from((arrow.source, arrow.target) for arrow in seen.arrows)
    row = {name: index for index, names in enumerate(nx.topological_generations(graph)) for name in names}
    ways: list[list[Hashable]] = []
    for index, (source, target) in enumerate((arrow.source, arrow.target) for arrow in seen.arrows):
        corners = {(index, at): at for at in range(row[source] + 1, row[target])}
        ways.append([source, *corners, target])
        row |= corners
    column = _columns(nx.DiGraph(pair for way in ways for pair in pairwise(way)), row)
    spots = {name: (column[name], float(at)) for name, at in row.items()}
    return {box.name: spots[box.name] for box in seen.boxes}, [[spots[name] for name in way] for way in ways]


def _columns(graph: nx.DiGraph, row: Mapping[Hashable, int]) -> dict[Hashable, float]:
    rows: list[list[Hashable]] = [[] for _ in range(max(row.values(), default=-1) + 1)]
    for name, at in row.items():
        rows[at].append(name)
    graph.add_nodes_from(row)
    column = {name: index - (len(names) - 1) / 2 for names in rows for index, name in enumerate(names)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for names in rows if down else reversed(rows):
            near = graph.pred if down else graph.succ
            column |= _apart(
                {name: float(np.mean([column[n] for n in near[name]] or [column[name]])) for name in names}
            )
    return column


def _apart(wish: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Places far enough apart, in the order of the wishes, shifted so that they meet them on the whole."""
    names = sorted(wish, key=lambda name: wish[name])
    room = [1.0 if isinstance(name, str) else NARROW for name in names]
    places = np.array([wish[name] for name in names])
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + (room[index] + room[index - 1]) / 2)
    places -= np.mean(places - [wish[name] for name in names])
    return dict(zip(names, places.tolist(), strict=True))


def _draw_arrow(axes: Axes, arrow: Arrow, way: Sequence[Spot]) -> None:
    (x0, y0), *corners, (x1, y1) = way
    points = [(x0, y0 + REACH), *((x, y + side * REACH) for x, y in corners for side in (-1, 1)), (x1, y1 - REACH)]
    colour, wide = (HELD, 2.4) if arrow.marked else (arrow.colour, 1.6)
    path = Path(points)
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=9, color=colour, lw=wide, fc="none"))


def _draw_box(axes: Axes, box: Box, spot: Spot) -> None:
    frame: dict[str, Any] = {
        "boxstyle": "round,pad=0.35",
        "fc": box.colour,
        "ec": HELD if box.held else EDGE,
        "lw": 2.0 if box.held else 1.0 if box.layer else 0.5,
    }
    weight = "bold" if box.layer else "normal"
    axes.text(*spot, box.label, fontsize=7.5, ha="center", va="center", weight=weight, bbox=frame, zorder=3)
