"""What the alignment of channel counts costs and brings: signal to noise and speed with a given share of the MACs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxprune as op
from benchmarks.data import beside

__all__ = ["ON_REQUEST", "main"]

ON_REQUEST = "it compresses every network five times"


def main(args: Namespace) -> Iterator[dict[str, Any]]:
    """One row for each network with data, and for each alignment."""
    for model in args.models:
        if (calib := beside(model, "calib")) is not None:
            yield from (row(model, calib, args.macs, align) for align in ("1", "4", "8", "16", "auto"))


def row(model: Path, calib: Path, macs: str, align: str) -> dict[str, Any]:
    """Measured on a part of the calibration data that nothing was fitted to."""
    report = op.compress(model, f"fold,prune:macs={macs}:align={align}", calib=calib).report
    fidelity, latency = report.fidelity, report.latency
    return {
        "network": model.stem,
        "align": align,
        "MACs left": report.output.stats.macs / report.input.stats.macs,
        "SQNR dB": fidelity and fidelity.sqnr_db,
        "times as fast": latency and latency.before_ms / latency.after_ms,
    }
