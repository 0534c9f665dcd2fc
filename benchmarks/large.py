"""How much memory a model of 4 GB takes on its way through the command, and whether what comes out is right.

A stack of MatMuls with a Relu after each, its weights in a file beside it, goes through
``onnxprune big.onnx --passes fold,prune:ratio=0.5:heal=none -o OUT``. The figures: seconds, the peak resident
memory of the process (mapped pages count), sizes, and how far the result, run in onnxruntime, is from numpy's
evaluation of the original with the removed channels silenced, layer by layer. ``--limit`` stands in for the 2 GiB from
which weights are written to a file of their own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

__all__ = ["ON_REQUEST", "arguments", "main"]

ON_REQUEST = "it takes 16 GiB of disk and minutes"
PASSES = "fold,prune:ratio=0.5:heal=none"
ROWS = 4  # of the input that the result is checked on
CHILD = """
import resource, sys
import onnxprune.sizes
limit = int(sys.argv.pop(1))
if limit:
    onnxprune.sizes.TWO_GB = limit
from onnxprune.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""


def make(folder: Path, layers: int, width: int) -> Path:
    """The model, written a slab of rows at a time; equal arguments give equal bytes."""
    rng, size = np.random.default_rng(0), 4 * width * width
    nodes, weights, x = [], [], "x"
    with (folder / "big.onnx.data").open("wb") as stream:
        for layer in range(layers):
            weight = TensorProto(name=f"w{layer}", dims=[width, width], data_type=TensorProto.FLOAT)
            weight.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "big.onnx.data"), ("offset", stream.tell()), ("length", size)):
                weight.external_data.add(key=key, value=str(value))
            weights.append(weight)
            for slab in np.array_split(np.arange(width), 32):
                values = rng.standard_normal((len(slab), width), dtype=np.float32)
                stream.write((values * np.float32((2 / width) ** 0.5)).tobytes())
            y = "y" if layer == layers - 1 else f"h{layer}"
            nodes.append(helper.make_node("MatMul", [x, f"w{layer}"], [f"m{layer}"]))
            nodes.append(helper.make_node("Relu", [f"m{layer}"], [y]))
            x = y
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in "xy"]
    graph = helper.make_graph(nodes, "big", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "big.onnx").write_bytes(model.SerializeToString(deterministic=True))
    return folder / "big.onnx"


def expected(model: Path, spec: dict[str, dict[str, list[int]]], x: np.ndarray) -> np.ndarray:
    """What the original computes with the removed channels silenced; one weight is mapped at a time."""
    for weight in onnx.load(model, load_external_data=False).graph.initializer:
        offset = int(next(e.value for e in weight.external_data if e.key == "offset"))
        data = model.with_name(f"{model.name}.data")
        x = np.maximum(x @ np.memmap(data, np.float32, "r", offset, tuple(weight.dims)), 0)
        x[:, spec.get(weight.name, {}).get("1", [])] = 0
    return x


def computed(path: Path, x: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of a model on the disk."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def unowned(path: Path) -> int | None:
    """Bytes of the data file that belong to no tensor, other than zeros before the next page; None without a file."""
    if not (data := path.with_name(f"{path.name}.data")).exists():
        return None
    extents = []
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        said = {e.key: e.value for e in tensor.external_data}
        extents += [(int(said["offset"]), int(said["length"]))] if said else []
    end = orphans = 0
    with data.open("rb") as stream:
        for offset, length in sorted(extents):
            stream.seek(end)
            gap = stream.read(offset - end)
            orphans += len(gap) if len(gap) >= 4096 or any(gap) else 0
            end = offset + length
    return orphans + data.stat().st_size - end


def total(path: Path) -> int:
    """The bytes of a model and of the data beside it."""
    data = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


def measure(folder: Path, layers: int, width: int, passes: str, limit: int) -> dict[str, Any]:
    """Make the model, compress it in a process of its own, and check the result."""
    source, out = make(folder, layers, width), folder / "out"
    command = [sys.executable, "-c", CHILD, str(limit), str(source), "--passes", passes, "-o", str(out), "--quiet"]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - start
    x = np.random.default_rng(1).standard_normal((ROWS, width), dtype=np.float32)
    want = expected(source, json.loads((out / "prune.json").read_text()), x)
    got = computed(out / "model.onnx", x)
    if not want.any():
        sys.exit("so deep a stack lets every value vanish, and nothing can be compared: take fewer layers")
    return {
        "layers": layers,
        "width": width,
        "passes": passes,
        "seconds": round(seconds, 1),
        "peak_rss_bytes": int(done.stdout.split()[-1]),
        "bytes_in": total(source),
        "bytes_out": total(out / "model.onnx"),
        "files": sorted(path.name for path in out.iterdir()),
        "orphaned_bytes": unowned(out / "model.onnx"),
        "max_rel_error": float(np.abs(got - want).max() / np.abs(want).max()),
    }


def arguments(group: argparse._ArgumentGroup) -> None:
    """The options of this benchmark."""
    group.add_argument("--layers", type=int, default=16)
    group.add_argument("--width", type=int, default=8192)
    group.add_argument("--passes", default=PASSES)
    group.add_argument("--limit", type=int, default=0, help="bytes in the place of 2 GiB")


def main(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row: the model made, compressed and checked in a temporary folder."""
    need = 4 * 4 * args.layers * args.width**2  # the model, what was edited, the result, and room
    with tempfile.TemporaryDirectory(prefix="onnxprune-large-") as folder:
        if (free := shutil.disk_usage(folder).free) < need:
            sys.exit(f"{need / 2**30:.1f} GiB of disk are needed in {folder}, {free / 2**30:.1f} are free: set TMPDIR")
        yield measure(Path(folder), args.layers, args.width, args.passes, args.limit)
