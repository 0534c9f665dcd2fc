"""What the peers remove of the same networks: ``python -m benchmarks.architectures.peers GRAPHS RESULTS``.

Torch-Pruning works on the module, and everything but the layers that make the outputs may lose half its channels.
onnxsim works on the graph. What they return has to run. Runs under torch; what was found stays found.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from benchmarks.architectures.built import built, sample
from benchmarks.architectures.counted import parameters
from benchmarks.architectures.isolated import isolated
from benchmarks.architectures.listed import NETWORKS, Network, graphs

__all__ = ["main"]

RATIO = 0.5
SECONDS, GIB = 240, 14
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
HEADS = "cls_logits|bbox_reg|bbox_ctrness|bbox_pred|cls_score|mask_fcn_logits|kps_score_lowres"
DETECTS = re.compile(rf"({HEADS})$|module_list\.\d+(\.1)?$")


def main(folder: Path, results: Path, pattern: str = "*") -> None:
    """Ask both peers for what is not known yet."""
    results.mkdir(parents=True, exist_ok=True)
    for name, work in _questions(folder):
        told = results / f"{name}.json"
        if fnmatch(name, pattern) and not told.exists():
            start = time.perf_counter()
            found = isolated(work, SECONDS, GIB)
            found["seconds"] = round(time.perf_counter() - start, 1)
            told.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            said = found.get("error", found.get("removed"))
            print(f"{found['seconds']:6.1f} s  {name}  {said}"[:200], flush=True)


def _questions(folder: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    for network in NETWORKS:
        yield f"torch-pruning.{network}", partial(torch_pruning, network)
    for graph in graphs():
        if (path := folder / f"{graph}.onnx").exists():
            yield f"onnxsim.{graph}", partial(onnxsim, path)


def torch_pruning(network: Network) -> dict[str, Any]:
    """The share of the parameters that Torch-Pruning removes; raises what it raises."""
    import torch_pruning as tp

    module, x = built(network, distinct=True), sample(network)
    before = _size(module)
    heads = {m: m.num_heads for m in module.modules() if isinstance(m, nn.MultiheadAttention)}
    heads |= {m.qkv: m.num_heads for m in module.modules() if hasattr(m, "qkv") and hasattr(m, "num_heads")}
    pruner = tp.pruner.BasePruner(
        module,
        x,
        importance=tp.importance.MagnitudeImportance(p=1),
        pruning_ratio=RATIO,
        ignored_layers=_last(module, network),
        num_heads=heads,
        output_transform=lambda found: sum(each.sum() for each in (found if isinstance(found, tuple) else (found,))),
    )
    pruner.step()
    with torch.no_grad():
        module(x)
    return {"removed": 1 - _size(module) / before}


def _last(module: nn.Module, network: Network) -> list[nn.Module]:
    """The layers that make the outputs."""
    layers = {name: m for name, m in module.named_modules() if isinstance(m, LAYERS)}
    if network.task == "detect":
        return [m for name, m in layers.items() if DETECTS.search(name)]
    with torch.no_grad():
        found = module(sample(network))
    sizes = {each.shape[1] for each in (found if isinstance(found, tuple) else (found,))}
    return [m for m in layers.values() if m.weight.shape[0] in sizes]


def _size(module: nn.Module) -> int:
    held = (*module.parameters(), *module.buffers())  # as they stand in a file, running statistics among them
    return sum(t.numel() for t in held if t.is_floating_point())


def onnxsim(path: Path) -> dict[str, Any]:
    """The share of the parameters that onnxsim removes, and why the result does not run where it does not."""
    from onnxsim.pruning import apply_structured_pruning

    before = onnx.load(path)
    after = apply_structured_pruning(onnx.load(path), RATIO)
    removed = 1 - parameters(after) / parameters(before)
    return {"removed": removed, "invalid": _fault(after)}


def _fault(proto: onnx.ModelProto) -> str:
    """Why onnxruntime does not run a graph; empty where it does."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        shape = [size if isinstance(size, int) else 1 for size in given.shape]
        session.run(None, {given.name: np.random.default_rng(0).normal(size=shape).astype(np.float32)})
    except Exception as error:  # onnxruntime raises its own untyped exceptions
        return str(error).strip().splitlines()[0][:300]
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
