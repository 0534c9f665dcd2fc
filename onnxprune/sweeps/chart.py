"""The sweep as a picture (SVG): accuracy against every cost, the unbeaten points joined by a line.

The same sweep gives the same bytes: identifiers come from a fixed salt, letters are drawn as shapes, no date is kept.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from onnxprune.sweeps.sweep import COSTS, Sweep, costs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["STYLE", "draw"]

STYLE: Any = {
    "svg.hashsalt": "onnxprune",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # which comes with matplotlib
    "font.size": 9.5,
    "text.parse_math": False,  # a file may be called $a$
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": "#24292f",
    "text.color": "#24292f",
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
}
FRONT, OTHER, DIM, ORIGINAL, GOAL = "#0969da", "#8c959f", "#57606a", "#24292f", "#cf222e"
TITLES = {"macs": ("multiply-accumulates", ""), "bytes": ("weights", "B"), "latency": ("latency in onnxruntime", "s")}
SCALE = {"latency": 1e-3}  # milliseconds
METRICS = {"top1": "top-1 accuracy", "agreement": "same class as the original", "explained": "outputs explained"}
LETTER, HIGH = 6.5, 11  # of a label, in points
PLACES = ((-1, 1), (0, 1), (-1, 0), (1, -1), (0, -1), (1, 0), (1, 1), (-1, -1))  # the front climbs from left to right

Spot = tuple[float, float]


def draw(sweep: Sweep) -> str:
    """The text of an SVG file."""
    shown = [cost for cost in COSTS if all(cost in costs(point.report) for point in sweep.points)]
    title = PurePath(sweep.input.path or "the model").name
    title += f": {sweep.option}={sweep.points[0].value} … {sweep.points[-1].value}"
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks becomes a box
        figure = Figure(figsize=(1.0 + 3.9 * len(shown), 4.6), layout=ConstrainedLayoutEngine(wspace=0.05))
        axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for ax, cost in zip(axes, shown, strict=True):
            _panel(ax, sweep, cost)
        _quality(axes[0], sweep)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.legend(handles=list(_legend(sweep)), loc="outside lower left", ncols=4, frameon=False)
        figure.draw_without_rendering()  # puts everything in its place
        for ax, cost in zip(axes, shown, strict=True):
            _label(ax, sweep, cost)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Title": title})
    return stream.getvalue()


def _spots(sweep: Sweep, cost: str) -> tuple[Spot, list[Spot]]:
    """Where the original and the points stand."""
    measured = [(costs(point.report)[cost], point.accuracy) for point in sweep.points]
    x, y = SCALE.get(cost, 1.0), _percent(sweep)
    original = x * measured[0][0][0], y * measured[0][1].before
    return original, [(x * after, y * accuracy.after) for (_, after), accuracy in measured]


def _percent(sweep: Sweep) -> float:
    """What a metric is multiplied by: those we know are shares."""
    return 100.0 if sweep.points[0].accuracy.metric in METRICS else 1.0


def _panel(ax: Axes, sweep: Sweep, cost: str) -> None:
    original, spots = _spots(sweep, cost)
    front = [spot for spot, point in zip(spots, sweep.points, strict=True) if point.on_front[cost]]
    rest = [spot for spot in spots if spot not in front]
    ends = [original] if not any(x <= original[0] and y >= original[1] for x, y in spots) else []
    ax.axhline(original[1], color=ORIGINAL, lw=0.8, ls=(0, (1, 3)), zorder=1)
    if sweep.max_drop is not None:
        ax.axhline(original[1] - sweep.max_drop / 100 * _percent(sweep), color=GOAL, lw=0.8, ls=(0, (4, 3)), zorder=1)
    ax.plot(*_columns(sorted([*front, *ends])), color=FRONT, lw=1.6, zorder=2)
    ax.plot(*_columns(rest), "o", ms=6.5, mfc="white", mec=OTHER, mew=1.4, zorder=3)
    ax.plot(*_columns(front), "o", ms=7.5, color=FRONT, mec="white", mew=1.0, zorder=4)
    ax.plot(*original, "D", ms=7, color=ORIGINAL, mec="white", mew=1.0, zorder=4)
    name, unit = TITLES[cost]
    ax.set_xlabel(name)
    ax.xaxis.set_major_formatter(EngFormatter(unit, sep=" " if unit else ""))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.margins(x=0.12, y=0.12)
    if min(x for x, _ in spots) < original[0] / 2:
        ax.set_xlim(left=0)
    ax.grid(axis="y", color="#eaeef2", lw=0.8)
    ax.set_axisbelow(True)


def _columns(spots: Sequence[Spot]) -> tuple[list[float], list[float]]:
    return [x for x, _ in spots], [y for _, y in spots]


def _quality(ax: Axes, sweep: Sweep) -> None:
    """The axis of accuracy, which all panels share."""
    measured = sweep.points[0].accuracy
    name = measured.metric.rpartition(":")[2]
    ax.set_ylabel(f"{METRICS.get(name, name)} (n = {measured.n:,})")
    if measured.metric in METRICS:
        ax.yaxis.set_major_formatter("{x:.4g}%")


def _legend(sweep: Sweep) -> Iterator[Line2D]:
    yield Line2D([], [], color=FRONT, lw=1.6, marker="o", ms=7.5, mec="white", label="unbeaten at this cost")
    yield Line2D([], [], color=OTHER, lw=0, marker="o", ms=6.5, mfc="white", mew=1.4, label="beaten by another")
    yield Line2D([], [], color=ORIGINAL, lw=0, marker="D", ms=7, mec="white", label="the original")
    if sweep.max_drop is not None:
        yield Line2D([], [], color=GOAL, lw=0.8, ls=(0, (4, 3)), label=f"max_drop={sweep.max_drop:g}")


def _label(ax: Axes, sweep: Sweep, cost: str) -> None:
    """Write the values beside the points, each where there is room."""
    original, spots = _spots(sweep, cost)
    centres = [tuple(ax.transData.transform(spot) * 72 / ax.figure.dpi) for spot in (*spots, original)]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in centres]
    for point, spot, centre in zip(sweep.points, spots, centres, strict=False):
        unbeaten, wide = point.on_front[cost], LETTER * len(point.value)
        offsets = [(dx * (wide / 2 + 5), dy * (HIGH if dx == 0 else 7)) for dx, dy in PLACES]
        boxes = [_box(centre, offset, wide) for offset in (offsets if unbeaten else [*offsets[3:], *offsets[:3]])]
        box = min(boxes, key=lambda box: box.count_overlaps(taken))
        taken.append(box)
        halo, weight = {"fc": "white", "ec": "none", "pad": 0.5}, "bold" if point is sweep.best else "normal"
        style: Any = {"ha": "center", "va": "center", "color": FRONT if unbeaten else DIM, "weight": weight}
        at = ((box.x0 + box.x1) / 2 - centre[0], (box.y0 + box.y1) / 2 - centre[1])
        ax.annotate(point.value, spot, at, textcoords="offset points", bbox=halo, zorder=2.5, **style)


def _box(centre: Spot, offset: Spot, wide: float) -> Bbox:
    return Bbox.from_bounds(centre[0] + offset[0] - wide / 2, centre[1] + offset[1] - HIGH / 2, wide, HIGH)
