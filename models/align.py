"""What the alignment of channel counts costs and brings: accuracy and latency at half the MACs, as a Markdown table.

python models/align.py [MODEL.onnx …]      # each with NAME.calib.npz beside it, or models/digits.calib.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnxprune as op

HERE = Path(__file__).parent
DIGITS = [HERE / f"digits_{name}.onnx" for name in ("cnn", "resnet", "mobile")]


def row(model: Path, align: int) -> str:
    """One line of the table, measured on a part of the calibration data that nothing was fitted to."""
    own = model.with_suffix(".calib.npz")
    calib = own if own.exists() else HERE / "digits.calib.npz"
    report = op.compress(model, f"fold,prune:macs=50%:align={align}", calib=calib).report
    fidelity, latency = report.fidelity, report.latency
    if fidelity is None or latency is None:
        raise SystemExit(f"{model} does not run on {calib}")
    left = report.output.stats.macs / report.input.stats.macs
    speed = latency.before_ms / latency.after_ms
    return f"| {model.stem} | {align} | {left:.1%} | {fidelity.sqnr_db or 0:.1f} dB | {speed:.2f} × |"


def main() -> None:
    """Print the table."""
    print("| network | align | MACs left | signal to noise | speed in onnxruntime |\n|---|---|---|---|---|")
    for model in [Path(name) for name in sys.argv[1:]] or DIGITS:
        for align in (1, 4, 8, 16):
            print(row(model, align), flush=True)


if __name__ == "__main__":
    main()
