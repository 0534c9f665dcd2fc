"""The curves as a picture (SVG): what is lost against the share of a family that is gone, a line for each.

The same curves give the same bytes, as those of a sweep do.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from onnxprune.curves.curves import Curve, Curves
from onnxprune.sweeps.chart import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

FEW = 5  # named at each end where there are more than twice as many
NAME = 36  # letters of a name
OTHER = "#d0d7de"
WIDE = 20.0  # between the least and the greatest loss, from which on they are shown on a logarithmic scale
DEEP = 1e-6  # of the greatest loss, below which nothing is shown then


def draw(found: Curves) -> str:
    """The text of an SVG file."""
    title = f"{PurePath(found.model or 'the model').name}: what is lost as channels go"
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks becomes a box
        figure = Figure(figsize=(9.6, 4.8), layout=ConstrainedLayoutEngine())
        axes = figure.subplots()
        ranked = found.ranked
        named = ranked if len(ranked) <= 2 * FEW else [*ranked[:FEW], *ranked[-FEW:]]
        colours = dict(zip((c.family for c in named), _colours(len(named)), strict=True))
        for curve in reversed(ranked):
            _line(axes, curve, found.exact, colours.get(curve.family))
        _scales(axes, found)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        _legend(figure, axes, len(ranked) - len(named))
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Title": title})
    return stream.getvalue()


def _colours(count: int) -> list[Any]:
    """From orange, the most sensitive, to blue."""
    return [colormaps["plasma"](0.8 * (1 - place / max(count - 1, 1))) for place in range(count)]


def _line(axes: Axes, curve: Curve, exact: bool, colour: Any) -> None:
    shares = [spot.share for spot in curve.spots]
    style: dict[str, Any] = {"color": colour or OTHER, "zorder": 2 if colour else 1}
    label = _name(curve) if colour else "_other"
    axes.plot(shares, [spot.loss for spot in curve.spots], "o-", lw=1.6 if colour else 1, ms=4, label=label, **style)
    if exact and colour:
        axes.plot(shares, [spot.estimated for spot in curve.spots], ":", lw=1, label="_estimated", **style)


def _name(curve: Curve) -> str:
    first = curve.layers[0]
    more = f" and {len(curve.layers) - 1} more" if len(curve.layers) > 1 else ""
    return f"{first if len(first) <= NAME else f'…{first[1 - NAME :]}'}{more} ({curve.channels})"


def _scales(axes: Axes, found: Curves) -> None:
    losses = [spot.loss for curve in found.curves for spot in curve.spots]
    axes.set_xlabel("share of the family that is gone")
    axes.set_ylabel(f"{'measured' if found.exact else 'estimated'} loss of the outputs (n = {found.samples:,})")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="y", color="#eaeef2", lw=0.8)
    axes.set_axisbelow(True)
    if _spread(losses) > WIDE:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(max(min(losses), DEEP * max(losses)) / 2, 2 * max(losses))
    else:
        axes.set_ylim(bottom=0)


def _spread(losses: Sequence[float]) -> float:
    positive = [loss for loss in losses if loss > 0]
    return max(positive) / min(positive) if positive else 1.0


def _legend(figure: Figure, axes: Axes, others: int) -> None:
    """The names, most sensitive first, and how many lines have none."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    title = "most sensitive first (channels)" + (f"; {others} others in grey" if others else "")
    figure.legend(
        handles[::-1], labels[::-1], loc="outside right upper", frameon=False, fontsize=8, title=title, title_fontsize=8
    )
