"""How far pruning goes on a folder of networks, as a Markdown table.

    python models/zoo.py FOLDER [NAME …] [--macs 60%]

For every NAME.onnx, folded and pruned: how far it is from the original in which the removed channels are silenced
(max|Δ| / max|y|, on data or made-up inputs), and, with NAME.calib.npz and NAME.test.npz beside it (or those of its
family: digits.calib.npz for digits_cnn), the accuracy before, pruned but not healed, and healed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import onnxprune as op
from onnxprune.axes.cutting import removed, silenced
from onnxprune.feeds import made_up
from onnxprune.node import Array
from onnxprune.runtime import Session


def beside(model: Path, kind: str) -> Path | None:
    """The data of one kind for a network or for its family, where there is any."""
    names = (model.stem, model.stem.partition("_")[0])
    return next((p for p in (model.with_name(f"{name}.{kind}.npz") for name in names) if p.exists()), None)


def difference(result: op.Result, calib: Path | None) -> float:
    """max|Δ| / max|y| between the pruned network and the original with the removed channels silenced."""
    original = result.context.original
    mirror = silenced(original, removed(result.model))
    feeds: dict[str, Array] = made_up(original, result.context.shapes, seed=0)
    if calib is not None:
        with np.load(calib) as data:
            feeds = {name: data[name][: len(feed)] for name, feed in feeds.items()}
    pairs = zip(*(Session(m.proto(), optimise=False)(feeds) for m in (result.model, mirror)), strict=True)
    return max(float(np.abs(z - y).max(initial=0)) / (float(np.abs(y).max(initial=0)) or 1.0) for z, y in pairs)


def row(model: Path, macs: str) -> str:
    """One line of the table."""
    start, (calib, test) = time.perf_counter(), (beside(model, "calib"), beside(model, "test"))
    raw = op.compress(model, f"fold,prune:macs={macs}:heal=none", calib=calib, test=test)
    before, after = raw.report.input.stats, raw.report.output.stats
    try:
        exact = f"{difference(raw, calib):.0e}"
    except op.ModelError as error:
        exact = f"does not run on made-up inputs: {str(error)[:60]}"
    accuracy, healed = raw.report.accuracy, None
    if calib is not None:
        healed = op.compress(model, f"fold,prune:macs={macs}", calib=calib, test=test)
    cells = [model.stem, f"{len(raw.report.passes)} passes", f"{after.macs / before.macs:.1%}", exact]
    if accuracy is None:
        cells += ["no data", "", "", ""]
    else:
        best = healed.report.accuracy if healed is not None else None
        cells += [f"{accuracy.metric}, n = {accuracy.n}", f"{accuracy.before:.4f}", f"{accuracy.after:.4f}"]
        cells += [f"{best.after:.4f}" if best is not None else ""]
    notes = [*raw.report.missed, raw.report.passes[1].note if not raw.report.passes[1].changed else ""]
    cells += [f"{time.perf_counter() - start:.0f} s", "; ".join(filter(None, notes))]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--macs", default="60%")
    args = parser.parse_args()
    found = sorted(args.folder.glob("*.onnx"))
    print("| network | ran | MACs left | oracle | metric | before | raw | healed | time | remarks |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for model in [m for m in found if not args.names or m.stem in args.names]:
        print(row(model, args.macs), flush=True)


if __name__ == "__main__":
    main()
