"""Write the graphs of the list, each once: ``python -m benchmarks.architectures.export FOLDER``, under torch.

Beside ``NAME.onnx`` comes ``NAME.json``, which tells the seconds it took, or the error; what has one is not made again.
"""

from __future__ import annotations

import json
import sys
import time
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.architectures.built import built, sample
from benchmarks.architectures.isolated import isolated
from benchmarks.architectures.listed import Graph, graphs

__all__ = ["main"]

SECONDS, GIB = 300, 14
INPUT = "input"


def main(folder: Path, pattern: str) -> None:
    """Export what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for graph in graphs():
        told = folder / f"{graph}.json"
        if fnmatch(str(graph), pattern) and not told.exists():
            start = time.perf_counter()
            found = isolated(partial(exported, graph, folder), SECONDS, GIB)
            found["seconds"] = round(time.perf_counter() - start, 1)
            told.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(f"{found['seconds']:6.1f} s  {graph}  {found.get('error', '')[:150]}", flush=True)


def exported(graph: Graph, folder: Path) -> dict[str, Any]:
    """Write one graph, and count what stands in the file."""
    network, setting = graph.network, graph.setting
    module, x = built(network, setting.constants == "distinct"), sample(network)
    draft, final = folder / f"{graph}.draft", folder / f"{graph}.onnx"
    with torch.no_grad():
        if setting.exporter == "legacy":
            _legacy(module, x, draft, setting.opset, network.task != "detect")
        else:
            torch.onnx.export(
                module,
                (x,),
                draft,
                dynamo=True,
                opset_version=setting.opset,
                external_data=False,
                verbose=False,
                input_names=[INPUT],
            )
    draft.replace(final)
    return {"parameters": sum(p.numel() for p in module.parameters()), "bytes": final.stat().st_size}


def _legacy(module: torch.nn.Module, x: torch.Tensor, path: Path, opset: int, batched: bool) -> None:
    """At opset 13 BatchNormalization stays a node of its own; at opset 20 the batch is dynamic."""
    training = torch.onnx.TrainingMode.PRESERVE if opset == 13 else torch.onnx.TrainingMode.EVAL
    axes = {INPUT: {0: "N"}} if opset == 20 and batched else None
    torch.onnx.export(
        module, (x,), path, dynamo=False, opset_version=opset, training=training, dynamic_axes=axes, input_names=[INPUT]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "*")
