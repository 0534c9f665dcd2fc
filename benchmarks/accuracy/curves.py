"""Accuracy over the share of MACs left, a panel for each network, as SVG; the same rows give the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["draw"]

Row: TypeAlias = Mapping[str, Any]

COLUMNS = 3
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "onnxprune": {"color": "#0969da", "marker": "o", "zorder": 4},
    "align=1": {"color": "#1a7f37", "marker": "s", "zorder": 3},
    "L2, not healed": {"color": "#8c959f", "marker": "o", "ls": ":"},
    "onnxsim Wanda": {"color": "#cf222e", "marker": "^"},
    "onnxsim L2": {"color": "#cf222e", "marker": "v", "ls": ":"},
    "Torch-Pruning L2": {"color": "#9a6700", "marker": "D"},
    "Torch-Pruning FPGM": {"color": "#bf8700", "marker": "x", "ls": "--"},
    "Torch-Pruning group": {"color": "#d4a72c", "marker": "+", "ls": ":"},
}


def draw(rows: Sequence[Row]) -> str:
    """The text of an SVG file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from onnxprune.sweeps.chart import STYLE

    told = [row for row in rows if "top-1" in row]
    networks = list(dict.fromkeys(row["network"] for row in told))
    high = math.ceil(len(networks) / COLUMNS)
    with rc_context(STYLE):
        size, layout = (10.5, 0.8 + 2.9 * high), ConstrainedLayoutEngine(wspace=0.05, hspace=0.06)
        figure = Figure(figsize=size, layout=layout)
        panels = list(figure.subplots(high, COLUMNS, squeeze=False).flat)
        for axes, network in zip(panels, networks, strict=False):
            _panel(axes, network, [row for row in told if row["network"] == network])
        for axes in panels[len(networks) :]:
            axes.set_axis_off()
        figure.supylabel("top-1 accuracy", fontsize="medium")
        handles = {label: handle for axes in figure.axes for handle, label in zip(*_named(axes), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _named(axes: Any) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return handles, labels


def _panel(axes: Any, network: str, rows: Sequence[Row]) -> None:
    axes.axhline(rows[0]["original"], color="#24292f", lw=0.8, ls=(0, (1, 3)))
    for name in dict.fromkeys(row["contestant"] for row in rows):
        found = [row for row in rows if row["contestant"] == name]
        points = sorted((row["MACs left"], row["top-1"], (row["±"] or 0) / 100) for row in found)
        xs, ys, spreads = zip(*points, strict=True)
        axes.errorbar(xs, ys, spreads, label=name, ms=4.5, lw=1.3, capsize=2, **LOOKS.get(name, {}))
    axes.set(title=network, xlabel="multiply-accumulates left", ylim=(0, 1.03), xlim=(1.0, 0.25))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="y", color="#eaeef2", lw=0.8)
