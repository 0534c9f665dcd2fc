"""The pictures of the README and of the site, each from a real run: nothing in them is drawn by hand.

python docs/pictures.py [NAME …]     # or: make pictures
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

import onnxprune as op
from onnxprune.explained.picture import Arrow, Box, Look

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks
FOLDER = ROOT / "docs" / "pictures"
WIDTH = 100
SHARES = (100, 80, 70, 60, 50, 40, 30, 20)  # percent of the MACs
NETWORKS = ("digits_cnn", "digits_resnet", "digits_mobile")
PLAIN = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # nothing comes from a network


def run(path: Path) -> None:
    """The first command of the README that compresses, and what it prints, as a terminal shows it."""
    command = _command((ROOT / "README.md").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "models").symlink_to(ROOT / "models")
        said = _said(shlex.split(command.replace("\\\n", " ")), Path(folder))
    console = Console(record=True, width=WIDTH, file=StringIO(), highlight=False)
    console.print(Text("$ ", "bold green") + Text(command, "bold"))
    console.print(Text.from_ansi(said))
    svg = console.export_svg(title="onnxprune", code_format=PLAIN, unique_id="run")
    path.write_text(svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono"), encoding="utf-8")


def _command(text: str) -> str:
    found = re.search(r"^onnxprune (?:.*\\\n)*.*$", text, re.MULTILINE)
    if found is None:
        raise SystemExit("there is no command in README.md")
    return found[0]


def _said(words: list[str], folder: Path) -> str:
    """What the command leaves on a terminal: progress is gone when it is done."""
    here = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "XDG_CACHE_HOME": str(folder / "cache")}
    program = [sys.executable, "-m", *words]
    said = subprocess.run(program, cwd=folder, env=here, check=True, stderr=subprocess.PIPE, text=True).stderr
    return re.sub(r"^\w+: \d+/\d+.*\n", "", said, flags=re.MULTILINE).rstrip("\n")


def healing(path: Path) -> None:
    """Accuracy over the share of MACs that is left, pruned alone and healed, for the networks of models/."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(9.6, 3.4), layout=ConstrainedLayoutEngine(wspace=0.06))
    for axes, network in zip(figure.subplots(1, len(NETWORKS), sharey=True), NETWORKS, strict=True):
        _panel(axes, network)
    figure.axes[0].set_ylabel("test accuracy")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _panel(axes: Any, network: str) -> None:
    for heal, label, style in (("auto", "pruned and healed", "o-"), ("none", "pruned alone", "s:")):
        points = [_point(network, share, heal) for share in SHARES]
        axes.plot(*zip(*points, strict=True), style, color="#2563eb" if heal == "auto" else "#9ca3af", label=label)
    axes.set(title=network, xlabel="multiply-accumulates left", ylim=(0, 1.03), xlim=(1.03, 0.15))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _point(network: str, share: int, heal: str) -> tuple[float, float]:
    models, passes = ROOT / "models", f"fold,prune:macs={share}%:heal={heal}"
    calib, test = (models / f"digits.{kind}.npz" for kind in ("calib", "test"))
    report = op.compress(models / f"{network}.onnx", passes, calib=calib, test=test).report
    if report.accuracy is None:
        raise SystemExit(f"{network} has no accuracy")
    return report.output.stats.macs / report.input.stats.macs, report.accuracy.after


def scaling(path: Path) -> None:
    """Seconds over the number of nodes, for graphs of every length, and beside them what is linear."""
    from matplotlib.figure import Figure

    from benchmarks.graphs import mixed
    from benchmarks.scaling import SIZES, row

    rows = [row(f"mixed {nodes}", mixed(nodes)) for nodes in SIZES]
    nodes = [each["nodes"] for each in rows]
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = figure.subplots()
    for key, label, style in (
        ("total s", "from file to pruned file", "o-"),
        ("prune s", "plan and cut", "s-"),
        ("groups s", "channel groups", "^-"),
    ):
        axes.loglog(nodes, [each[key] for each in rows], style, label=label)
    slope = rows[-1]["total s"] / nodes[-1]
    axes.loglog(nodes, [slope * count for count in nodes], ":", color="#9ca3af", label="proportional to the nodes")
    axes.set(xlabel="nodes of the graph", ylabel="seconds of one processor")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def explain(path: Path) -> None:
    """The group of one operator, as --explain draws it."""
    path.write_text(op.explain(ROOT / "models" / "digits_resnet.onnx", "/stem/Concat").to_svg(), encoding="utf-8")


def sensitivity(path: Path) -> None:
    """What a network loses with its channels, as --sensitivity=exact draws it."""
    models = ROOT / "models"
    found = op.sensitivity(models / "digits_resnet.onnx", calib=models / "digits.calib.npz", exact=True)
    path.write_text(found.to_svg(), encoding="utf-8")


def quantized_block(path: Path) -> None:
    """One block before quantize, after it, and as onnxruntime runs it."""
    from onnxprune.explained.svg import drawn

    models = ROOT / "models"
    before, after = (
        op.compress(models / "digits_resnet.onnx", passes, calib=models / "digits.calib.npz").model
        for passes in ("fold", "fold,quantize")
    )
    panels = (
        _block("before", before.lean(), *BLOCK),
        _block("after quantize", after.lean(), f"{BLOCK[0]}_quantized", BLOCK[1]),
        _block("in onnxruntime", _optimised(after.lean()), "/stem/Concat", "/stage1/Add"),
    )
    path.write_text(drawn(*panels), encoding="utf-8")


BLOCK = ("/stem/Concat_output_0", "/stage1/Relu_output_0")  # the tensors that it begins and ends with
INTEGER, FLOAT = "#a5d8ff", "#f6f8fa"
PAIRED = dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), "#ffec99")


def _optimised(proto: onnx.ModelProto) -> onnx.ModelProto:
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level, options.optimized_model_filepath = 4, f"{folder}/optimised.onnx"
        ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _block(title: str, proto: onnx.ModelProto, first: str, last: str) -> Look:
    """What lies between two tensors; blue is computed on integers, yellow goes from floats to integers or back."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    held = {
        t.name: f"{onnx.helper.tensor_dtype_to_string(t.data_type)[12:].lower()} {[*t.dims]}"
        for t in proto.graph.initializer
    }
    boxes, arrows, open_ = {first: Box(first, first, FLOAT, False, False)}, list[Arrow](), [last]
    while open_:
        node = makers[open_.pop()]
        if node.name in boxes:
            continue
        colour = PAIRED.get(node.op_type, INTEGER if node.op_type.startswith("Q") else FLOAT)
        label = "\n".join([node.op_type, *(held[name] for name in node.input[:1] if name in held)])
        boxes[node.name] = Box(node.name, label, colour, "Conv" in node.op_type, False)
        for name in node.input:
            if name == first or name in makers:
                source = first if name == first else makers[name].name
                arrows.append(Arrow(source, node.name, "", "#8b949e", False))
                open_ += [name] if name != first else []
    return Look(title, tuple(boxes.values()), tuple(arrows))


PICTURES: dict[str, Callable[[Path], None]] = {
    "explain": explain,
    "run": run,
    "healing": healing,
    "scaling": scaling,
    "sensitivity": sensitivity,
    "quantized-block": quantized_block,
}


def main() -> None:
    """Make the pictures that are named, or all."""
    FOLDER.mkdir(exist_ok=True)
    import matplotlib

    matplotlib.rcParams.update({"svg.hashsalt": "onnxprune", "font.family": "DejaVu Sans", "font.size": 10})
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name](FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
