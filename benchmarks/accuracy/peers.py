"""Networks cut by a peer: ``python -m benchmarks.accuracy.peers PEER MODEL CALIB``, under torch.

Every line that comes in is a JSON object with a ``ratio`` of channels to remove, a ``path`` for the result, and whether
it is ``final``, and to be healed where the peer can. Every line that goes out is one too, with the ``seconds`` it took
or the ``error``.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx

__all__ = ["main"]

BATCH = 32
STDOUT = 1
Feed: TypeAlias = dict[str, np.ndarray[Any, Any]]
Cut: TypeAlias = Callable[[float, bool, Path], None]  # ratio, final, where to


def main(peer: str, model: Path, calib: Path) -> None:
    """Answer until there is nothing more to answer."""
    said = os.fdopen(os.dup(STDOUT), "w")
    os.dup2(sys.stderr.fileno(), STDOUT)  # peers print
    cut: Cut | None = None
    for line in sys.stdin:
        start, asked = time.perf_counter(), json.loads(line)
        try:
            cut = cut or PEERS[peer](model, calib)
            cut(asked["ratio"], asked["final"], Path(asked["path"]))
            told: dict[str, Any] = {"seconds": time.perf_counter() - start}
        except Exception as error:  # peers raise what they like
            told = {"error": f"{type(error).__name__}: {str(error).strip() or 'no message'}".splitlines()[0][:300]}
        print(json.dumps(told), file=said, flush=True)


def _onnxsim(scores: Callable[[onnx.ModelProto, list[Feed], float], onnx.ModelProto]) -> Callable[[Path, Path], Cut]:
    """As in onnxsim's own pipeline: BatchNormalization folded, cut, and refitted by ridge regression if that helps."""

    def maker(model: Path, calib: Path) -> Cut:
        import onnxsim
        from onnxsim.finetune import apply_pruning_finetune

        whole, feeds = onnxsim.simplify(onnx.load(model))[0], _feeds(model, calib)

        def cut(ratio: float, final: bool, path: Path) -> None:
            pruned = scores(copy.deepcopy(whole), feeds, ratio)
            found = [pruned, apply_pruning_finetune(whole, pruned, feeds)] if final else [pruned]
            onnx.save(_nearest(found, whole, feeds), path)

        return cut

    return maker


def _wanda(model: onnx.ModelProto, feeds: list[Feed], ratio: float) -> onnx.ModelProto:
    from onnxsim.pruning import apply_structured_wanda_pruning

    pruned: onnx.ModelProto = apply_structured_wanda_pruning(model, feeds, sparsity=ratio)
    return pruned


def _norms(model: onnx.ModelProto, feeds: list[Feed], ratio: float) -> onnx.ModelProto:
    """By weights alone; it reaches layers, those behind pooling, that Wanda in onnxsim does not."""
    from onnxsim.pruning import apply_structured_pruning

    pruned: onnx.ModelProto = apply_structured_pruning(model, ratio)
    return pruned


def _nearest(found: list[onnx.ModelProto], whole: onnx.ModelProto, feeds: list[Feed]) -> onnx.ModelProto:
    """The one with the least mean of ‖Δ‖ / ‖y‖ over outputs and batches, not a number being the worst."""
    if len(found) == 1:
        return found[0]
    ys = _run(whole, feeds)

    def error(model: onnx.ModelProto) -> float:
        pairs = zip(ys, _run(model, feeds), strict=True)
        return float(np.nan_to_num(np.mean([np.linalg.norm(z - y) / np.linalg.norm(y) for y, z in pairs]), nan=np.inf))

    return min(found, key=error)


def _run(model: onnx.ModelProto, feeds: list[Feed]) -> list[np.ndarray[Any, Any]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [output for feed in feeds for output in session.run(None, feed)]


def _torch_pruning(importance: Callable[[Any], Any]) -> Callable[[Path, Path], Cut]:
    def maker(model: Path, calib: Path) -> Cut:
        import torch
        import torch_pruning as tp

        from benchmarks.accuracy.rebuilt import frozen, rebuilt

        graph = onnx.load(model).graph
        (given,), (made,) = ([value.name for value in values] for values in (graph.input, graph.output))
        inputs = _feeds(model, calib)[0][given][:2]
        module, x = rebuilt(model, inputs), torch.from_numpy(inputs)

        def cut(ratio: float, final: bool, path: Path) -> None:
            smaller = copy.deepcopy(module)
            scores, kept = importance(tp.importance), frozen(smaller)
            tp.pruner.BasePruner(smaller, x, importance=scores, pruning_ratio=ratio, ignored_layers=kept).step()
            names: Mapping[str, Any] = {"input_names": [given], "output_names": [made]}
            torch.onnx.export(
                smaller, (x,), path, dynamo=False, dynamic_axes={given: {0: "N"}, made: {0: "N"}}, **names
            )

        return cut

    return maker


def _feeds(model: Path, calib: Path) -> list[Feed]:
    """The calibration data in batches of the size that the graph takes."""
    graph = onnx.load(model).graph
    initial = {each.name for each in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initial]
    size = inputs[0].type.tensor_type.shape.dim[0].dim_value or BATCH
    with np.load(calib) as data:
        arrays = {value.name: data[value.name] for value in inputs}
    count = min(map(len, arrays.values())) // size * size
    return [{name: held[i : i + size] for name, held in arrays.items()} for i in range(0, count, size)]


PEERS: Mapping[str, Callable[[Path, Path], Cut]] = {
    "onnxsim Wanda": _onnxsim(_wanda),
    "onnxsim L2": _onnxsim(_norms),
    "Torch-Pruning L2": _torch_pruning(lambda scores: scores.MagnitudeImportance(p=2, group_reduction="first")),
    "Torch-Pruning FPGM": _torch_pruning(lambda scores: scores.FPGMImportance()),
    "Torch-Pruning group": _torch_pruning(lambda scores: scores.GroupMagnitudeImportance(p=2)),
}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
